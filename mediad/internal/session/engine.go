// Package session holds the calls of a media worker: each leg an SRTP endpoint
// of its own, with its own ports, keys and codec; what is relayed between
// legs, played to them, recorded and counted; and the state that lets another
// worker go on with all of it.
//
// Control (package ng) comes in through Engine.Do. Packets are moved by
// shards, one locked thread each; a call belongs to one shard. The order of
// locks is Engine.mu, then shard.mu; the packet path takes shard.mu only.
//
// It knows nothing of queues, agents or SIP, encodes no audio (a FrameSource
// does), writes no file (a Recorder does), and decides neither who hosts an
// address nor when somebody is dead: the host command says so.
package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"trunkline/mediad/internal/dtls"
	"trunkline/mediad/internal/ports"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/standby"
	"trunkline/mediad/internal/udp"
	"trunkline/mediad/mediaapi"
)

// FrameSource has prompts as 20 ms payloads, ready in every codec.
type FrameSource interface {
	Frames(name, codec string) (frames [][]byte, duration time.Duration, ok bool)
}

// Recorder keeps what legs of recorded calls receive. Append neither blocks
// nor keeps the packet.
type Recorder interface {
	Start(call, label string) error
	Stop(call string)
	Pause(call string)
	Resume(call string)
	Append(p *record.Packet) bool
}

// Config is what an engine is made of.
type Config struct {
	Worker      string
	Incarnation uint64 // of this life of the worker, above all earlier ones
	// Relive begins another life of the worker and returns its Incarnation; nil
	// for a worker that stands alone. It must not call the engine.
	Relive  func() (uint64, error)
	Ports   ports.Range
	Shards  int // threads that move packets; 0: as many as Go runs
	MaxLegs int // 0: as many as there are ports
	// Single has each packet leave by a system call of its own even where the
	// process may have raw sockets.
	Single      bool
	MaxCPU      int            // percent of the processors above which new calls are refused; 0: never
	Plain       []netip.Prefix // whose far ends may do without SRTP
	Prompts     FrameSource
	Recorder    Recorder                         // nil: recording is refused
	TLS         func(standby string) *tls.Config // towards the standby of that name
	Replication netip.Addr                       // where links to standbys come from; invalid: the kernel's choice
	Replicas    *standby.Store
	Logger      *slog.Logger
}

// Engine is the calls of one worker.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	shards []*shard
	seed   maphash.Seed
	stop   chan struct{}
	wg     sync.WaitGroup

	mu       sync.Mutex
	calls    map[string]*call
	hosts    map[netip.Addr]*host
	epochs   map[netip.Addr]uint64 // highest seen, hosted here or not
	legs     int
	draining bool
	closed   bool
	control  map[string]uint64 // commands done, by name
	refused  uint64
	missing  uint64 // prompts that sequences had to do without

	buckets   []mediaapi.Bucket // of links, by serial and link
	bucket    uint64            // serial of the newest
	bucketEnd time.Time

	subscribers map[*subscription]bool
	pressed     chan struct{} // holds a token while there may be keys to tell
	woken       chan struct{} // holds a token while a shard holds its tongue

	// Signs of life need no Engine.mu: a take-over of many calls holds it for
	// long, and must not look like a hang.
	pings   atomic.Uint64
	linksMu sync.Mutex
	links   []*standby.Link

	pressure atomic.Int64 // percent of the machine's processors that the process takes
}

