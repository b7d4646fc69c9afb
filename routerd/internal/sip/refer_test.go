package sip

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReferToIsReadStrictly(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		to, err := ParseReferTo(in)
		got := "error"
		if err == nil {
			got = to.User
			if r := to.Replaces; r != nil {
				got += fmt.Sprintf(" replaces %s to=%s from=%s early=%v", r.CallID, r.ToTag, r.FromTag, r.EarlyOnly)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", in, got, want, err)
		}
	}
	f("<sip:bob@trunkline.example>", "bob")
	f("sip:bob@trunkline.example", "bob")
	f(`"Bob" <sips:+4930@trunkline.example;user=phone>`, "+4930")
	f("<tel:+4930>", "+4930")
	f("<sip:b%6Fb@a;method=INVITE>", "bob")
	f("<sip:bob@a?Subject=x>", "bob")
	f("<sip:bob@a?Replaces=c1%40host%3Bto-tag%3D1%3Bfrom-tag%3D2>", "bob replaces c1@host to=1 from=2 early=false")
	f("<sip:bob@a?x=y&replaces=c1%3Bfrom-tag%3D2%3Bto-tag%3D1%3Bearly-only>", "bob replaces c1 to=1 from=2 early=true")
	f("<sip:bob@a;method=BYE>", "error")
	f("<http://a/bob>", "error")
	f("<sip:trunkline.example>", "error")
	f("<sip:bob@a", "error")
	f("<sip:%zz@a>", "error")
	f("<sip:bob@a?Replaces=c1%3Bto-tag%3D1>", "error")
	f("<sip:bob@a?Replaces=%3Bto-tag%3D1%3Bfrom-tag%3D2>", "error")
	f("<sip:bob@a?Replaces=c1%3Bto-tag%3D1%3Bto-tag%3D3%3Bfrom-tag%3D2>", "error")
	f("<sip:bob@a?Replaces=c1%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=c1%3Bto-tag%3D1%3Bfrom-tag%3D2>", "error")
	f("", "error")
}

// referred is a talking leg whose far end has sent a REFER, not answered yet.
func referred(t *testing.T, l *Leg, cseq int, edits ...string) Referred {
	t.Helper()
	o := l.Request(start, mustRequest(t, within("REFER", cseq, append([]string{"+Refer-To: <sip:bob@trunkline>"}, edits...)...)), edgeFlow)
	if len(o.Events) != 1 || len(o.Send) != 0 {
		t.Fatalf("REFER: %s", show(o))
	}
	return o.Events[0].(Referred)
}

// notify checks a NOTIFY and answers it.
func notify(t *testing.T, l *Leg, p Packet, event, state, frag string) {
	t.Helper()
	req := mustRequest(t, p.Data)
	if req.Method != "NOTIFY" || req.Get("Event") != event || req.Get("Subscription-State") != state ||
		req.Get("Content-Type") != "message/sipfrag;version=2.0" || string(req.Body()) != frag+"\r\n" {
		t.Errorf("want %s, %s, %s:\n%s", event, state, frag, p.Data)
	}
	answer := strings.Replace(string(Respond(req, edgeFlow, "", Refusal{Code: 200, Reason: "OK"}, nil).Data), ";received=127.0.0.1", "", 1)
	if o := l.Response(start, mustResponse(t, Packet{Data: []byte(answer)})); len(o.Send)+len(o.Events) != 0 || len(l.r.Requests) != 0 {
		t.Errorf("the answer to NOTIFY: %s, %d requests open", show(o), len(l.r.Requests))
	}
}

// TestReferIsToldToItsEnd: 202, then NOTIFY of each step and of the outcome; the
// subscription is over then, and a second REFER is told by its own id.
func TestReferIsToldToItsEnd(t *testing.T) {
	l := talking(t)
	e := referred(t, l, 2, "+Referred-By: <sip:ann@trunkline>", "+Subject: a contract")
	if e.To.User != "bob" || e.By != "<sip:ann@trunkline>" || e.Reason != "a contract" {
		t.Fatalf("%+v", e)
	}
	o := l.AcceptRefer(start, e)
	if !o.Commit || len(o.Send) != 2 {
		t.Fatalf("%s", show(o))
	}
	if res := mustResponse(t, o.Send[0]); res.Code != 202 || res.Get("Contact") == "" {
		t.Errorf("%s", o.Send[0].Data)
	}
	notify(t, l, o.Send[1], "refer", "active;expires=180", "SIP/2.0 100 Trying")
	if again := only(t, l.Request(start, mustRequest(t, within("REFER", 2, "+Refer-To: <sip:bob@trunkline>")), edgeFlow)); again.Code != 202 {
		t.Errorf("a repeat gets %d", again.Code)
	}
	if res := only(t, l.Request(start, mustRequest(t, within("REFER", 3, "+Refer-To: <sip:eve@trunkline>")), edgeFlow)); res.Code != 491 {
		t.Errorf("a second REFER meanwhile gets %d", res.Code)
	}
	o = l.NotifyRefer(start, 180)
	notify(t, l, o.Send[0], "refer", "active;expires=180", "SIP/2.0 180 Ringing")
	if o = l.NotifyRefer(start, 180); len(o.Send) != 0 {
		t.Errorf("said twice: %s", show(o))
	}
	l = rebuild(t, l)
	o = l.NotifyRefer(start, 486)
	notify(t, l, o.Send[0], "refer", "terminated;reason=noresource", "SIP/2.0 486 Busy Here")
	if o = l.NotifyRefer(start, 200); l.Referring() || len(o.Send) != 0 {
		t.Errorf("after the last word: %s", show(o))
	}
	o = l.AcceptRefer(start, referred(t, l, 4))
	notify(t, l, o.Send[1], "refer;id=4", "active;expires=180", "SIP/2.0 100 Trying")
}

