package sip

import (
	"bytes"
	"testing"
	"time"
)

// An edge takes the first router for dead and brings a re-INVITE again under
// another branch: it is the same request, and its answer goes by the last way.
func TestAReinviteByAnotherWayIsAnsweredThere(t *testing.T) {
	w := newWire(t)
	for _, c := range []string{"invite sdp=offer", "accept sdp=answer", "hold", "reinvite uac sdp=offer2"} {
		w.command(c)
		if !w.held {
			w.deliver(len(w.flying))
		}
	}
	sent := w.flying[0].p.Data
	flow := Flow{Network: "tcp", Remote: "10.0.1.1:5060", Local: "10.0.2.1:5060"}
	bring := func(branch string) Output {
		data := bytes.Replace(sent, []byte("branch="), []byte("branch="+branch), 1)
		msg, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		return w.uas.leg.Request(w.now, msg.(*Request), flow)
	}
	if o := bring("z9hG4bKfirst"); !o.Commit || len(o.Events) != 1 || len(o.Send) != 1 {
		t.Fatalf("the re-INVITE: %s; want a commit, the offer and 100", show(o))
	}
	o := bring("z9hG4bKsecond")
	if !o.Commit || len(o.Events) != 0 || len(o.Send) != 1 || !bytes.Contains(o.Send[0].Data, []byte("z9hG4bKsecond")) {
		t.Errorf("brought again: %s; want a commit and 100 on the second branch, no event", show(o))
	}
	o = w.uas.leg.AnswerOffer(w.now.Add(time.Second), 488, nil)
	if len(o.Send) != 1 || !bytes.Contains(o.Send[0].Data, []byte("z9hG4bKsecond")) {
		t.Errorf("the refusal: %s; want it on the second branch", show(o))
	}
}

// The answer to a key went to the node that died: that says nothing about the
// far end, and the next keys go out.
func TestAKeyWhoseAnswerIsLostStopsNoOther(t *testing.T) {
	l := talking(t)
	informsWith(t, l, key(1, '1'))
	l = rebuild(t, l)
	l.Resume(start, routerLocal())
	informsWith(t, l, key(1, '1'))
	var o Output
	for l.informs != nil {
		d, _ := l.Deadline()
		o = l.Tick(d)
	}
	wantInformed(t, o, 1, 408)
	informsWith(t, l, key(2, '2'))
}