// New starts an engine. It hosts no address yet.
func New(cfg Config) (*Engine, error) {
	if cfg.Shards <= 0 {
		cfg.Shards = runtime.GOMAXPROCS(0)
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, seed: maphash.MakeSeed(), stop: make(chan struct{}),
		calls: map[string]*call{}, hosts: map[netip.Addr]*host{}, epochs: map[netip.Addr]uint64{}, control: map[string]uint64{},
		subscribers: map[*subscription]bool{}, pressed: make(chan struct{}, 1), woken: make(chan struct{}, 1)}
	certificate, err := dtls.NewCertificate(time.Now())
	if err != nil {
		return nil, err
	}
	raw := !cfg.Single
	if raw {
		o, err := udp.NewOutbox(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if raw = err == nil; raw {
			o.Close()
		} else {
			e.log.Warn("packets leave one by one: batches of them need CAP_NET_RAW", "err", err)
		}
	}
	for range cfg.Shards {
		s, err := newShard(cfg.Recorder, raw, e.pressed, e.woken)
		if err != nil {
			for _, s := range e.shards {
				s.close()
			}
			return nil, fmt.Errorf("start packet thread: %w", err)
		}
		s.certificate, s.changed, s.log = certificate, e.changed, e.log
		e.shards = append(e.shards, s)
	}
	for _, s := range e.shards {
		e.wg.Go(s.run)
	}
	e.wg.Go(e.sendMarks)
	e.wg.Go(e.beats)
	e.wg.Go(e.tellDigits)
	e.wg.Go(e.confirmEpochs)
	e.wg.Go(e.watchHosts)
	e.wg.Go(e.watchPressure)
	e.wg.Go(e.measureLinks)
	return e, nil
}

// Close drops every call and stops. Standbys keep what they have.
func (e *Engine) Close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	for _, h := range e.hosts {
		h.closeLink()
	}
	for _, c := range e.calls {
		e.removeCall(c)
	}
	e.mu.Unlock()
	close(e.stop)
	for _, s := range e.shards {
		s.shutdown()
		s.background.Wait()
	}
	e.wg.Wait()
}

// changed makes a change of a leg that no command asked for, under both locks,
// and has it replicated.
func (e *Engine) changed(l *leg, change func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := l.call
	if e.calls[c.id] != c || c.leg(l.id) != l {
		return // ended meanwhile
	}
	c.shard.mu.Lock()
	err := change()
	c.shard.mu.Unlock()
	if err != nil {
		e.log.Error("keys of DTLS can't be used", "call_id", c.id, "leg", l.id, "err", err)
		return
	}
	e.replicate(c)
}

// Drain makes the engine refuse new calls; those there are go on.
func (e *Engine) Drain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = true
}

// Load is how busy the engine is.
func (e *Engine) Load() (legs, freePairs int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hosts {
		freePairs += h.pool.Free()
	}
	return e.legs, freePairs
}