// TestRepeatedReferAfterTakeover: the REFER whose 202 died with its router is
// answered again by the next one, and not acted on twice.
func TestRepeatedReferAfterTakeover(t *testing.T) {
	l := talking(t)
	l.AcceptRefer(start, referred(t, l, 2))
	l = rebuild(t, l)
	o := l.Resume(start, routerLocal())
	if len(o.Send) != 1 || mustRequest(t, o.Send[0].Data).Method != "NOTIFY" {
		t.Errorf("the NOTIFY without answer is sent again: %s", show(o))
	}
	o = l.Request(start, mustRequest(t, within("REFER", 2, "+Refer-To: <sip:bob@trunkline>")), edgeFlow)
	if res := only(t, o); res.Code != 202 || len(o.Events) != 0 {
		t.Errorf("%s", show(o))
	}
}

// TestReferIsRefused: at once, where it can't be read or is not one target.
func TestReferIsRefused(t *testing.T) {
	f := func(code int, edits ...string) {
		t.Helper()
		l := talking(t)
		res := only(t, l.Request(start, mustRequest(t, within("REFER", 2, edits...)), edgeFlow))
		if res.Code != code || l.Referring() {
			t.Errorf("%v: %d, want %d", edits, res.Code, code)
		}
	}
	f(400)
	f(400, "+Refer-To: <sip:bob@a>, <sip:eve@a>")
	f(400, "+Refer-To: <sip:bob@a>", "+Refer-To: <sip:eve@a>")
	f(400, "+Refer-To: <sip:bob@a?Replaces=x>")
	f(416, "+Refer-To: <http://a/bob>")
	f(501, "+Refer-To: <sip:bob@a;method=SUBSCRIBE>")
	f(429, "+Refer-To: <sip:bob@a>", "+Referred-By: <sip:a", "+Subject: x")
	l := talking(t)
	if res := only(t, l.RefuseRefer(referred(t, l, 2), 603)); res.Code != 603 || l.Referring() {
		t.Errorf("%d", res.Code)
	}
}

// TestMutedReferTellsNothing: RFC 4488.
func TestMutedReferTellsNothing(t *testing.T) {
	l := talking(t)
	o := l.AcceptRefer(start, referred(t, l, 2, "+Refer-Sub: false"))
	if res := only(t, o); res.Code != 202 || res.Get("Refer-Sub") != "false" {
		t.Errorf("%s", show(o))
	}
	if o = l.NotifyRefer(start, 200); len(o.Send) != 0 || !o.Commit || l.Referring() {
		t.Errorf("%s", show(o))
	}
}

// TestNotifyNeverHurtsTheCall: no answer, a refusal or an unknown subscription
// leave the dialog as it is.
func TestNotifyNeverHurtsTheCall(t *testing.T) {
	f := func(code int, subscribed bool) {
		t.Helper()
		l := talking(t)
		o := l.AcceptRefer(start, referred(t, l, 2))
		if code == 0 {
			for at := start; len(l.r.Requests) > 0; {
				d, _ := l.Deadline()
				at = max(at+1, d)
				o = l.Tick(at)
				if len(o.Events) != 0 || at > start.Add(time.Minute) {
					t.Fatalf("%s", show(o))
				}
			}
		} else {
			req := mustRequest(t, o.Send[1].Data)
			o = l.Response(start, mustResponse(t, Packet{Data: []byte(strings.Replace(string(Respond(req, edgeFlow, "", Refusal{Code: code, Reason: "x"}, nil).Data), ";received=127.0.0.1", "", 1))}))
		}
		if l.State() != Confirmed || len(o.Events) != 0 || l.Referring() != subscribed {
			t.Errorf("%d: %s, told on: %v, %s", code, l.State(), l.Referring(), show(o))
		}
	}
	f(200, true)
	f(481, false)
	f(489, false)
	f(500, true)
	f(0, true)
}

// TestReferEndsWithTheDialog: BYE during a transfer is answered, and nothing more is
// told.
func TestReferEndsWithTheDialog(t *testing.T) {
	l := talking(t)
	l.AcceptRefer(start, referred(t, l, 2))
	o := l.Request(start, mustRequest(t, within("BYE", 3)), edgeFlow)
	if only(t, o).Code != 200 || !reflect.DeepEqual(o.Events, []Event{Ended{Cause: "bye", Code: 200}}) {
		t.Fatalf("%s", show(o))
	}
	if o = l.NotifyRefer(start, 200); len(o.Send) != 0 {
		t.Errorf("%s", show(o))
	}
}
