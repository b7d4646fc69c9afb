package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trunkline/routerd/internal/sip"
)

// edge is one Kamailio as the routers and far ends see it: a proxy that puts
// itself into Via and Record-Route, spreads new calls over the routers that
// answer its pings, brings later requests to the router their Request-URI names
// or to another, and passes over a router that refuses or is silent for 1.5 s.
// It remembers nothing but the transactions it is carrying.
type edge struct {
	host
	addr  string
	state []routerState
	txs   map[string]*edgeTx // far ends' requests by branch and method
	rung  map[string]bool    // INVITEs to phones that had any answer, by branch
}

// routerState is what an edge holds of a router.
type routerState struct {
	active     bool
	lost, came int // pings in a row
}

// edgeTx is a far end's request on its way to the routers.
type edgeTx struct {
	req      *sip.Request
	data     []byte
	far      *farEnd
	order    []*router // to try, in this order
	attempt  int       // number of the one under way
	answered bool
	final    bool
}

const passOverAfter = 1500 * time.Millisecond

func newEdge(w *World, i int) *edge {
	e := &edge{addr: fmt.Sprintf("10.1.0.%d:5060", i+1)}
	e.host = host{w: w, name: "e" + strconv.Itoa(i+1)}
	e.boot()
	return e
}

func (e *edge) boot() {
	if e.up {
		return
	}
	e.start()
	e.txs, e.rung = map[string]*edgeTx{}, map[string]bool{}
	e.state = make([]routerState, len(e.w.routers))
	for i := range e.state {
		e.state[i].active = true
	}
	e.ping()
}

func (e *edge) crash() {
	e.w.note(e.name, "dies", "", "", 0)
	e.stop()
}

// ping asks every router each second whether it takes calls: two silences take
// it out, three answers in.
func (e *edge) ping() {
	for i, r := range e.w.routers {
		s := &e.state[i]
		if r.up && !r.paused && r.incarnation != 0 && !r.draining && e.w.net.open(e.name, r.name) && e.w.net.open(r.name, e.name) {
			s.lost, s.came = 0, s.came+1
			s.active = s.active || s.came >= 3
		} else {
			s.came, s.lost = 0, s.lost+1
			s.active = s.active && s.lost < 2
		}
	}
	e.after(time.Second, e.ping)
}

func (e *edge) passOver(r *router) { e.state[r.id] = routerState{} }

// fromRouter takes a packet of a router.
func (e *edge) fromRouter(r *router, data []byte) {
	msg, err := sip.Parse(data)
	if err != nil {
		e.w.fail(PromiseTerminal, "%s sends what can't be parsed: %v\n%s", r.name, err, data)
	}
	switch m := msg.(type) {
	case *sip.Request:
		e.toFar(m, data)
	case *sip.Response:
		e.answerFar(m, data)
	}
}

// toFar brings a router's request to the far end its Request-URI names.
func (e *edge) toFar(req *sip.Request, data []byte) {
	uri := req.RequestURI()
	far := e.w.farAt(uri.Host)
	if uri.Host == clusterHost { // a number, over the trunk that a header names
		if k := e.w.customers[uri.User]; k != nil {
			far = k.far
		} else {
			e.answerRouter(req, 404)
		}
	}
	if far == nil {
		return
	}
	branch := "z9hG4bK" + e.name + "." + req.Branch()
	out := removeLine(data, "Route: <sip:10.1.0.")
	initial := req.Method == "INVITE" && req.ToTag() == ""
	if initial {
		out = insertLine(out, "Record-Route: <sip:"+e.addr+";lr>")
	}
	out = insertLine(out, "Via: SIP/2.0/TCP "+e.addr+";branch="+branch)
	if !far.flows[e.name] {
		if req.Method != "ACK" && req.Method != "CANCEL" {
			e.answerRouter(req, 430)
		}
		return
	}
	if initial {
		e.after(passOverAfter, func() {
			if !e.rung[branch] {
				e.rung[branch] = true
				e.answerRouter(req, 408)
			}
		})
	}
	e.w.net.stream(e.name, far.name, &far.host, func() { far.take(e, out) })
}