// refusal is an error that becomes a reply: a SIP code that fits, a reason.
type refusal struct {
	code   int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// Do carries out one command. If wait is not nil, the reply should be held
// back until it is closed, but not for long: it says that the standby has it.
func (e *Engine) Do(r mediaapi.Request) (reply mediaapi.Reply, wait <-chan struct{}) {
	if r.Command == mediaapi.Ping {
		e.pings.Add(1)
		return mediaapi.Reply{Result: mediaapi.ResultPong, Worker: e.cfg.Worker}, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h, ok := handlers[r.Command]
	if !ok {
		e.refused++
		return mediaapi.Reply{Result: mediaapi.ResultError, Reason: "unknown command", Code: 501}, nil
	}
	e.control[r.Command]++
	if r.Address != "" && r.Command != mediaapi.Host {
		if addr, err := netip.ParseAddr(r.Address); err != nil || e.hosts[addr] == nil {
			e.refused++
			return refusalOf(refuse(503, mediaapi.ReasonNotHosted), &r), nil
		}
	}
	reply, changed, err := h(e, &r)
	if err != nil {
		e.refused++
		return refusalOf(err, &r), nil
	}
	if reply.Result == "" {
		reply.Result = mediaapi.ResultOK
	}
	if changed != nil {
		wait = e.replicate(changed)
		changed.awaitStandby(wait, time.Now())
	}
	return reply, wait
}

// Kept tells whether the call of a command that was carried out is still here.
// One whose address moved while the standby was waited for may have gone without
// what the command did: it is to be given again where the address is hosted now.
func (e *Engine) Kept(r mediaapi.Request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[r.CallID] != nil
}

// Covered tells whether every call could go on elsewhere this moment: each address
// has a standby that holds all of it.
func (e *Engine) Covered() bool { return e.linked() && !e.unlinked() }

// refusalOf is a refusal in the words of the one who asked: an rtpengine client
// that can is to ask another node.
func refusalOf(err error, r *mediaapi.Request) mediaapi.Reply {
	reply := errorReply(err)
	elsewhere := reply.Reason == mediaapi.ReasonLoadLimit || reply.Reason == mediaapi.ReasonNotHosted
	if elsewhere && r.Command == mediaapi.Offer && slices.Contains(r.Supports, mediaapi.ResultLoadLimit) {
		return mediaapi.Reply{Result: mediaapi.ResultLoadLimit, Message: reply.Reason}
	}
	return reply
}

func errorReply(err error) mediaapi.Reply {
	reply := mediaapi.Reply{Result: mediaapi.ResultError, Reason: err.Error()}
	var r *refusal
	if errors.As(err, &r) {
		reply.Code = int64(r.code)
	} else {
		reply.Code = 500
	}
	return reply
}

// handler carries out a command under Engine.mu. It returns the call that
// changed, if one did and still is.
type handler func(e *Engine, r *mediaapi.Request) (mediaapi.Reply, *call, error)

var handlers = map[string]handler{
	mediaapi.LegAccept:      (*Engine).legAccept,
	mediaapi.LegOffer:       (*Engine).legOffer,
	mediaapi.LegAnswer:      (*Engine).legAnswer,
	mediaapi.Connect:        (*Engine).connect,
	mediaapi.PlayMedia:      (*Engine).playMedia,
	mediaapi.StopMedia:      (*Engine).stopMedia,
	mediaapi.PlayDTMF:       (*Engine).playDTMF,
	mediaapi.Supervise:      (*Engine).supervise,
	mediaapi.StartRecording: (*Engine).startRecording,
	mediaapi.StopRecording:  (*Engine).stopRecording,
	mediaapi.PauseRecording: (*Engine).pauseRecording,
	mediaapi.Digits:         (*Engine).digitsTaken,
	mediaapi.Delete:         (*Engine).delete,
	mediaapi.Query:          (*Engine).query,
	mediaapi.List:           (*Engine).list,
	mediaapi.Links:          (*Engine).tellLinks,
	mediaapi.Host:           (*Engine).host,
	mediaapi.BeginAnew:      (*Engine).beginAnew,
	mediaapi.Offer:          (*Engine).twoSidedOffer,
	mediaapi.Answer:         (*Engine).twoSidedAnswer,

	mediaapi.BlockDTMF:        blocking(setDTMF, true),
	mediaapi.UnblockDTMF:      blocking(setDTMF, false),
	mediaapi.BlockMedia:       blocking(setMedia, true),
	mediaapi.UnblockMedia:     blocking(setMedia, false),
	mediaapi.SilenceMedia:     blocking(setSilence, true),
	mediaapi.UnsilenceMedia:   blocking(setSilence, false),
	mediaapi.StartForwarding:  unsupported("PCM is forwarded to nobody: subscribe to the call instead"),
	mediaapi.StopForwarding:   unsupported("PCM is forwarded to nobody: subscribe to the call instead"),
	mediaapi.SubscribeRequest: (*Engine).subscribeRequest,
	mediaapi.SubscribeAnswer:  (*Engine).subscribeAnswer,
	mediaapi.Unsubscribe:      (*Engine).unsubscribe,
}

func (e *Engine) list(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	ids := make([]string, 0, len(e.calls))
	for id := range e.calls {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if r.Limit > 0 && int(r.Limit) < len(ids) {
		ids = ids[:r.Limit]
	}
	return mediaapi.Reply{Calls: ids}, nil, nil
}

// call is a set of legs on one media address.
type call struct {
	id      string
	host    *host
	shard   *shard
	created time.Time
	taping  taping
	legs    []*leg // by age; a call has two or three
	lead    *leg   // the supervisor with whose turn the call's mixes are made
	record  []byte // as replicated last

	// Of a call by rtpengine's offer and answer.
	sides   []*side   // the first one that offered is the first
	blocked blocked   // of all legs; under shard.mu as well
	signal  time.Time // when something was negotiated last
}

func (c *call) leg(id string) *leg {
	for _, l := range c.legs {
		if l.id == id {
			return l
		}
	}
	return nil
}

// findLeg returns a leg that must be there.
func (e *Engine) findLeg(callID, id string) (*leg, error) {
	c := e.calls[callID]
	if c == nil {
		return nil, refuse(481, "unknown call-id")
	}
	l := c.leg(id)
	if l == nil {
		return nil, refuse(481, "unknown leg %q", id)
	}
	return l, nil
}

// openCall finds a call or makes one, on the wanted address.
func (e *Engine) openCall(r *mediaapi.Request) (*call, error) {
	if r.CallID == "" || r.Leg == "" {
		return nil, refuse(400, "call-id and leg are needed")
	}
	if len(r.CallID) > maxID || len(r.Leg) > maxID {
		return nil, refuse(400, "call-id or leg is longer than %d bytes", maxID)
	}
	if c := e.calls[r.CallID]; c != nil {
		if r.Address != "" && r.Address != c.host.addr.String() {
			return nil, refuse(400, "call is on media address %s", c.host.addr)
		}
		return c, nil
	}
	if e.overloaded() {
		return nil, refuse(503, mediaapi.ReasonLoadLimit)
	}
	h, err := e.pickHost(r.Address)
	if err != nil {
		return nil, err
	}
	return &call{id: r.CallID, host: h, shard: e.shardOf(r.CallID), created: time.Now()}, nil
}

func (e *Engine) shardOf(callID string) *shard {
	return e.shards[maphash.String(e.seed, callID)%uint64(len(e.shards))]
}

// maxID bounds ids, which recordings and replication carry per packet or mark.
const maxID = 256

func (e *Engine) delete(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	if c != nil && len(c.sides) > 0 && r.Leg == "" {
		return e.deleteSides(c, r)
	}
	if c == nil {
		return mediaapi.Reply{Warning: warnUnknown(r)}, nil, nil // a repeat
	}
	if r.Leg != "" {
		if l := c.leg(r.Leg); l != nil {
			e.removeLeg(l)
		}
		if len(c.legs) > 0 {
			return mediaapi.Reply{}, c, nil
		}
	}
	e.removeCall(c)
	return mediaapi.Reply{}, nil, nil
}

// removeCall ends all of a call, here and at the standby.
func (e *Engine) removeCall(c *call) {
	for len(c.legs) > 0 {
		e.removeLeg(c.legs[0])
	}
	c.sides = nil
	if e.calls[c.id] != c {
		return // never got as far as the index
	}
	delete(e.calls, c.id)
	if c.taping.On {
		e.cfg.Recorder.Stop(c.id)
	}
	if c.host.link != nil {
		c.host.link.Drop(c.id)
	}
}

// removeLeg closes a leg and frees its ports. Who was connected to it hears
// nothing from now on.
func (e *Engine) removeLeg(l *leg) {
	c := l.call
	c.shard.mu.Lock()
	l.disconnect()
	l.supervision = supervision{}
	c.remix()
	l.stopPlaying()
	l.stopFeed()
	l.stopKeying()
	c.shard.sum(l, time.Now())
	c.shard.remove(l)
	l.closeSockets()
	c.shard.mu.Unlock()
	c.host.pool.Put(l.Port)
	c.legs = slices.DeleteFunc(c.legs, func(x *leg) bool { return x == l })
	e.legs--
}
