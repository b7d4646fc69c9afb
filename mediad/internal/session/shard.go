package session

import (
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"trunkline/mediad/internal/dtls"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/udp"
)

const (
	// frameTime is the packetisation of everything we send (T3).
	frameTime = 20 * time.Millisecond
	// The wheel spreads legs over a frame: each slot's are due together.
	wheelSlots = 10
	slotTime   = frameTime / wheelSlots
	// tidyTime is how often a shard looks over its legs for RTCP to send.
	tidyTime = 100 * time.Millisecond
	// gatherTime: under load a thread lets packets gather this long, so that
	// one wake-up serves many. It is the most that a packet is delayed.
	gatherTime = 2 * time.Millisecond
	// fairShare is how many packets one socket may have moved before others
	// have their turn: a flood on one port must not starve them.
	fairShare = 64
	// maxLag: a shard that was held up longer drops what it should have played
	// meanwhile instead of sending it in a burst.
	maxLag = 100 * time.Millisecond
)

// shard moves the packets of its calls' legs on one locked thread.
type shard struct {
	poller *udp.Poller
	batch  *udp.Batch
	out    []byte   // a protected packet, before it is sent
	plain  []byte   // a packet of our own, before it is protected
	once   udp.Dest // of an answer to a connectivity check
	rec    Recorder
	packet record.Packet // for rec

	// What legs with DTLS need: our certificate, what ends in the background, and
	// who has a change replicated, under both locks.
	certificate *dtls.Certificate
	background  sync.WaitGroup
	changed     func(l *leg, change func() error)
	log         *slog.Logger

	mu     sync.Mutex
	closed bool
	raw    bool // packets leave through outboxes
	// outboxes by the address that they send from. Outside of mu they are empty.
	outboxes map[netip.Addr]*udp.Outbox
	sockets  []watched // by the low half of their tokens
	vacant   []uint32  // places in sockets
	rest     []uint64  // tokens of sockets that may have more
	legs     []*leg
	wheel    [wheelSlots][]*leg
	turn     int       // slot that is due next
	due      time.Time // when
	players  int       // legs on the wheel
	tidied   time.Time
	pressed  []*leg          // with keys to tell
	tell     chan<- struct{} // wakes who tells them
	count    counts

	guarded bool                 // somebody may take over from us
	alive   time.Time            // when the thread ran last
	mute    bool                 // it slept, and may have been taken over from meanwhile
	woken   chan<- struct{}      // wakes who finds out
	links   map[string]*linkSums // of the present ten seconds
}

// watched is a socket in the epoll set. Its token is serial<<32 + place: an event
// of a socket that is closed since bears a serial that is over.
type watched struct {
	leg    *leg
	socket *udp.Socket
	rtcp   bool
	serial uint32 // below 2^31, and 0 in no token
}

// counts are of one shard, for the metrics.
type counts struct {
	received, receivedBytes uint64
	sent, sentBytes         uint64
	forged, replayed        uint64
	misplaced, unready      uint64
	strange                 uint64 // what is from where it may not be, where no key tells
	checks, dtlsFailed      uint64
	unsent                  uint64 // the kernel would not take them
	reused                  uint64 // would have repeated an index
	transcoded, concealed   uint64
	mixed                   uint64
	rated                   [4]uint64 // intervals, by grade
	rtcpReceived, rtcpSent  uint64
	rtcpForged              uint64
	lagged                  uint64 // frames dropped after a stall
	muted                   uint64 // not sent: see shard.speaks
	digits, digitsDropped   uint64
	digitsSent              uint64
	digitsUnsent            uint64
}

func newShard(rec Recorder, raw bool, tell, woken chan<- struct{}) (*shard, error) {
	p, err := udp.NewPoller()
	if err != nil {
		return nil, err
	}
	return &shard{poller: p, raw: raw, outboxes: map[netip.Addr]*udp.Outbox{}, batch: udp.NewBatch(), out: make([]byte, 0, 4096), plain: make([]byte, 0, 4096),
		rec: rec, tell: tell, woken: woken, links: map[string]*linkSums{}, alive: time.Now(), tidied: time.Now()}, nil
}

// close frees a shard that does not run.
func (s *shard) close() {
	s.poller.Close()
	for _, o := range s.outboxes {
		o.Close()
	}
}

// shutdown makes run return.
func (s *shard) shutdown() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poller.Wake()
}

// add takes a leg with open sockets in: under shard.mu.
func (s *shard) add(l *leg) {
	s.legs = append(s.legs, l)
	l.outbox = s.outbox(l.call.host.addr)
	l.tokens[0] = s.watch(l, l.rtp, false)
	if l.rtcp != nil {
		l.tokens[1] = s.watch(l, l.rtcp, true)
	}
}

// outbox is the one of a media address; nil if packets from there leave one by one,
// each through its own socket.
func (s *shard) outbox(addr netip.Addr) *udp.Outbox {
	if o := s.outboxes[addr]; o != nil || !s.raw {
		return o
	}
	o, err := udp.NewOutbox(addr)
	if err != nil {
		return nil // IPv6, or out of descriptors
	}
	s.outboxes[addr] = o
	return o
}

