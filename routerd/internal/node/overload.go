package node

import (
	"context"
	"errors"
	"hash/fnv"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// Overload is what keeps new calls from being taken in time: a log that is slow or
// stands still, actors that are not served. It is met before the edges' patience
// (1.5 s) is over: a share of new calls is refused at once, which costs a
// thousandth of taking them, and what is taken stays quick. Requests of calls
// that are open, and calls to numbers that are served always, are never refused.
const (
	loadStep = 100 * time.Millisecond
	// A log that answers nothing for loadStalled takes no call; a change of leader
	// is over before.
	loadStalled = time.Second
	loadHigh    = 250 * time.Millisecond // above it the share refused grows ...
	loadLow     = 100 * time.Millisecond // ... and below it shrinks
	loadRise    = 10                     // per cent, each step
	loadCalm    = 2                      // steps below loadLow for half of it less
	loadLeast   = 5                      // less than this is nothing
	// loadInFlight proposals under way are more than the log takes in loadHigh.
	loadInFlight = 4000
)

// loadSample is what was measured during one step.
type loadSample struct {
	oldest   time.Duration // age of the proposal that has been under way longest
	commit   time.Duration // mean of the proposals answered; 0: none was
	mailbox  time.Duration // longest a message waited for an actor that did nothing else
	inFlight int           // proposals under way
}

// overload decides which share of new calls is refused. It is plain data: the
// same samples give the same shares.
type overload struct {
	loss   int           // per cent
	commit time.Duration // smoothed, so that one slow moment refuses nobody
	calm   int           // steps below loadLow
}

func (o *overload) step(s loadSample) (loss int) {
	if s.commit > 0 || s.inFlight == 0 { // else nothing is known of this step yet
		o.commit += (s.commit - o.commit) / 4
	}
	delay := max(o.commit, s.mailbox)
	switch {
	case s.oldest >= loadStalled || s.mailbox >= loadStalled:
		o.loss, o.calm = 100, 0
	case delay > loadHigh || s.inFlight > loadInFlight:
		o.loss, o.calm = min(o.loss+loadRise, 100), 0
	case delay < loadLow:
		if o.calm++; o.calm >= loadCalm {
			// By halves: a log that stood still for a moment and goes on is back in
			// about a second; one that is too slow for its calls shows at once again.
			if o.loss, o.calm = o.loss/2, 0; o.loss < loadLeast {
				o.loss = 0
			}
		}
	default:
		o.calm = 0
	}
	return o.loss
}

// load is the node's overload: what is measured meanwhile and what follows.
type load struct {
	loss    atomic.Int64
	mailbox atomic.Int64 // longest wait of this step, ns

	mu       sync.Mutex
	answered int // proposals of this step
	took     time.Duration
}

var (
	overloadRefused = metrics.NewCounter("routerd_overload_refused_total")
	overloadServed  = metrics.NewCounter("routerd_overload_served_always_total")
)

// waited notes how long a message was in a mailbox.
func (l *load) waited(d time.Duration) {
	for {
		most := l.mailbox.Load()
		if int64(d) <= most || l.mailbox.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// committed notes how long a proposal took.
func (l *load) committed(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered++
	l.took += d
}

// sample takes what was measured since the last one.
func (l *load) sample(p *proposer) loadSample {
	s := loadSample{mailbox: time.Duration(l.mailbox.Swap(0))}
	s.oldest, s.inFlight = p.underWay(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answered > 0 {
		s.commit = l.took / time.Duration(l.answered)
	}
	l.answered, l.took = 0, 0
	return s
}

// watchLoad follows the load until ctx ends.
func (n *Node) watchLoad(ctx context.Context) {
	tick := time.NewTicker(loadStep)
	defer tick.Stop()
	var o overload
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := n.load.sample(n.proposer)
		was := int(n.load.loss.Load())
		loss := o.step(s)
		n.load.loss.Store(int64(loss))
		if loss == 0 != (was == 0) {
			n.log.Warn("the share of new calls that is refused for overload changes", "loss", loss, "was", was,
				"oldest", s.oldest, "commit", o.commit, "mailbox", s.mailbox, "in_flight", s.inFlight)
		}
	}
}

// feedback is what responses tell the edges.
func (n *Node) feedback() sip.Feedback {
	return sip.Feedback{Loss: int(n.load.loss.Load()), Validity: 5 * loadStep, Seq: time.Now()}
}

// overloaded refuses a new call for overload, unless its number is served always.
// The same call is refused by every router that refuses as much: whoever sends it
// again soon is not luckier for it.
func (n *Node) overloaded(call acd.CallID, req *sip.Request, flow sip.Flow) bool {
	loss := int(n.load.loss.Load())
	if loss == 0 {
		return false
	}
	h := fnv.New32a()
	h.Write([]byte(call))
	if int(h.Sum32()%100) >= loss {
		return false
	}
	always := false
	n.view(func(m *acd.Machine) { always = m.Serves(acd.TrunkID(req.Get(trunkHeader)), req.Dialled()) })
	if always {
		overloadServed.Inc()
		return false
	}
	overloadRefused.Inc()
	n.refuse(req, flow, overloadRefusal(2+int(h.Sum32()/100%4)))
	return true
}

// overloadHeader marks a 503 that says nothing against the router: the edge passes
// it over for this call and does not take it for dead.
const overloadHeader = "X-Trunkline-Overload"

// overloadRefusal is 503; who is refused at once comes back at different times.
func overloadRefusal(retryAfter int) sip.Refusal {
	return sip.Refusal{Code: 503, Reason: "Overloaded", Headers: []sip.Header{{Name: "Retry-After", Value: strconv.Itoa(retryAfter)}, {Name: overloadHeader, Value: "yes"}}}
}

// takesWork is Ready for those who watch: a router that refuses every new call is
// not ready either, though it serves what is open.
func (n *Node) takesWork() error {
	if err := n.Ready(); err != nil {
		return err
	}
	if loss := n.load.loss.Load(); loss == 100 {
		return errors.New("overloaded: all new calls are refused: is the log's disk slow, or the other routers unreachable?")
	}
	return nil
}
