package sim

import (
	"bytes"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// farEnd is a SIP user agent outside the site, a caller or a phone. Its dialogs
// are legs of the SIP engine as well, so that it repeats, acknowledges and
// cancels as a far end does.
type farEnd struct {
	host
	addr    string          // host:port
	flows   map[string]bool // edges it holds a connection to
	edges   []*edge         // in the order in which it uses them
	dialogs map[string]*dialog
	order   []string // Call-IDs of dialogs, oldest first

	invited func(d *dialog, req *sip.Request) // an INVITE that opens a dialog
	told    func(d *dialog, e sip.Event)
	heard   func(msg sip.Message) // of every message, before it is acted on

	noUpdate bool                      // it does not allow UPDATE
	notified func(notify *sip.Request) // of a transfer it asked for; nil: it knows no NOTIFY
}

// dialog is one dialog of a far end.
type dialog struct {
	far   *farEnd
	id    string // Call-ID
	leg   *sip.Leg
	armed time.Duration // when the leg's next deadline is
	over  bool
	ring  *ringing // of a phone
}

func (w *World) newFarEnd(name, ip string) *farEnd {
	f := &farEnd{addr: ip + ":5060", flows: map[string]bool{}, dialogs: map[string]*dialog{}}
	f.host = host{w: w, name: name}
	f.start()
	for _, e := range w.edges {
		f.flows[e.name] = true
		f.edges = append(f.edges, e)
	}
	w.rng.Shuffle(len(f.edges), func(i, j int) { f.edges[i], f.edges[j] = f.edges[j], f.edges[i] })
	w.fars[ip] = f
	return f
}

func (w *World) farAt(ip string) *farEnd { return w.fars[ip] }

// time is the far end's clock.
func (f *farEnd) time() sip.Time { return acd.Time(epoch + int64(f.w.now)) }

func (f *farEnd) local(tag string) sip.Local {
	l := sip.Local{Contact: "sip:" + f.name + "@" + f.addr + ";transport=tcp", SentBy: f.addr, Network: "tcp", Tag: tag, Product: "far"}
	for _, e := range f.edges {
		l.Outbound = append(l.Outbound, sip.Hop{Network: "tcp", Addr: e.addr})
	}
	return l
}

// call opens a dialog.
func (f *farEnd) call(id, from, number string, headers []sip.Header) *dialog {
	leg, out := sip.NewClientLeg(f.time(), f.local(sip.NewTag(id)), sip.ClientParams{
		CallID: id, Branch: sip.NewBranch(id), URI: "sip:" + number + "@" + f.edges[0].addr, From: "<sip:" + from + "@" + f.addr + ">",
		To: "<sip:" + number + "@sbc>", SDP: []byte(sdpOf("10.2.2.2")), Headers: headers,
	})
	d := f.adopt(id, leg)
	f.act(d, out)
	return d
}

func (f *farEnd) adopt(id string, leg *sip.Leg) *dialog {
	d := &dialog{far: f, id: id, leg: leg}
	f.dialogs[id] = d
	f.order = append(f.order, id)
	return d
}

// take receives what an edge brings.
func (f *farEnd) take(e *edge, data []byte) {
	msg, err := sip.Parse(data)
	if err != nil {
		f.w.fail(PromiseTerminal, "%s gets what can't be parsed: %v\n%s", f.name, err, data)
	}
	f.w.note(f.name, "gets", firstWords(data), msg.CallID(), 0)
	if f.heard != nil {
		f.heard(msg)
	}
	flow := sip.Flow{Network: "tcp", Remote: e.addr, Local: f.addr}
	d := f.dialogs[msg.CallID()]
	switch m := msg.(type) {
	case *sip.Response:
		if d != nil {
			f.act(d, d.leg.Response(f.time(), m))
		}
	case *sip.Request:
		switch {
		case m.Method == "NOTIFY" && f.notified != nil:
			f.send(sip.Respond(m, flow, m.ToTag(), sip.Refusal{Code: 200, Reason: "OK"}, nil))
			f.notified(m)
		case d != nil:
			f.act(d, d.leg.Request(f.time(), m, flow))
		case m.Method == "INVITE" && m.ToTag() == "" && f.invited != nil:
			leg, out := sip.NewServerLeg(f.time(), f.local(sip.NewTag(m.CallID(), f.name)), m, flow)
			d = f.adopt(m.CallID(), leg)
			f.act(d, out)
			f.invited(d, m)
		case m.Method != "ACK":
			f.send(sip.Respond(m, flow, sip.NewTag(m.CallID()), sip.NoSuchDialog, nil))
		}
	}
}

// act sends what a leg wants sent and tells what happened.
func (f *farEnd) act(d *dialog, out sip.Output) {
	for _, p := range out.Send {
		if firstWords(p.Data) == "481" && strings.Contains(string(p.Data), " CANCEL\r\n") {
			f.w.judge.stuck[d.id] = true
		}
		f.send(p)
	}
	for _, e := range out.Events {
		switch e := e.(type) {
		case sip.Failed:
			d.over = true
		case sip.Ended:
			d.over = true
			if e.Code == 503 || e.Code == 408 {
				f.w.judge.unheard(d)
			}
		case sip.Reoffer:
			f.act(d, d.leg.AnswerOffer(f.time(), 200, []byte(sdpOf("10.2.2.2"))))
		default:
			_ = e
		}
		f.told(d, e)
	}
	f.arm(d)
}

func (f *farEnd) arm(d *dialog) {
	at, ok := d.leg.Deadline()
	if !ok {
		if d.leg.Done() {
			f.forget(d)
		}
		return
	}
	due := time.Duration(int64(at) - epoch)
	if d.armed == due && due > f.w.now {
		return
	}
	d.armed = due
	f.after(due-f.w.now, func() {
		if d.armed == due {
			d.armed = 0
			f.act(d, d.leg.Tick(f.time()))
		}
	})
}

func (f *farEnd) forget(d *dialog) {
	delete(f.dialogs, d.id)
	for i, id := range f.order {
		if id == d.id {
			f.order = append(f.order[:i:i], f.order[i+1:]...)
			return
		}
	}
}

// send gives a packet to the first edge that takes it.
func (f *farEnd) send(p sip.Packet) {
	if f.noUpdate {
		p.Data = bytes.Replace(p.Data, []byte(", UPDATE"), nil, 1)
	}
	ways := make([]string, 0, 4)
	if p.Conn != "" {
		ways = append(ways, p.Conn)
	}
	for _, h := range p.Hops {
		ways = append(ways, h.Addr)
	}
	for _, addr := range ways {
		if e := f.w.edgeAt(addr); e != nil && e.up && f.flows[e.name] {
			f.w.net.stream(f.name, e.name, &e.host, func() { e.fromFar(f, p.Data) })
			return
		}
	}
}

// firstWords are a message's method or code, with its CSeq's method.
func firstWords(data []byte) string {
	s := string(data[:min(len(data), 24)])
	if rest, ok := strings.CutPrefix(s, "SIP/2.0 "); ok {
		return rest[:3]
	}
	m, _, _ := strings.Cut(s, " ")
	return m
}

// sipCallID finds the Call-ID of a message without parsing it.
func sipCallID(data []byte) string {
	s := string(data)
	_, after, _ := strings.Cut(s, "\r\nCall-ID: ")
	id, _, _ := strings.Cut(after, "\r\n")
	return id
}
