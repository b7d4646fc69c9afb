package sip

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// takenOver is a leg that rings, at another node than the one that rang it.
func takenOver(t *testing.T) (*Leg, Local) {
	t.Helper()
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	ringing(t, l, o.Send[0], 180, "phone", "", 0)
	heir := routerLocal()
	heir.SentBy = "127.0.0.3:5060"
	l = rebuild(t, l)
	if o := l.Resume(start, heir); len(o.Send) != 0 {
		t.Fatalf("a ringing leg is not left alone: %s", show(o))
	}
	return l, heir
}

// adopting has the heir ask; it returns the re-INVITE.
func adopting(t *testing.T, l *Leg) Packet {
	t.Helper()
	o, asked := l.Adopt(start)
	if got := methods(t, o); !asked || !o.Commit || !l.Adopting() || !reflect.DeepEqual(got, []string{"ACK phone", "INVITE phone"}) {
		t.Fatalf("asked with %v", got)
	}
	ack, again := mustRequest(t, o.Send[0].Data), mustRequest(t, o.Send[1].Data)
	if ack.Get("CSeq") != "1 ACK" || ack.URI != again.URI || again.URI != "sip:phone@192.0.2.1" || again.Get("Route") != "<sip:phone.edge;lr>" || !bytes.Equal(again.SDP(), []byte("offer")) {
		t.Errorf("%s%s", ack.Raw(), again.Raw())
	}
	return o.Send[1]
}

// TestAnAnswerNobodyHeardIsFound: the phone's description comes in the answer to the
// re-INVITE, and the leg is as if its 2xx had been heard; so it is for the next heir.
func TestAnAnswerNobodyHeardIsFound(t *testing.T) {
	l, heir := takenOver(t)
	adopting(t, l)
	l = rebuild(t, l) // and that one dies too
	l.Resume(start, heir)
	again := adopting(t, l)
	if o := l.Response(start, answerTo(t, again, 100, "", "")); len(o.Send)+len(o.Events) != 0 {
		t.Errorf("100: %s", show(o))
	}
	o := l.Response(start, answerTo(t, again, 200, "phone", "sdp", Header{"Contact", "<sip:phone@192.0.2.2>"}))
	if got := methods(t, o); !o.Commit || !reflect.DeepEqual(got, []string{"ACK phone"}) || !reflect.DeepEqual(o.Events, []Event{Answered{SDP: []byte("sdp")}}) {
		t.Fatalf("answered: %s", show(o))
	}
	l = rebuild(t, l)
	if l.State() != Confirmed || l.Adopting() || l.RemoteTag() != "phone" || string(l.RemoteSDP()) != "sdp" {
		t.Errorf("the leg is %s with %q", l.State(), l.RemoteSDP())
	}
	if o := l.Response(start, answerTo(t, again, 200, "phone", "sdp")); !reflect.DeepEqual(methods(t, o), []string{"ACK phone"}) {
		t.Errorf("the 200 repeated: %s", show(o))
	}
	bye := mustRequest(t, l.Bye(start).Send[0].Data)
	if bye.URI != "sip:phone@192.0.2.2" || bye.ToTag() != "phone" {
		t.Errorf("%s", bye.Raw())
	}
}

// TestAPhoneThatRingsIsCancelled: it says so, knows nothing any more, or says nothing.
func TestAPhoneThatRingsIsCancelled(t *testing.T) {
	f := func(code int, sends ...string) {
		t.Helper()
		l, _ := takenOver(t)
		again := adopting(t, l)
		var o Output
		if code > 0 {
			o = l.Response(start, answerTo(t, again, code, "phone", ""))
		} else {
			at, _ := l.Deadline()
			if o = l.Tick(at); at.Sub(start) != time.Second {
				t.Errorf("given up after %v", at.Sub(start))
			}
		}
		if got := methods(t, o); !o.Commit || !reflect.DeepEqual(got, sends) {
			t.Errorf("%d: %v, want %v", code, got, sends)
		}
		cancel := mustRequest(t, o.Send[len(o.Send)-2].Data)
		if cancel.Branch() != NewBranch("77", "0") || cancel.Get("CSeq") != "1 CANCEL" {
			t.Errorf("%s", cancel.Raw())
		}
		o = l.Response(start, answerTo(t, o.Send[len(o.Send)-1], 200, "phone", ""))
		if !reflect.DeepEqual(o.Events, []Event{cancelledBlind}) {
			t.Errorf("%d: ends with %s", code, show(o))
		}
	}
	f(500, "ACK phone", "CANCEL ", "BYE phone")
	f(481, "ACK phone", "CANCEL ", "BYE phone")
	f(0, "CANCEL ", "BYE phone")
}

// TestOnlyADeadNodesOneDialogIsAsked: else the answer comes by itself, or nobody
// knows whom to ask.
func TestOnlyADeadNodesOneDialogIsAsked(t *testing.T) {
	own, o := NewClientLeg(start, routerLocal(), agentParams())
	ringing(t, own, o.Send[0], 180, "phone", "", 0)
	forked, heir := takenOver(t)
	ringing(t, forked, o.Send[0], 180, "other", "", 0)
	silent, _ := NewClientLeg(start, routerLocal(), agentParams())
	silent.Resume(start, heir)
	cancelled, _ := takenOver(t)
	cancelled.Cancel(start)
	for name, l := range map[string]*Leg{"our own": own, "forked": forked, "silent": silent, "cancelled": cancelled, "a caller's": talking(t)} {
		if out, asked := l.Adopt(start); asked || len(out.Send) > 0 {
			t.Errorf("%s leg is asked: %s", name, show(out))
		}
	}
}
