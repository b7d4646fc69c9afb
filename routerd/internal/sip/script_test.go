package sip

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the scripts' expected traces anew")

// wire connects a client leg (uac) and a server leg (uas) without sockets and
// with a clock of its own. Every step also runs on a twin that is rebuilt from
// its record before it: a difference between the two is a field that the
// record lacks.
type wire struct {
	t       *testing.T
	now     Time
	network string
	uac     *end
	uas     *end
	flying  []flight // sent, not yet delivered
	held    bool     // deliver only on demand
	drop    int      // packets still to lose
	trace   strings.Builder
	se      map[string]time.Duration // session interval asked for, by end
	least   time.Duration            // shortest one taken by either end
	limit   time.Duration            // how long it may ring
	attach  map[string]string        // bodies put into the caller's requests, by method
	invites []string                 // headers put into its INVITE
	wishes  bool                     // the called side sends 18x reliably if it can
}

type end struct {
	name  string
	local Local
	leg   *Leg
	twin  *Leg
}

type flight struct {
	from *end
	p    Packet
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, now: Time(1_700_000_000 * time.Second), network: "tcp", se: map[string]time.Duration{}, least: 90 * time.Second, attach: map[string]string{}}
	w.uac = &end{name: "uac"}
	w.uas = &end{name: "uas"}
	return w
}

func (w *wire) local(e *end, node int) Local {
	addr := fmt.Sprintf("10.0.%d.%d:5060", map[string]int{"uac": 1, "uas": 2}[e.name], node)
	return Local{
		Contact: "sip:c@" + addr + ";transport=" + w.network, SentBy: addr, Network: w.network,
		Tag: "tag-" + e.name, Product: "trunkline", Headers: []Header{{"X-Trunkline-Call", "c"}},
		MinSE: w.least, SessionExpires: w.se[e.name], RingLimit: w.limit, Reliable: w.wishes,
	}
}

// step runs f on the leg and on its rebuilt twin and plays the output.
func (w *wire) step(e *end, f func(*Leg) Output) {
	w.t.Helper()
	if e.leg == nil {
		w.t.Fatalf("%s has no leg yet", e.name)
	}
	e.twin = rebuild(w.t, e.twin)
	out, twin := f(e.leg), f(e.twin)
	if !reflect.DeepEqual(out, twin) {
		w.t.Fatalf("%s: the leg rebuilt from its record behaves differently:\n%+v\n%+v", e.name, show(out), show(twin))
	}
	w.play(e, out)
}

func rebuild(t *testing.T, l *Leg) *Leg {
	t.Helper()
	b, err := l.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var again Leg
	if err := again.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return &again
}

func show(o Output) string {
	var b strings.Builder
	fmt.Fprintf(&b, "commit=%v save=%v events=%+v\n", o.Commit, o.Save, o.Events)
	for _, p := range o.Send {
		fmt.Fprintf(&b, "%s %v\n%s\n", p.Conn, p.Hops, p.Data)
	}
	return b.String()
}

func (w *wire) play(e *end, out Output) {
	switch {
	case out.Commit:
		fmt.Fprintf(&w.trace, "%s commits\n", e.name)
	case out.Save:
		fmt.Fprintf(&w.trace, "%s saves\n", e.name)
	}
	for _, ev := range out.Events {
		fmt.Fprintf(&w.trace, "%s ! %s\n", e.name, showEvent(ev))
	}
	for _, p := range out.Send {
		p.Data = w.dress(e, p.Data)
		msg, err := Parse(p.Data)
		if err != nil {
			w.t.Fatalf("%s sent what can't be parsed: %v\n%s", e.name, err, p.Data)
		}
		fmt.Fprintf(&w.trace, "%s > %s", e.name, showMessage(msg))
		if w.drop > 0 {
			w.drop--
			w.trace.WriteString(" (lost)\n")
			continue
		}
		w.trace.WriteString("\n")
		w.flying = append(w.flying, flight{e, p})
	}
	if !w.held {
		w.deliver(len(w.flying))
	}
}

// dress gives a request of the caller what an engine of another make would: a
// body our own never sends with this method.
func (w *wire) dress(e *end, data []byte) []byte {
	method, _, _ := bytes.Cut(data, []byte(" "))
	body, ok := w.attach[string(method)]
	if !ok || e != w.uac {
		return data
	}
	return withBody(data, "application/sdp", body)
}

func (w *wire) deliver(n int) {
	for ; n > 0 && len(w.flying) > 0; n-- {
		f := w.flying[0]
		w.flying = w.flying[1:]
		w.receive(f)
	}
}

