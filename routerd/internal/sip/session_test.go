package sip

import (
	"reflect"
	"testing"
	"time"
)

// asking is routerLocal with a session interval of its own.
func asking(d time.Duration) Local {
	l := routerLocal()
	l.SessionExpires = d
	return l
}

// called is a called leg that was answered with these headers.
func called(t *testing.T, local Local, headers ...Header) *Leg {
	t.Helper()
	l, o := NewClientLeg(start, local, agentParams())
	l.Response(start, answerTo(t, o.Send[0], 200, "theirs", "answer", append(headers, Header{"Contact", "<sip:a@192.0.2.1>"})...))
	return l
}

// TestTimerRoles: who refreshes, and after what time, for each pair of wishes
// (RFC 4028 sections 7 to 9, table 2).
func TestTimerRoles(t *testing.T) {
	asServer := func(own time.Duration, want, require string, first time.Duration, weRefresh bool, edits ...string) {
		t.Helper()
		l, _ := NewServerLeg(start, asking(own), mustRequest(t, withBody(invite(edits...), "application/sdp", "offer")), edgeFlow)
		res := only(t, l.Accept(start, []byte("answer")))
		if res.Get("Session-Expires") != want || res.Get("Require") != require {
			t.Errorf("%v %q: Session-Expires %q Require %q", own, edits, res.Get("Session-Expires"), res.Get("Require"))
		}
		if s := l.r.Session; s.Due.Sub(start) != first && s.Due != 0 || s.Refresh != weRefresh {
			t.Errorf("%v %q: due after %v, we refresh: %v", own, edits, s.Due.Sub(start), s.Refresh)
		}
	}
	asServer(30*time.Minute, "1800;refresher=uac", "timer", 1768*time.Second, false, "+Supported: timer")
	asServer(30*time.Minute, "1800;refresher=uas", "", 900*time.Second, true) // the caller knows no timer: ours alone
	asServer(30*time.Minute, "1800;refresher=uas", "timer", 900*time.Second, true, "+Supported: timer", "+Session-Expires: 7200;refresher=uas")
	asServer(30*time.Minute, "600;refresher=uac", "timer", 568*time.Second, false, "+Supported: timer", "+Session-Expires: 600;refresher=uac")
	asServer(30*time.Minute, "3600;refresher=uac", "timer", 3568*time.Second, false, "+Supported: timer", "+Session-Expires: 7200", "+Min-SE: 3600")
	asServer(0, "90;refresher=uac", "timer", 60*time.Second, false, "+Supported: timer", "+Session-Expires: 90")

	asClient := func(own, first time.Duration, weRefresh bool, headers ...Header) {
		t.Helper()
		l := called(t, asking(own), headers...)
		s := l.r.Session
		got := time.Duration(0)
		if s.Due != 0 {
			got = s.Due.Sub(start)
		}
		if got != first || s.Refresh != weRefresh {
			t.Errorf("%v %v: due after %v, we refresh: %v", own, headers, got, s.Refresh)
		}
	}
	asClient(30*time.Minute, 900*time.Second, true) // the called phone knows no timer
	asClient(30*time.Minute, 900*time.Second, true, Header{"Session-Expires", "1800;refresher=uac"})
	asClient(30*time.Minute, 568*time.Second, false, Header{"Session-Expires", "600;refresher=uas"})
	asClient(0, 0, false)
}

// TestADeadFarEndWithoutTimerIsFoundOut: it knows no timer and vanishes: our
// own refresh meets silence and ends the call within the interval.
func TestADeadFarEndWithoutTimerIsFoundOut(t *testing.T) {
	l := called(t, asking(2*time.Minute))
	var events []Event
	var bye *Request
	for range 100 {
		at, ok := l.Deadline()
		if !ok || len(events) > 0 {
			break
		}
		o := l.Tick(at)
		events = append(events, o.Events...)
		for _, p := range o.Send {
			if req := mustRequest(t, p.Data); req.Method == "BYE" {
				bye = req
			}
		}
		if at > start.Add(2*time.Minute) {
			t.Fatalf("still up after %v", at.Sub(start))
		}
	}
	if len(events) != 1 || events[0].(Ended).Cause != "expired" || bye == nil || bye.Get("Reason") != `SIP;cause=408;text="Session Timer Expired"` {
		t.Errorf("events %v", events)
	}
}

