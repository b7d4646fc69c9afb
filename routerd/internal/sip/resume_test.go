package sip

import (
	"reflect"
	"testing"
	"time"
)

func TestCancelAfterTakeoverDoesNotWaitForAProvisional(t *testing.T) {
	l, _ := NewClientLeg(start, routerLocal(), agentParams())
	l = rebuild(t, l)
	if o := l.Resume(start, routerLocal()); len(o.Send) != 0 {
		t.Fatalf("takeover sends %s", show(o))
	}
	o := l.Cancel(start)
	if len(o.Send) != 1 || mustRequest(t, o.Send[0].Data).Method != "CANCEL" {
		t.Errorf("%s", show(o))
	}
}

func TestByeOfADeadNodeIsNotAwaitedForLong(t *testing.T) {
	l := talking(t)
	l.Bye(start)
	l = rebuild(t, l)
	o := l.Resume(start.Add(time.Second), routerLocal())
	if len(o.Send) != 1 {
		t.Fatalf("%s", show(o))
	}
	var ended Time
	for range 20 {
		at, ok := l.Deadline()
		if !ok {
			break
		}
		if o := l.Tick(at); len(o.Events) == 1 && o.Events[0] == (Ended{"hangup", 408}) {
			ended = at
		}
	}
	if d := ended.Sub(start.Add(time.Second)); d != 8*time.Second {
		t.Errorf("ended %v after the takeover", d)
	}
}

// refreshing is a client leg that has to refresh a session of 1800 s.
func refreshing(t *testing.T) (*Leg, Packet) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	o = l.Response(start, answerTo(t, o.Send[0], 200, "theirs", "answer", Header{"Contact", "<sip:a@192.0.2.1>"},
		Header{"Allow", "INVITE, ACK, BYE, UPDATE"}, Header{"Session-Expires", "1800;refresher=uac"}))
	at, _ := l.Deadline()
	if at != start.Add(900*time.Second) {
		t.Fatalf("refresh after %v", at.Sub(start))
	}
	o = l.Tick(at)
	if mustRequest(t, o.Send[0].Data).Method != "UPDATE" || !o.Commit {
		t.Fatalf("%s", show(o))
	}
	return l, o.Send[0]
}

func TestRefreshGoesOnByReinviteIfUpdateIsRefused(t *testing.T) {
	l, update := refreshing(t)
	now := start.Add(901 * time.Second)
	l.Response(now, answerTo(t, update, 405, "theirs", ""))
	at, _ := l.Deadline()
	o := l.Tick(at)
	if at > now.Add(time.Second) || len(o.Send) != 1 {
		t.Fatalf("%v: %s", at.Sub(now), show(o))
	}
	inv := mustRequest(t, o.Send[0].Data)
	if n, _ := inv.CSeq(); inv.Method != "INVITE" || n != 3 || string(inv.SDP()) != "offer" || inv.ToTag() != "theirs" {
		t.Errorf("%s", inv.Raw())
	}
	o = l.Response(at, answerTo(t, o.Send[0], 200, "theirs", "answer", Header{"Session-Expires", "1800;refresher=uac"}))
	if len(o.Events) != 0 || len(o.Send) != 1 || mustRequest(t, o.Send[0].Data).Method != "ACK" {
		t.Errorf("a refresh without change is told: %s", show(o))
	}
}

func TestUnknownDialogAtRefreshEndsTheCall(t *testing.T) {
	l, update := refreshing(t)
	o := l.Response(start.Add(901*time.Second), answerTo(t, update, 481, "theirs", ""))
	if len(o.Send) != 0 || !reflect.DeepEqual(o.Events, []Event{Ended{"timeout", 481}}) {
		t.Errorf("%s", show(o))
	}
}

func TestReinviteWithoutOfferGetsOneAndItsAnswerCounts(t *testing.T) {
	l := talking(t)
	o := l.Request(start, mustRequest(t, within("INVITE", 2)), edgeFlow)
	if res := only(t, o); res.Code != 100 || !reflect.DeepEqual(o.Events, []Event{Reoffer{}}) {
		t.Fatalf("%s", show(o))
	}
	if res := only(t, l.AnswerOffer(start, 200, []byte("offer2"))); res.Code != 200 || string(res.SDP()) != "offer2" {
		t.Fatalf("%s", res.Raw())
	}
	o = l.Request(start, mustRequest(t, withBody(within("ACK", 2), "application/sdp", "moved")), edgeFlow)
	if !reflect.DeepEqual(o.Events, []Event{Renegotiated{SDP: []byte("moved")}}) || string(l.RemoteSDP()) != "moved" {
		t.Errorf("%s", show(o))
	}
}

func TestReinviteIsRefusedWhileTheFirstAnswerIsUnacknowledged(t *testing.T) {
	l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, invite()), edgeFlow)
	l.Accept(start, []byte("answer"))
	if res := only(t, l.Request(start, mustRequest(t, within("INVITE", 2)), edgeFlow)); res.Code != 491 {
		t.Errorf("%d", res.Code)
	}
}

// An edge took the INVITE but passes it on after the router has given it up and
// gone on to another contact.
func TestWhoRingsTooLateIsCancelled(t *testing.T) {
	late := func(code int, want ...string) {
		t.Helper()
		p := agentParams()
		p.AnswerIn = 2 * time.Second
		l, o := NewClientLeg(start, routerLocal(), p)
		invite := o.Send[0]
		o = l.Tick(start.Add(2 * time.Second))
		if len(o.Events) != 1 || o.Events[0].(Failed).Code != 408 {
			t.Fatalf("%s", show(o))
		}
		o = l.Response(start.Add(3*time.Second), answerTo(t, invite, code, "theirs", "answer", Header{"Contact", "<sip:a@192.0.2.1>"}))
		var got []string
		for _, p := range o.Send {
			got = append(got, mustRequest(t, p.Data).Method)
		}
		if !reflect.DeepEqual(got, want) || len(o.Events) > 0 || o.Commit {
			t.Errorf("after a late %d it does %s", code, show(o))
		}
		for range 8 {
			if at, ok := l.Deadline(); ok {
				l.Tick(at)
			}
		}
		if !l.Done() {
			t.Errorf("after a late %d the leg stays", code)
		}
	}
	late(180, "CANCEL")
	late(200, "ACK", "BYE")
	late(486, "ACK")
}

// The edge that carried the INVITE is gone, another one gets the CANCEL.
func TestAPhoneThatNoCancelReachesGetsABye(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	ring := answerTo(t, o.Send[0], 180, "theirs", "", Header{"Contact", "<sip:a@192.0.2.1>"}, Header{"Record-Route", "<sip:192.0.2.9;lr>"})
	l.Response(start, ring)
	o = l.Cancel(start)
	o = l.Response(start, answerTo(t, o.Send[0], 481, "", ""))
	if len(o.Send) != 1 || !o.Commit || len(o.Events) > 0 {
		t.Fatalf("%s", show(o))
	}
	bye := mustRequest(t, o.Send[0].Data)
	if bye.Method != "BYE" || bye.ToTag() != "theirs" || bye.URI != "sip:a@192.0.2.1" || bye.Get("Route") != "<sip:192.0.2.9;lr>" {
		t.Errorf("%s", bye.Raw())
	}
	o = l.Response(start, answerTo(t, o.Send[0], 200, "theirs", ""))
	if f, ok := o.Events[0].(Failed); !ok || f.Code != 487 || l.State() != Terminated {
		t.Errorf("%s", show(o))
	}
}
