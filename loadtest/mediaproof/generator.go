package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tick is how often the generator sends what is due and takes what has
	// come. It never blocks in a read, so that no relay pays for waking it.
	tick  = time.Millisecond
	slots = int(frame / tick)
	// sockets, so that the relays' threads do not meet at one receive queue.
	sockets = 4
)

// tally is what became of packets.
type tally struct {
	Sent, Received int
	Late, Double   int
	Unauthentic    int
	Altered        int
	Foreign        int // of no party's relay port
	Control        int
	delays         [delayBuckets]int // from a party's send to its far end's receipt
	lateTicks      [delayBuckets]int // by how much ticks were late
}

// delayBuckets are of 100 us each; the last is everything above.
const (
	delayBuckets = 1000
	delayStep    = 100 * time.Microsecond
)

func bucket(d time.Duration) int { return min(max(int(d/delayStep), 0), delayBuckets-1) }

// quantile is the upper end of the bucket that q of all are within.
func quantile(h *[delayBuckets]int, q float64) time.Duration {
	total := 0
	for _, n := range h {
		total += n
	}
	seen := 0
	for i, n := range h {
		if seen += n; n > 0 && float64(seen) >= q*float64(total) {
			return time.Duration(i+1) * delayStep
		}
	}
	return 0
}

func (t *tally) add(o *tally) {
	t.Sent += o.Sent
	t.Received += o.Received
	t.Late += o.Late
	t.Double += o.Double
	t.Unauthentic += o.Unauthentic
	t.Altered += o.Altered
	t.Foreign += o.Foreign
	t.Control += o.Control
	for i := range t.delays {
		t.delays[i] += o.delays[i]
		t.lateTicks[i] += o.lateTicks[i]
	}
}

// lost are packets that never came.
func (t *tally) lost() int { return t.Sent - t.Received }

// wrong are packets that should not have come.
func (t *tally) wrong() int { return t.Double + t.Unauthentic + t.Altered + t.Foreign }

// generator is the parties of one relay's calls.
type generator struct {
	sockets []*socket
	parties []*party
	byPort  [1 << 16]*party // by the relay's port, as the kernel writes it
	slot    [slots][]*party
	in      *datagrams
	scratch []byte
}

func newGenerator(addr netip.Addr) (*generator, error) {
	g := &generator{in: newDatagrams(), scratch: make([]byte, 0, datagramSize)}
	for range sockets {
		s, err := openSocket(addr)
		if err != nil {
			g.close()
			return nil, err
		}
		g.sockets = append(g.sockets, s)
	}
	return g, nil
}

func (g *generator) close() {
	for _, s := range g.sockets {
		s.close()
	}
}

// add makes the two parties of another call. Those of one slot share a socket,
// so that what is due goes out in few batches.
func (g *generator) add(near, far suite) (a, b *party) {
	n := len(g.parties)
	make := func(n int, s suite) *party {
		// The first half of a call's packets falls between those of others.
		at := n * 7 % slots
		p := newParty(uint32(n+1), s, g.sockets[at%sockets])
		g.slot[at] = append(g.slot[at], p)
		g.parties = append(g.parties, p)
		return p
	}
	a, b = make(n, near), make(n+1, far)
	a.far, b.far = b, a
	return a, b
}

// connected notes which port of the relay speaks to the party.
func (g *generator) connected(p *party) { g.byPort[p.to.Port] = p }

// spent is what a relay took for what it did: its processor time, and how many
// packets came out of it meanwhile.
type spent struct {
	cpu     time.Duration
	packets int
}

// run talks for a while, then listens until nothing comes any more. The relay's
// processor time is taken while calls are settled, by cpu.
func (g *generator) run(lasts time.Duration, cpu func() (time.Duration, error)) (t *tally, used spent, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t = &tally{}
	var from spent
	start := time.Now()
	ticks := int(lasts / tick)
	for k := range ticks {
		due := start.Add(time.Duration(k) * tick)
		nap(time.Until(due))
		now := time.Now()
		t.lateTicks[bucket(now.Sub(due))]++
		for _, p := range g.slot[k%slots] {
			p.talk(g.scratch, int64(now.Sub(began)))
			t.Sent++
		}
		for _, s := range g.sockets {
			s.flush()
		}
		g.receive(t)
		if k == ticks/8 {
			from.packets = t.Received
			if from.cpu, err = cpu(); err != nil {
				return t, used, err
			}
		}
	}
	used.packets = t.Received - from.packets
	if used.cpu, err = cpu(); err != nil {
		return t, used, err
	}
	used.cpu -= from.cpu
	g.listen(t)
	return t, used, nil
}

// began is the zero of times in packets.
var began = time.Now()

// silence is how long nothing must come for the last packet to have come.
const silence = 200 * time.Millisecond

// listen takes what is still on the way. Reports of RTCP never end.
func (g *generator) listen(t *tally) {
	for last := time.Now(); time.Since(last) < silence; nap(tick) {
		came := t.Received + t.wrong()
		if g.receive(t); t.Received+t.wrong() > came {
			last = time.Now()
		}
	}
}

// receive takes what has come.
func (g *generator) receive(t *tally) {
	for _, s := range g.sockets {
		for n := batchSize; n == batchSize; {
			n = s.receive(g.in)
			now := int64(time.Since(began))
			for i := range n {
				g.judge(t, i, now)
			}
		}
	}
}

func (g *generator) judge(t *tally, i int, now int64) {
	b, from := g.in.datagram(i)
	p := g.byPort[from.Port]
	if p == nil || from.Addr != p.to.Addr {
		t.Foreign++
		return
	}
	v, sentAt := p.check(b)
	switch v {
	case good, late:
		t.Received++
		t.delays[bucket(time.Duration(now-sentAt))]++
		if v == late {
			t.Late++
		}
	case double:
		t.Double++
	case unauthentic:
		t.Unauthentic++
	case altered:
		t.Altered++
	case control:
		t.Control++
	}
}

// forge sends a packet with a false tag from the first parties and returns how
// many were passed on.
func (g *generator) forge() (passed int, err error) {
	forged := 0
	for _, p := range g.parties[:min(len(g.parties), 20)] {
		if p.out != nil {
			p.forge(g.scratch, int64(time.Since(began)))
			forged++
		}
	}
	if forged == 0 {
		return 0, fmt.Errorf("no party to forge packets of")
	}
	for _, s := range g.sockets {
		s.flush()
	}
	t := &tally{}
	g.listen(t)
	return t.Received + t.wrong(), nil
}

// nap blocks the thread: the runtime's timers wake late.
func nap(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}