func (w *wire) receive(f flight) {
	to := w.uas
	if f.from == w.uas {
		to = w.uac
	}
	msg, err := Parse(bytes.Clone(f.p.Data))
	if err != nil {
		w.t.Fatal(err)
	}
	flow := Flow{Network: w.network, Remote: f.from.local.SentBy, Local: to.local.SentBy}
	switch m := msg.(type) {
	case *Response:
		w.step(to, func(l *Leg) Output { return l.Response(w.now, m) })
	case *Request:
		if ref := Validate(m, Policy{MinSE: w.least}); ref != nil {
			w.play(to, Output{Send: []Packet{Respond(m, flow, "tag-"+to.name, *ref, nil)}})
			return
		}
		if to.leg == nil && m.Method == "ACK" {
			return // of a refusal before any leg
		}
		if to.leg == nil {
			to.local = w.local(to, 1)
			var out Output
			to.leg, out = NewServerLeg(w.now, to.local, m, flow)
			to.twin, _ = NewServerLeg(w.now, to.local, m, flow)
			w.play(to, out)
			return
		}
		w.step(to, func(l *Leg) Output { return l.Request(w.now, m, flow) })
	}
}

func showMessage(m Message) string {
	n, method := m.CSeq()
	var s string
	switch m := m.(type) {
	case *Request:
		s = fmt.Sprintf("%s %d", method, n)
	case *Response:
		s = fmt.Sprintf("%d %s %d", m.Code, method, n)
	}
	for _, h := range []struct{ name, as string }{{"Session-Expires", "se"}, {"Reason", "reason"}, {"RSeq", "rseq"}, {"RAck", "rack"}, {"Retry-After", "retry-after"}} {
		if v := m.Get(h.name); v != "" {
			s += " " + h.as + "=" + v
		}
	}
	if len(m.Body()) > 0 {
		s += " [" + string(m.Body()) + "]"
	}
	return s
}

func showEvent(e Event) string {
	s := strings.TrimPrefix(fmt.Sprintf("%T", e), "sip.")
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			continue
		}
		s += " " + strings.ToLower(v.Type().Field(i).Name) + "="
		if b, ok := v.Field(i).Interface().([]byte); ok {
			s += "[" + string(b) + "]"
		} else {
			s += fmt.Sprint(v.Field(i).Interface())
		}
	}
	return s
}

// advance moves the clock, ticking both legs whenever they are due.
func (w *wire) advance(d time.Duration) {
	until := w.now.Add(d)
	for range 10000 {
		next := until
		for _, e := range []*end{w.uac, w.uas} {
			if e.leg != nil {
				if at, ok := e.leg.Deadline(); ok && at < next {
					next = at
				}
			}
		}
		w.now = max(w.now, next)
		for _, e := range []*end{w.uac, w.uas} {
			if e.leg == nil {
				continue
			}
			if at, ok := e.leg.Deadline(); ok && at <= w.now {
				w.step(e, func(l *Leg) Output { return l.Tick(w.now) })
			}
		}
		if w.now >= until {
			return
		}
	}
	w.t.Fatal("a deadline does not move on")
}

func (w *wire) invite(args map[string]string) {
	e := w.uac
	e.local = w.local(e, 1)
	p := ClientParams{
		CallID: "call-1@trunkline", Branch: NewBranch("effect", "1"), URI: "sip:bob@10.0.2.1:5060",
		From: `"Ann" <sip:+4912@trunkline>`, To: "<sip:bob@trunkline>", SDP: []byte(args["sdp"]),
		Hops: []Hop{{w.network, "10.0.2.1:5060"}},
	}
	for _, h := range w.invites {
		name, value, _ := strings.Cut(h, "=")
		p.Headers = append(p.Headers, Header{name, value})
	}
	var out Output
	e.leg, out = NewClientLeg(w.now, e.local, p)
	e.twin, _ = NewClientLeg(w.now, e.local, p)
	w.play(e, out)
}

