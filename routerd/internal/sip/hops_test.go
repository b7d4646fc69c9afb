package sip

import (
	"reflect"
	"strings"
	"testing"
)

// TestTargetsOfARedirection come by their wish, then in their order.
func TestTargetsOfARedirection(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	o = l.Response(start, answerTo(t, o.Send[0], 302, "x", "", Header{"Contact", "<sip:b@x>;q=0.5, <sip:a@x>"}, Header{"Contact", "<sip:c@x>;q=0.5, <sip:d@x>;q=2, <sip:e@x>;q=0"}))
	if f := o.Events[0].(Failed); !reflect.DeepEqual(f.Contacts, []string{"sip:a@x", "sip:d@x", "sip:b@x", "sip:c@x", "sip:e@x"}) {
		t.Errorf("targets %v", f.Contacts)
	}
}

// TestMaxForwardsIsCarriedByTheFirstInviteOnly.
func TestMaxForwardsIsCarriedByTheFirstInviteOnly(t *testing.T) {
	p := agentParams()
	p.MaxForwards = 7
	l, o := NewClientLeg(start, routerLocal(), p)
	inv := o.Send[0]
	if got := mustRequest(t, inv.Data).Get("Max-Forwards"); got != "7" {
		t.Errorf("INVITE with %s", got)
	}
	o = l.Response(start, answerTo(t, inv, 200, "theirs", "answer", Header{"Contact", "<sip:a@192.0.2.1>"}))
	if got := mustRequest(t, o.Send[0].Data).Get("Max-Forwards"); got != "70" {
		t.Errorf("ACK with %s", got)
	}
	f := func(header string, want int) {
		t.Helper()
		l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, invite(header)), edgeFlow)
		if got := rebuild(t, l).MaxForwards(); got != want {
			t.Errorf("%q: %d", header, got)
		}
	}
	f("Max-Forwards: 9", 9)
	f("Max-Forwards: 255", 255)
	f("Max-Forwards: ", usualForwards)
}

// TestReasonsOfTheFarEnd are kept, whatever ended the leg; one that is too long
// to be passed on is not.
func TestReasonsOfTheFarEnd(t *testing.T) {
	const reason = `SIP;cause=200;text="Call completed elsewhere"`
	f := func(what string, l *Leg, want string) {
		t.Helper()
		if got := rebuild(t, l).FarReason(); got != want {
			t.Errorf("%s: %q", what, got)
		}
	}
	l := talking(t)
	l.Request(start, mustRequest(t, within("BYE", 2, "+Reason: "+reason)), edgeFlow)
	f("BYE", l, reason)
	l = talking(t)
	l.Request(start, mustRequest(t, within("BYE", 2, "+Reason: "+strings.Repeat("x", maxReason+1))), edgeFlow)
	f("a long one", l, "")
	l, _ = NewServerLeg(start, routerLocal(), mustRequest(t, invite()), edgeFlow)
	l.Request(start, mustRequest(t, invite("=CANCEL sip:+498912345@r1.example SIP/2.0", "CSeq: 1 CANCEL", "+Reason: "+reason)), edgeFlow)
	f("CANCEL", l, reason)
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	l.Response(start, answerTo(t, o.Send[0], 486, "x", "", Header{"Reason", "Q.850;cause=17"}))
	f("486", l, "Q.850;cause=17")
}

// TestReasonsOfOurs go with the CANCEL, even one that must wait, and with the
// BYE that takes its place.
func TestReasonsOfOurs(t *testing.T) {
	reason := Reason(200, "Call completed \"elsewhere\"\r\n")
	const want = `SIP;cause=200;text="Call completed elsewhere"`
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	if o := l.Cancel(start, reason); len(o.Send) != 0 {
		t.Fatalf("%s", show(o))
	}
	l = rebuild(t, l)
	o = l.Response(start, answerTo(t, inv, 100, "", ""))
	if c := mustRequest(t, o.Send[0].Data); c.Method != "CANCEL" || c.Get("Reason") != want {
		t.Errorf("%s", c.Raw())
	}
	o = l.Response(start, answerTo(t, inv, 200, "theirs", "answer", Header{"Contact", "<sip:a@192.0.2.1>"}))
	if b := mustRequest(t, o.Send[1].Data); b.Method != "BYE" || b.Get("Reason") != want {
		t.Errorf("%s", b.Raw())
	}
	l, _ = NewServerLeg(start, routerLocal(), mustRequest(t, withBody(invite(), "application/sdp", "offer")), edgeFlow)
	if res := only(t, l.Bye(start, reason)); res.Code != 480 || res.Get("Reason") != want {
		t.Errorf("%s", res.Raw())
	}
	l, _ = NewServerLeg(start, routerLocal(), mustRequest(t, withBody(invite(), "application/sdp", "offer")), edgeFlow)
	l.Accept(start, []byte("answer"))
	l.Bye(start, reason)
	l = rebuild(t, l)
	o = l.Request(start, mustRequest(t, within("ACK", 1)), edgeFlow)
	if b := mustRequest(t, o.Send[0].Data); b.Method != "BYE" || b.Get("Reason") != want {
		t.Errorf("%s", b.Raw())
	}
}
