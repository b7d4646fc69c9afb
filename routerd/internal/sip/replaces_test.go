package sip

import "testing"

// TestReplacesIsReadStrictly: one header, in an INVITE, without Join (RFC 3891
// section 3).
func TestReplacesIsReadStrictly(t *testing.T) {
	f := func(want string, edits ...string) {
		t.Helper()
		req := mustRequest(t, invite(edits...))
		r, refused := req.Replaces()
		got := "none"
		switch {
		case refused != nil:
			got = refused.Reason
		case r != nil:
			got = r.CallID + " " + r.ToTag + " " + r.FromTag
			if r.EarlyOnly {
				got += " early"
			}
		}
		if whole := Validate(req, Policy{}); got != want || (refused == nil) != (whole == nil) {
			t.Errorf("%q: %s, want %s; validated: %v", edits, got, want, whole)
		}
	}
	f("none")
	f("c1@host 1 2", "+Replaces: c1@host;to-tag=1;from-tag=2", "+Require: replaces")
	f("c1@host 1 2 early", "+replaces: c1@host ; from-tag=2;early-only;to-tag=1;x=y")
	f(badReplaces.Reason, "+Replaces: c1@host;to-tag=1")
	f(badReplaces.Reason, "+Replaces: c1@host;to-tag=1;from-tag=2", "+Replaces: c2@host;to-tag=1;from-tag=2")
	f(badReplaces.Reason, "+Replaces: c1@host;to-tag=1;from-tag=2", "+Join: c2@host;to-tag=1;from-tag=2")
	f(badReplaces.Reason, "+Replaces: ")
}

// TestReplacesNamesEarlyDialogsOfOurs: each fork of an INVITE of ours until one is
// answered, then that one alone.
func TestReplacesNamesEarlyDialogsOfOurs(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	f := func(far string, want bool) {
		t.Helper()
		l = rebuild(t, l)
		if got := (Replaces{CallID: l.CallID(), ToTag: l.LocalTag(), FromTag: far}).Is(l); got != want {
			t.Errorf("%q is named: %v", far, got)
		}
	}
	f("a", false)
	ringing(t, l, inv, 180, "a", "", 0)
	ringing(t, l, inv, 180, "b", "", 0)
	f("a", true)
	f("b", true)
	f("c", false)
	l.Response(start, answerTo(t, inv, 200, "b", "sdp"))
	f("a", false)
	f("b", true)
}