// answerRouter refuses a router's request in the edge's own name.
func (e *edge) answerRouter(req *sip.Request, code int) {
	p := sip.Respond(req, sip.Flow{Network: "tcp", Remote: req.Via().Host + ":5062", Local: e.addr}, e.name, sip.Refusal{Code: code, Reason: "Edge"}, nil)
	e.routerBySentBy(req.Via().Host, p.Data)
}

func (e *edge) routerBySentBy(hostname string, data []byte) {
	for _, r := range e.w.routers {
		if !strings.HasPrefix(r.addr, hostname+":") {
			continue
		}
		e.toRouter(r, data, func() {})
		return
	}
}

// toRouter delivers to a router's process.
func (e *edge) toRouter(r *router, data []byte, refused func()) {
	e.w.net.ask(e.name, r.name, &r.host, func() {
		msg, err := sip.Parse(data)
		if err != nil {
			e.w.fail(PromiseTerminal, "%s passes on what can't be parsed: %v\n%s", e.name, err, data)
		}
		r.receive(msg, sip.Flow{Network: "tcp", Remote: e.addr, Local: r.addr})
	}, func() { e.soon(refused) })
}

// fromFar takes a packet of a far end.
func (e *edge) fromFar(f *farEnd, data []byte) {
	msg, err := sip.Parse(data)
	if err != nil {
		e.w.fail(PromiseTerminal, "%s sends what can't be parsed: %v\n%s", f.name, err, data)
	}
	switch m := msg.(type) {
	case *sip.Response:
		branch := m.Branch()
		_, method := m.CSeq()
		if method == "INVITE" {
			if e.rung[branch] && m.Code == 100 {
				return
			}
			e.rung[branch] = true
		}
		out := removeLine(data, "Via: SIP/2.0/TCP "+e.addr)
		next, err := sip.Parse(out)
		if err != nil {
			e.w.fail(PromiseTerminal, "%s: answer of %s: %v\n%s", e.name, f.name, err, data)
		}
		e.routerBySentBy(next.(*sip.Response).Via().Host, out)
	case *sip.Request:
		e.fromFarRequest(f, m, data)
	}
}

func (e *edge) fromFarRequest(f *farEnd, req *sip.Request, data []byte) {
	data = removeLine(data, "Route: <sip:10.1.0.")
	key := req.Branch() + req.Method
	if tx := e.txs[key]; tx != nil { // a retransmission
		e.try(tx, false)
		return
	}
	invite := e.txs[req.Branch()+"INVITE"]
	switch {
	case (req.Method == "CANCEL" || req.Method == "ACK") && invite != nil:
		r := invite.order[invite.attempt]
		e.toRouter(r, e.stamped(invite, data), func() {})
		return
	case req.Method == "CANCEL":
		return
	case req.Method == "ACK":
		tx := &edgeTx{req: req, data: data, far: f, order: e.ways(req)}
		e.toRouter(tx.order[0], e.stamped(tx, data), func() {
			if len(tx.order) > 1 {
				e.toRouter(tx.order[1], e.stamped(tx, data), func() {})
			}
		})
		return
	}
	tx := &edgeTx{req: req, data: data, far: f, order: e.ways(req)}
	e.txs[key] = tx
	e.try(tx, true)
}

// ways are the routers to try for a request, best first.
func (e *edge) ways(req *sip.Request) []*router {
	all := append([]*router(nil), e.w.routers...)
	e.w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	owner, named := req.RequestURI().Params.Get("n")
	if !named {
		owner = e.w.favourite
	}
	rank := func(r *router) int {
		switch {
		case !e.state[r.id].active:
			return 2
		case r.name == owner:
			return 0
		}
		return 1
	}
	out := make([]*router, 0, len(all))
	for want := range 3 {
		for _, r := range all {
			if rank(r) == want {
				out = append(out, r)
			}
		}
	}
	return out
}