// flush sends what is in the outboxes, unless the thread has slept since it dealt
// with what came: see speaks.
func (s *shard) flush() {
	for _, o := range s.outboxes {
		n := o.Len()
		switch {
		case n == 0:
		case s.speaks():
			s.count.unsent += uint64(o.Flush())
		default:
			s.count.muted += uint64(n - 1) // speaks has counted one
			o.Drop()
		}
	}
}

// watch puts a socket into the epoll set and returns its token.
func (s *shard) watch(l *leg, socket *udp.Socket, rtcp bool) uint64 {
	place := uint32(len(s.sockets))
	if n := len(s.vacant); n > 0 {
		place, s.vacant = s.vacant[n-1], s.vacant[:n-1]
	} else {
		s.sockets = append(s.sockets, watched{})
	}
	serial := s.sockets[place].serial%(1<<31-1) + 1
	s.sockets[place] = watched{l, socket, rtcp, serial}
	token := uint64(serial)<<32 + uint64(place)
	if err := s.poller.Add(socket, token); err != nil {
		panic("session: " + err.Error()) // an open socket not yet in the set: only memory can fail
	}
	return token
}

// watched finds a socket by its token; nil if it is closed.
func (s *shard) watched(token uint64) *watched {
	place := uint32(token)
	if int(place) >= len(s.sockets) || s.sockets[place].serial != uint32(token>>32) || s.sockets[place].leg == nil {
		return nil
	}
	return &s.sockets[place]
}

func (s *shard) forget(token uint64) {
	if w := s.watched(token); w != nil {
		*w = watched{serial: w.serial}
		s.vacant = append(s.vacant, uint32(token))
	}
}

// remove takes a leg out: under shard.mu.
func (s *shard) remove(l *leg) {
	s.forget(l.tokens[0])
	s.forget(l.tokens[1])
	for i, x := range s.legs {
		if x == l {
			last := len(s.legs) - 1
			s.legs[i], s.legs[last] = s.legs[last], nil
			s.legs = s.legs[:last]
			return
		}
	}
}

// run is the packet thread.
func (s *shard) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with us
	defer s.close()
	var rest []uint64
	for {
		n := s.poller.Wait(s.untilDue(time.Now()))
		now := time.Now()
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		if s.speaks() {
			s.alive = now
		}
		moved := 0
		rest, s.rest = s.rest, rest[:0]
		for _, token := range rest {
			moved += s.receive(token, now)
		}
		for i := range n {
			if token, ok := s.poller.Token(i); ok {
				moved += s.receive(token, now)
			}
		}
		if !s.mute {
			s.timers(now)
		}
		s.flush()
		more := len(s.rest) > 0
		s.mu.Unlock()
		if moved > 1 && !more {
			// Not time.Sleep: the thread is ours, and the runtime's timers wake late.
			nap(gatherTime - time.Since(now))
		}
	}
}

// untilDue is how long the thread may wait for packets.
func (s *shard) untilDue(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) > 0 {
		return 0
	}
	next := s.tidied.Add(tidyTime)
	if s.players > 0 && s.due.Before(next) {
		next = s.due
	}
	return min(max(next.Sub(now), 0), tidyTime)
}

// receive takes what one socket has and returns how many packets it was.
func (s *shard) receive(token uint64, now time.Time) int {
	w := s.watched(token)
	if w == nil {
		return 0 // closed since the event
	}
	total := 0
	for {
		n := s.batch.Receive(w.socket)
		for i := range n {
			data, from := s.batch.Datagram(i)
			if w.leg.browser != nil && len(data) > 0 && data[0] < 64 { // RFC 7983
				s.receiveBrowser(w.leg, data, from)
				continue
			}
			if w.rtcp || isRTCP(data) {
				s.receiveRTCP(w.leg, data, from, now)
			} else {
				s.receiveRTP(w.leg, data, from, now)
			}
		}
		total += n
		if !s.batch.Full(n) {
			return total
		}
		if total >= fairShare {
			s.rest = append(s.rest, token)
			return total
		}
	}
}

// isRTCP tells multiplexed packets apart (RFC 5761 section 4).
func isRTCP(b []byte) bool { return len(b) > 1 && b[1]&0x7f >= 64 && b[1]&0x7f < 96 }

// timers does what is due: frames of players, reports.
func (s *shard) timers(now time.Time) {
	if s.players > 0 {
		if late := now.Sub(s.due); late > maxLag {
			s.count.lagged += uint64(late / slotTime)
			s.due = now
		}
		for !s.due.After(now) {
			s.playSlot(now)
			s.turn = (s.turn + 1) % wheelSlots
			s.due = s.due.Add(slotTime)
		}
	}
	if now.Sub(s.tidied) >= tidyTime {
		s.tidied = now
		for _, l := range s.legs {
			s.assess(l, now)
			if l.tx != nil && now.After(l.nextRTCP) {
				s.sendReport(l, now)
			}
		}
	}
}
