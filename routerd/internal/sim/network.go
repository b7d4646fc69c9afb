package sim

import (
	"time"

	"trunkline/routerd/internal/sip"
)

// network carries everything. Between routers messages of the consensus are
// lost, repeated and reordered; connections (SIP, HTTP) lose nothing and keep
// order, but break. A way can be cut in one direction.
type network struct {
	w          *World
	cut        map[[2]string]bool
	loss       int // of 1000 messages between routers
	repeat     int
	slowest    time.Duration
	lastAt     map[[2]string]time.Duration // arrival of the last message of a stream
	cutAt      map[[2]string]time.Duration
	connection map[[2]string]uint64 // number of the stream between two, in name order
}

func newNetwork(w *World) *network {
	return &network{
		w: w, cut: map[[2]string]bool{}, slowest: 3 * time.Millisecond, lastAt: map[[2]string]time.Duration{},
		cutAt: map[[2]string]time.Duration{}, connection: map[[2]string]uint64{},
	}
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

func (n *network) open(from, to string) bool { return !n.cut[[2]string{from, to}] }

// part cuts the way from one to another.
func (n *network) part(from, to string) {
	k := [2]string{from, to}
	if !n.cut[k] {
		n.cut[k], n.cutAt[k] = true, n.w.now
	}
}

func (n *network) join(from, to string) { delete(n.cut, [2]string{from, to}) }

// reset breaks the stream between two: what is under way is lost.
func (n *network) reset(a, b string) { n.connection[pair(a, b)]++ }

// hostGone breaks all streams of a process that ended.
func (n *network) hostGone(name string) {
	for _, r := range n.w.routers {
		n.reset(name, r.name)
	}
	for _, e := range n.w.edges {
		n.reset(name, e.name)
	}
}

// between carries one message between routers, or loses or repeats it.
func (n *network) between(from, to *router, deliver func()) {
	if !from.up || !n.open(from.name, to.name) || n.w.chance(n.loss) {
		return
	}
	times := 1
	if n.w.chance(n.repeat) {
		times = 2
	}
	for range times {
		life := to.life
		n.w.events.push(event{at: n.w.now + n.w.between(100*time.Microsecond, n.slowest), host: &to.host, life: life, do: deliver})
	}
}

// unackedFor is how long a connection keeps trying to deliver what it was given
// (TCP_USER_TIMEOUT), retryEvery how often.
const (
	unackedFor = time.Second
	retryEvery = 50 * time.Millisecond
)

// stream carries a message on the connection between two, in order. On a way
// that is cut it waits as TCP does, then the connection breaks.
func (n *network) stream(from, to string, h *host, deliver func()) {
	k := pair(from, to)
	dir := [2]string{from, to}
	mine := n.connection[k]
	at := max(n.w.now+n.w.between(100*time.Microsecond, 2*time.Millisecond), n.lastAt[dir]+1)
	n.lastAt[dir] = at
	sent := n.w.now
	var arrive func()
	arrive = func() {
		switch {
		case n.connection[k] != mine:
		case n.open(from, to):
			deliver()
		case n.w.now-sent > unackedFor:
			n.reset(from, to)
		default: // at round times, so that the order stays
			n.w.events.push(event{at: (n.w.now/retryEvery + 1) * retryEvery, host: h, life: h.life, do: arrive})
		}
	}
	n.w.events.push(event{at: at, host: h, life: h.life, do: arrive})
}

// ask carries a request to a process; refused runs if none listens there.
func (n *network) ask(from, to string, h *host, deliver, refused func()) {
	if !h.up {
		n.w.after(n.w.between(100*time.Microsecond, time.Millisecond), refused)
		return
	}
	n.stream(from, to, h, deliver)
}

// hostOf is the process of a member's name.
func (w *World) hostOf(name string) *host {
	for _, r := range w.routers {
		if r.name == name {
			return &r.host
		}
	}
	for _, m := range w.workers {
		if m.name == name {
			return &m.host
		}
	}
	return nil
}

// reaches tells whether probes from one member to another come back, directly
// or by way of a third router.
func (n *network) reaches(from, to string) bool {
	if h := n.w.hostOf(to); !h.up || h.paused {
		return false
	}
	both := func(a, b string) bool { return n.open(a, b) && n.open(b, a) }
	if from == to || both(from, to) {
		return true
	}
	for _, r := range n.w.routers {
		if r.up && !r.paused && r.name != from && r.name != to && both(from, r.name) && both(r.name, to) {
			return true
		}
	}
	return false
}

// Of sip.Transport: how long a connection is tried to make, and for how long a
// packet that no connection took is still worth sending.
const (
	connectTimeout = 500 * time.Millisecond
	packetLife     = 900 * time.Millisecond
)

// fromRouter sends a SIP packet of a router: by the connection it names, then
// by its hops; failed runs after all of them failed.
func (n *network) fromRouter(r *router, p sip.Packet, failed func()) {
	if !r.up {
		return
	}
	ways := make([]string, 0, 4)
	if p.Conn != "" {
		ways = append(ways, p.Conn)
	}
	for _, h := range p.Hops {
		ways = append(ways, h.Addr)
	}
	n.w.note(r.name, "sends", firstWords(p.Data), sipCallID(p.Data), 0)
	n.tryWays(r, p.Data, ways, n.w.now, failed)
}

func (n *network) tryWays(r *router, data []byte, ways []string, born time.Duration, failed func()) {
	var tried *edge
	for i, addr := range ways {
		e := n.w.edgeAt(addr)
		if e == nil || e == tried {
			continue
		}
		tried = e
		if !e.up {
			continue
		}
		if n.w.now-born > packetLife {
			break
		}
		cut := !n.open(r.name, e.name) || !n.open(e.name, r.name)
		if since := max(n.cutAt[[2]string{r.name, e.name}], n.cutAt[[2]string{e.name, r.name}]); cut && n.w.now-since > unackedFor {
			// The connection broke; a new one is tried in vain.
			rest := ways[i+1:]
			r.after(connectTimeout, func() { n.tryWays(r, data, rest, born, failed) })
			return
		}
		n.stream(r.name, e.name, &e.host, func() { e.fromRouter(r, data) })
		return
	}
	r.after(time.Millisecond, failed)
}

func (w *World) edgeAt(addr string) *edge {
	for _, e := range w.edges {
		if e.addr == addr {
			return e
		}
	}
	return nil
}