// command runs one line of a script.
func (w *wire) command(line string) {
	w.t.Helper()
	f := strings.Fields(line)
	args := map[string]string{}
	for _, a := range f[1:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			args[k] = v
		}
	}
	who := func() *end {
		switch f[1] {
		case "uac":
			return w.uac
		case "uas":
			return w.uas
		}
		w.t.Fatalf("%q: no such end", line)
		return nil
	}
	code := func(i int) int {
		n, err := strconv.Atoi(f[i])
		if err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		return n
	}
	sdp := []byte(args["sdp"])
	if len(sdp) == 0 {
		sdp = nil
	}
	switch f[0] {
	case "invite":
		w.invite(args)
	case "progress":
		w.step(w.uas, func(l *Leg) Output { return l.Progress(w.now, code(1), sdp) })
	case "accept":
		w.step(w.uas, func(l *Leg) Output { return l.Accept(w.now, sdp) })
	case "reject":
		w.step(w.uas, func(l *Leg) Output { return l.Reject(w.now, code(1), "") })
	case "cancel":
		w.step(w.uac, func(l *Leg) Output { return l.Cancel(w.now) })
	case "bye":
		w.step(who(), func(l *Leg) Output { return l.Bye(w.now) })
	case "update":
		w.step(who(), func(l *Leg) Output { return l.Update(w.now, sdp) })
	case "attach": // attach ACK sdp=answer; without sdp no more
		if delete(w.attach, f[1]); sdp != nil {
			w.attach[f[1]] = string(sdp)
		}
	case "with": // with Require=100rel: in the INVITE
		w.invites = append(w.invites, f[1])
	case "reliable": // the called side, where the caller can
		w.wishes = true
	case "reinvite":
		w.step(who(), func(l *Leg) Output { return l.Reinvite(w.now, sdp) })
	case "answer":
		w.step(who(), func(l *Leg) Output { return l.AnswerOffer(w.now, code(2), sdp) })
	case "unreachable": // the end's last packet could not be delivered
		e := who()
		p := w.flying[len(w.flying)-1].p
		w.flying = w.flying[:len(w.flying)-1]
		w.step(e, func(l *Leg) Output { return l.SendFailed(w.now, p) })
	case "takeover":
		e := who()
		node := 2
		if args["address"] == "moves" {
			node = 1
		}
		e.local = w.local(e, node)
		e.leg = rebuild(w.t, e.leg)
		e.twin = rebuild(w.t, e.twin)
		w.step(e, func(l *Leg) Output { return l.Resume(w.now, e.local) })
	case "no-update": // the end's far side allows no UPDATE
		who().leg.r.Updates, who().twin.r.Updates = false, false
	default:
		w.control(line, f)
	}
}

// control runs the commands about the wire and the clock.
func (w *wire) control(line string, f []string) {
	w.t.Helper()
	number := func() int {
		n, err := strconv.Atoi(f[1])
		if err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		return n
	}
	switch f[0] {
	case "network":
		w.network = f[1]
	case "session":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range []string{"uac", "uas"} { // session 120s [end]
			if len(f) < 3 || f[2] == e {
				w.se[e] = d
			}
		}
	case "least", "ring-limit":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		if f[0] == "least" {
			w.least = d
		} else {
			w.limit = d
		}
	case "lose":
		w.drop = number()
	case "hold":
		w.held = true
	case "swap": // the first two in flight arrive in the other order
		w.flying[0], w.flying[1] = w.flying[1], w.flying[0]
	case "deliver":
		if len(f) == 1 {
			w.held = false
			w.deliver(len(w.flying))
		} else {
			w.deliver(number())
		}
	case "repeat": // the first in flight arrives twice
		w.flying = append([]flight{w.flying[0]}, w.flying...)
	case "wait":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.advance(d)
	case "state":
		for _, e := range []*end{w.uac, w.uas} {
			if e.leg != nil {
				fmt.Fprintf(&w.trace, "%s %s done=%v\n", e.name, e.leg.State(), e.leg.Done())
			}
		}
	default:
		w.t.Fatalf("unknown command %q", line)
	}
}

// TestScripts plays testdata/*.txt: commands, then after ---- what both legs
// send (>), commit and report (!).
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playScript(t, file) })
	}
}

func playScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t)
	var out strings.Builder
	for i, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		commands, want, _ := strings.Cut(block, "\n----")
		w.trace.Reset()
		run := false
		for line := range strings.SplitSeq(commands, "\n") {
			if line != "" && line[0] != '#' {
				w.command(line)
				run = true
			}
		}
		got := strings.TrimSpace(w.trace.String())
		if i > 0 {
			out.WriteString("\n\n")
		}
		out.WriteString(commands)
		if run {
			out.WriteString("\n----")
		}
		if got != "" {
			out.WriteString("\n" + got)
		}
		if run && !*update && got != strings.TrimSpace(want) {
			t.Fatalf("%s: after\n%s\n--- got\n%s\n--- want\n%s", file, commands, got, strings.TrimSpace(want))
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