// stamped is the request as it leaves for the present attempt.
func (e *edge) stamped(tx *edgeTx, data []byte) []byte {
	req := tx.req
	if req.Method == "INVITE" && req.ToTag() == "" && bytes.HasPrefix(data, []byte("INVITE")) {
		data = insertLine(data, "Record-Route: <sip:"+e.addr+";lr>")
	}
	branch := "z9hG4bK" + e.name + "." + strconv.Itoa(tx.attempt) + "." + req.Branch()
	return insertLine(data, "Via: SIP/2.0/TCP "+e.addr+";branch="+branch)
}

// try sends a request to the router whose turn it is.
func (e *edge) try(tx *edgeTx, first bool) {
	if tx.final {
		return
	}
	attempt := tx.attempt
	r := tx.order[attempt]
	next := func() {
		if tx.attempt == attempt && !tx.answered {
			e.passOver(r)
			e.next(tx)
		}
	}
	e.toRouter(r, e.stamped(tx, tx.data), next)
	if first {
		e.after(passOverAfter, next)
	}
}

// next goes on with another router, or tells the far end that there is none.
func (e *edge) next(tx *edgeTx) {
	if tx.attempt+1 < len(tx.order) {
		tx.attempt++
		tx.answered = false
		e.try(tx, true)
		return
	}
	tx.final = true
	p := sip.Respond(tx.req, sip.Flow{Network: "tcp", Remote: tx.far.addr, Local: e.addr}, e.name, sip.Unavailable(1), nil)
	e.w.net.stream(e.name, tx.far.name, &tx.far.host, func() { tx.far.take(e, p.Data) })
}

// answerFar brings a router's response to the far end that asked.
func (e *edge) answerFar(res *sip.Response, data []byte) {
	parts := strings.SplitN(strings.TrimPrefix(res.Branch(), "z9hG4bK"), ".", 3)
	if len(parts) != 3 || parts[0] != e.name {
		return
	}
	_, method := res.CSeq()
	attempt, _ := strconv.Atoi(parts[1])
	out := removeLine(data, "Via: SIP/2.0/TCP "+e.addr)
	tx := e.txs[parts[2]+method]
	if tx != nil && method != "CANCEL" {
		late := attempt < tx.attempt || tx.final
		switch {
		case late && (res.Code < 200 || res.Code >= 300):
			return
		case res.Code < 200:
			tx.answered = true
		case res.Code == 503 && res.Get("X-Trunkline-Call") == "":
			tx.answered = false
			e.passOver(tx.order[attempt])
			e.next(tx)
			return
		default:
			tx.answered, tx.final = true, true
		}
	}
	next, err := sip.Parse(out)
	if err != nil {
		e.w.fail(PromiseTerminal, "%s: answer of a router: %v\n%s", e.name, err, data)
	}
	far := e.w.farAt(next.(*sip.Response).Via().Host)
	if far == nil {
		return
	}
	e.w.net.stream(e.name, far.name, &far.host, func() { far.take(e, out) })
}

// insertLine puts a header line first.
func insertLine(data []byte, l string) []byte {
	at := bytes.Index(data, []byte("\r\n")) + 2
	out := make([]byte, 0, len(data)+len(l)+2)
	out = append(append(append(out, data[:at]...), l...), '\r', '\n')
	return append(out, data[at:]...)
}

// removeLine takes out the first header line that begins so.
func removeLine(data []byte, prefix string) []byte {
	at := bytes.Index(data, []byte("\r\n"+prefix))
	if at < 0 {
		return data
	}
	at += 2
	end := bytes.Index(data[at:], []byte("\r\n")) + at + 2
	out := make([]byte, 0, len(data))
	return append(append(out, data[:at]...), data[end:]...)
}
