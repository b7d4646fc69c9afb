package sip

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// ringing answers the INVITE of l provisionally from one fork.
func ringing(t *testing.T, l *Leg, inv Packet, code int, tag, sdp string, rseq int, headers ...Header) Output {
	t.Helper()
	headers = append(headers, Header{"Contact", "<sip:" + tag + "@192.0.2.1>"}, Header{"Record-Route", "<sip:" + tag + ".edge;lr>"})
	if rseq > 0 {
		headers = append(headers, Header{"Require", "100rel"}, Header{"RSeq", fmt.Sprint(rseq)})
	}
	return l.Response(start, answerTo(t, inv, code, tag, sdp, headers...))
}

func methods(t *testing.T, o Output) (out []string) {
	t.Helper()
	for _, p := range o.Send {
		msg, err := Parse(p.Data)
		if err != nil {
			t.Fatal(err)
		}
		if req, ok := msg.(*Request); ok {
			out = append(out, req.Method+" "+req.ToTag())
		} else {
			out = append(out, fmt.Sprint(msg.(*Response).Code))
		}
	}
	return out
}

// TestReliableAnswersAreAcknowledgedInOrder: each fork has its own numbers; a
// repeat gets no second PRACK, and one that overtook another is left.
func TestReliableAnswersAreAcknowledgedInOrder(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	f := func(tag string, rseq int, want ...string) {
		t.Helper()
		l = rebuild(t, l)
		o := ringing(t, l, inv, 180, tag, "", rseq)
		if got := methods(t, o); !reflect.DeepEqual(got, want) || (len(o.Events) > 0) != (len(want) > 0) {
			t.Errorf("%s %d: %v, want %v", tag, rseq, got, want)
		}
		if len(want) == 0 {
			return
		}
		p := mustRequest(t, o.Send[0].Data)
		if p.Get("RAck") != fmt.Sprintf("%d 1 INVITE", rseq) || p.URI != "sip:"+tag+"@192.0.2.1" || p.Get("Route") != "<sip:"+tag+".edge;lr>" || !o.Commit {
			t.Errorf("%s", p.Raw())
		}
	}
	f("a", 100, "PRACK a")
	f("b", 7, "PRACK b")
	f("a", 100)
	f("a", 102)
	f("a", 101, "PRACK a")
	f("a", 102, "PRACK a")
	f("b", 8, "PRACK b")
	if n := len(l.r.Requests); n != 5 {
		t.Errorf("%d requests wait for their answers", n)
	}
	o = l.Response(start, answerTo(t, inv, 486, "b", ""))
	if len(l.r.Requests) != 0 || len(l.r.Forks) != 0 {
		t.Errorf("a refused leg keeps %d requests", len(l.r.Requests))
	}
}

// TestForksAreKeptApart: the 2xx without description stands for its own fork's;
// the others are hung up, whichever answers.
func TestForksAreKeptApart(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	ringing(t, l, inv, 183, "a", "sdp-a", 0)
	ringing(t, l, inv, 183, "b", "sdp-b", 5)
	ringing(t, l, inv, 183, "c", "sdp-c", 0)
	l = rebuild(t, l)
	l.Resume(start, routerLocal())
	o = l.Response(start, answerTo(t, inv, 200, "b", "", Header{"Contact", "<sip:b2@192.0.2.1>"}))
	if !reflect.DeepEqual(o.Events, []Event{Answered{SDP: []byte("sdp-b")}}) || l.RemoteTag() != "b" {
		t.Fatalf("%s", show(o))
	}
	o = l.Response(start, answerTo(t, inv, 200, "a", "sdp-a", Header{"Contact", "<sip:a@192.0.2.1>"}))
	if got := methods(t, o); !reflect.DeepEqual(got, []string{"ACK a", "BYE a"}) || l.RemoteTag() != "b" {
		t.Errorf("the second 2xx: %v", got)
	}
	o = l.Response(start, answerTo(t, inv, 200, "b", "", Header{"Contact", "<sip:b2@192.0.2.1>"}))
	if got := methods(t, o); !reflect.DeepEqual(got, []string{"ACK b"}) {
		t.Errorf("the first again: %v", got)
	}
}

// TestADescriptionThatCameReliablyStands: what the 200 says besides does not
// count any more (RFC 3262 section 5).
func TestADescriptionThatCameReliablyStands(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	ringing(t, l, inv, 183, "a", "early", 1)
	o = ringing(t, l, inv, 180, "a", "other", 2)
	if r := o.Events[0].(Ringing); string(r.SDP) != "early" {
		t.Errorf("the 180 after it: %q", r.SDP)
	}
	o = l.Response(start, answerTo(t, inv, 200, "a", "late", Header{"Contact", "<sip:a@192.0.2.1>"}))
	if !reflect.DeepEqual(o.Events, []Event{Answered{SDP: []byte("early")}}) {
		t.Errorf("%s", show(o))
	}
}

func TestForksAreBounded(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	for i := range 50 {
		ringing(t, l, o.Send[0], 180, fmt.Sprint("fork", i), "", 0)
	}
	if n := len(l.r.Forks); n != maxForks {
		t.Errorf("%d forks are kept", n)
	}
	o = l.Response(start, answerTo(t, o.Send[0], 200, "fork49", "answer", Header{"Contact", "<sip:x@192.0.2.1>"}))
	if len(o.Events) != 1 || l.RemoteTag() != "fork49" {
		t.Errorf("one that was not kept answers: %s", show(o))
	}
}