// TestRefresherChanges: a refresh of theirs may hand the role over, and one
// that no longer wants a timer leaves it to us.
func TestRefresherChanges(t *testing.T) {
	l := called(t, asking(30*time.Minute), Header{"Session-Expires", "1800;refresher=uas"})
	f := func(cseq int, want string, weRefresh bool, edits ...string) {
		t.Helper()
		edits = append(edits, "Call-ID: "+l.CallID(), "To: <sip:+4917600@trunkline.internal>;tag=ours", "From: <sip:ann@trunkline.internal>;tag=theirs")
		res := only(t, l.Request(start, mustRequest(t, within("UPDATE", cseq, edits...)), edgeFlow))
		if res.Get("Session-Expires") != want || l.r.Session.Refresh != weRefresh {
			t.Errorf("%q: %d %q, we refresh: %v", edits, res.Code, res.Get("Session-Expires"), l.r.Session.Refresh)
		}
	}
	f(2, "1800;refresher=uas", true, "+Supported: timer", "+Session-Expires: 1800;refresher=uas")
	f(3, "1800;refresher=uac", false, "+Supported: timer", "+Session-Expires: 1800;refresher=uac")
	f(4, "1800;refresher=uas", true) // no word of a timer
	o := l.Tick(l.r.Session.Due)
	if up := mustRequest(t, o.Send[0].Data); up.Method != "INVITE" || up.Get("Session-Expires") != "1800;refresher=uac" {
		t.Errorf("our refresh: %s", show(o))
	}
}

// TestRefusedRefresh: what each answer to a refresh means (RFC 5057).
func TestRefusedRefresh(t *testing.T) {
	f := func(code int, ends bool, byes int, next time.Duration, headers ...Header) {
		t.Helper()
		l, update := refreshing(t)
		now := start.Add(900 * time.Second)
		o := l.Response(now, answerTo(t, update, code, "theirs", "", headers...))
		if (len(o.Events) > 0) != ends {
			t.Errorf("%d: %s", code, show(o))
		}
		sent := 0
		for _, p := range o.Send {
			if mustRequest(t, p.Data).Method == "BYE" {
				sent++
			}
		}
		if sent != byes {
			t.Errorf("%d: %d BYEs: %s", code, sent, show(o))
		}
		if !ends && next > 0 && l.r.Session.Due.Sub(now) != next {
			t.Errorf("%d: the next refresh after %v", code, l.r.Session.Due.Sub(now))
		}
	}
	f(408, true, 1, 0)
	f(481, true, 0, 0)
	f(404, true, 1, 0)
	f(482, true, 1, 0)
	f(500, false, 0, 7*time.Second, Header{"Retry-After", "7"})
	f(503, false, 0, 450*time.Second)
	f(488, false, 0, 450*time.Second)
	f(500, false, 0, 868*time.Second, Header{"Retry-After", "86400"}) // the last call comes first
}

// TestRefreshTooSmall: a 422 to a refresh is answered by a longer one, but not
// for ever.
func TestRefreshTooSmall(t *testing.T) {
	l, p := refreshing(t)
	now := start.Add(900 * time.Second)
	for i, least := range []string{"2000", "2100", "2200"} {
		o := l.Response(now, answerTo(t, p, 422, "theirs", "", Header{"Min-SE", least}))
		if len(o.Send) != 1 {
			t.Fatalf("422 number %d: %s", i+1, show(o))
		}
		p = o.Send[0]
		req := mustRequest(t, p.Data)
		if req.Get("Session-Expires") != least+";refresher=uac" || req.Get("Min-SE") != least {
			t.Errorf("%s", req.Raw())
		}
	}
	for _, least := range []string{"2300", "2200", "x", "9999999"} {
		l := rebuild(t, l)
		if o := l.Response(now, answerTo(t, p, 422, "theirs", "", Header{"Min-SE", least})); len(o.Send) != 0 {
			t.Errorf("Min-SE %s: %s", least, show(o))
		}
	}
}

// TestFirstInviteTooSmall: the INVITE that is made again is the same call, with
// all its headers, and can be cancelled.
func TestFirstInviteTooSmall(t *testing.T) {
	l, o := NewClientLeg(start, asking(2*time.Minute), agentParams())
	o = l.Response(start, answerTo(t, o.Send[0], 422, "x", "", Header{"Min-SE", "600"}))
	if len(o.Send) != 2 || !o.Commit || len(o.Events) != 0 {
		t.Fatalf("%s", show(o))
	}
	again := mustRequest(t, o.Send[1].Data)
	if n, _ := again.CSeq(); n != 2 || again.CallID() != l.CallID() || again.Get("X-Queue") != "sales" || again.Get("Session-Expires") != "600" ||
		again.Get("Min-SE") != "600" || string(again.SDP()) != "offer" {
		t.Errorf("%s", again.Raw())
	}
	l = rebuild(t, l)
	invite := o.Send[1]
	l.Response(start, answerTo(t, invite, 180, "y", ""))
	o = l.Cancel(start)
	if c := mustRequest(t, o.Send[0].Data); c.Method != "CANCEL" || c.Branch() != again.Branch() {
		t.Errorf("%s", show(o))
	}
	o = l.Response(start, answerTo(t, invite, 487, "y", ""))
	if !reflect.DeepEqual(o.Events, []Event{Failed{Code: 487, Reason: "Request Terminated"}}) {
		t.Errorf("%s", show(o))
	}
}