// early makes a request of the called far end before it answered.
func earlyFrom(l *Leg, method string, cseq int, tag string, edits ...string) []byte {
	return within(method, cseq, append([]string{"Call-ID: " + l.CallID(),
		"To: <sip:+4917600@trunkline.internal>;tag=ours", "From: <sip:ann@trunkline.internal>;tag=" + tag}, edits...)...)
}

// TestRequestsBeforeTheAnswer: what a called far end may ask in its early
// dialog.
func TestRequestsBeforeTheAnswer(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	ringing(t, l, inv, 180, "a", "", 0)
	ringing(t, l, inv, 183, "b", "sdp-b", 1)
	f := func(code int, raw []byte) Output {
		t.Helper()
		o := l.Request(start, mustRequest(t, raw), edgeFlow)
		if code == 0 {
			if len(o.Send) != 0 {
				t.Errorf("answered at once: %s", show(o))
			}
			return o
		}
		if res := only(t, o); res.Code != code {
			t.Errorf("%d, want %d", res.Code, code)
		}
		return o
	}
	f(481, earlyFrom(l, "UPDATE", 1, "unknown"))
	f(200, earlyFrom(l, "UPDATE", 5, "a", "Contact: <sip:moved@192.0.2.1>"))
	f(500, earlyFrom(l, "UPDATE", 4, "a"))
	f(491, withBody(earlyFrom(l, "UPDATE", 6, "a"), "application/sdp", "offer")) // ours is not answered
	f(200, earlyFrom(l, "OPTIONS", 7, "a"))
	f(481, earlyFrom(l, "BYE", 8, "a"))
	f(491, earlyFrom(l, "INVITE", 9, "a"))
	offer := withBody(earlyFrom(l, "UPDATE", 1, "b"), "application/sdp", "sdp-b2")
	if o := f(0, offer); !reflect.DeepEqual(o.Events, []Event{Reoffer{SDP: []byte("sdp-b2")}}) {
		t.Errorf("%s", show(o))
	}
	f(0, offer)
	l = rebuild(t, l)
	if o := l.Resume(start, routerLocal()); !reflect.DeepEqual(o.Events, []Event{Reoffer{SDP: []byte("sdp-b2")}}) {
		t.Errorf("the next owner is not asked: %s", show(o))
	}
	if res := only(t, l.AnswerOffer(start, 200, []byte("answer-b2"))); res.Code != 200 || string(res.SDP()) != "answer-b2" {
		t.Errorf("%s", res.Raw())
	}
	f(200, offer)
	o = l.Response(start, answerTo(t, inv, 200, "a", "answer-a", Header{"Contact", "<sip:a@192.0.2.1>"}))
	if !bytes.Equal(o.Events[0].(Answered).SDP, []byte("answer-a")) || l.r.RemoteCSeq != 9 {
		t.Errorf("%s, last CSeq %d", show(o), l.r.RemoteCSeq)
	}
}

// TestPracksThatFitNothing are refused and change nothing.
func TestPracksThatFitNothing(t *testing.T) {
	l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, withBody(invite("+Require: 100rel"), "application/sdp", "offer")), edgeFlow)
	cseq := 1
	f := func(code int, rack string, body string) {
		t.Helper()
		cseq++
		raw := within("PRACK", cseq, "+RAck: "+rack)
		if body != "" {
			raw = withBody(raw, "application/sdp", body)
		}
		if res := only(t, l.Request(start, mustRequest(t, raw), edgeFlow)); res.Code != code {
			t.Errorf("RAck %q: %d, want %d", rack, res.Code, code)
		}
	}
	f(481, "1 1 INVITE", "")
	res := only(t, l.Progress(start, 180, nil))
	rseq := res.Get("RSeq")
	if res.Get("Require") != "100rel" || rseq == "" {
		t.Fatalf("%s", res.Raw())
	}
	f(400, rseq, "")
	f(400, rseq+" 1 BYE", "")
	f(400, "x 1 INVITE", "")
	f(481, rseq+" 2 INVITE", "")
	f(481, "1 1 INVITE", "")
	if !l.r.Rel.Waits {
		t.Error("a wrong PRACK counts")
	}
	f(200, rseq+" 1 INVITE", "")
	f(200, rseq+" 1 INVITE", "")
	l.Accept(start, []byte("answer"))
	f(200, rseq+" 1 INVITE", "")
}

// TestAnOfferInAPrackIsAnsweredByIts200.
func TestAnOfferInAPrackIsAnsweredByIts200(t *testing.T) {
	l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, withBody(invite("+Require: 100rel"), "application/sdp", "offer")), edgeFlow)
	rseq := only(t, l.Progress(start, 183, []byte("answer"))).Get("RSeq")
	prack := mustRequest(t, withBody(within("PRACK", 2, "+RAck: "+rseq+" 1 INVITE"), "application/sdp", "offer2"))
	o := l.Request(start, prack, edgeFlow)
	if len(o.Send) != 0 || !reflect.DeepEqual(o.Events, []Event{Reoffer{SDP: []byte("offer2")}}) {
		t.Fatalf("%s", show(o))
	}
	l = rebuild(t, l)
	l.Resume(start, routerLocal())
	if res := only(t, l.AnswerOffer(start, 200, []byte("answer2"))); res.Code != 200 || string(res.SDP()) != "answer2" {
		t.Errorf("%s", res.Raw())
	}
	if res := only(t, l.Request(start, prack, edgeFlow)); string(res.SDP()) != "answer2" {
		t.Errorf("the repeat: %s", res.Raw())
	}
	l.Request(start, mustRequest(t, within("BYE", 3)), edgeFlow)
	if at, ok := l.Deadline(); !ok || at > start.Add(time.Minute) {
		t.Error("a leg that is over waits")
	}
}
