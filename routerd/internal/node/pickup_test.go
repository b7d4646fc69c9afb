package node

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// replacing is ann's INVITE for the dialog of a leg, as its far end sees it.
func (b *callBench) replacing(leg *sip.Leg, callID string, cseq int, auth, more string) *sip.Request {
	b.Helper()
	tag := leg.RemoteTag()
	if tag == "" {
		tag = "theirs" // an early one
	}
	req := b.phoneInvite("pickup", callID, cseq, auth)
	head := fmt.Sprintf("\r\nReplaces: %s;to-tag=%s;from-tag=%s%s\r\nMax-Forwards:", leg.CallID(), leg.LocalTag(), tag, more)
	msg, err := sip.Parse([]byte(strings.Replace(string(req.Raw()), "\r\nMax-Forwards:", head, 1)))
	if err != nil {
		b.Fatal(err)
	}
	return msg.(*sip.Request)
}

// TestARingingCallIsPickedUp: bob's phone rings, ann proves who she is and has the
// call; her BYE, which names a dialog of her own, finds it.
func TestARingingCallIsPickedUp(t *testing.T) {
	b := newCallBench(t)
	b.authentic()
	conf := acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, Queues: []acd.Queue{{ID: "sales", Music: "music", PickUp: acd.PickUpRinging}},
		Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}},
	}
	for _, id := range []acd.AgentID{"ann", "bob"} {
		conf.Agents = append(conf.Agents, acd.Agent{ID: id, Queues: []acd.QueueID{"sales"}})
	}
	b.apply(acd.ConfigApplied{Config: conf})
	b.apply(acd.RegistrationChanged{Agent: "bob", Contact: acd.Contact{URI: "sip:bob@192.0.2.1", SIPID: "bob", CSeq: 1}, Expires: 1e12})
	b.apply(acd.AgentStatusSet{Agent: "bob", Status: acd.Available})
	c, _ := b.log.machine.Call(b.a.call)
	bob := c.Legs[1]
	b.give(40, acd.RingAgent{Leg: bob.ID, Agent: "bob", Contacts: bob.Contacts, From: c.From, To: c.To})
	b.answer(180, "")
	b.told = len(b.log.since(0))
	flow := sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"}
	ringing := b.a.legs[bob.ID]

	b.n.opens(b.replacing(ringing, "pick@phone", 1, "", ""), flow)
	challenge := b.lastResponse().Get("WWW-Authenticate")
	auth := func() string { return digestAnswer(challenge, "ann", "pw", "INVITE", "sip:pickup@trunkline") }
	if challenge == "" || b.work() != 0 {
		t.Fatal("nobody was asked who it is")
	}
	other, _ := sip.NewClientLeg(1, b.n.local(b.a.call, "x"), sip.ClientParams{CallID: "other@phone", Branch: "z9hG4bKo", URI: "sip:x@y", From: "<sip:a@b>", To: "<sip:c@d>"})
	b.n.opens(b.replacing(other, "pick@phone", 2, auth(), ""), flow)
	if code := b.lastResponse().Code; code != 481 {
		t.Fatalf("a dialog nobody has is answered %d", code)
	}
	b.n.opens(b.replacing(ringing, "pick@phone", 3, auth(), ";early-only"), flow)
	b.n.opens(b.replacing(ringing, "pick@phone", 3, auth(), ";early-only"), flow) // brought twice
	if b.work() != 2 {
		t.Fatal("the INVITE did not come to the actor of the call")
	}
	b.want("acd.CallPickedUp")
	if code := b.lastResponse().Code; code != 100 {
		t.Fatalf("answered %d, want 100 until the leg is answered", code)
	}
	b.give(50, acd.AnswerCall{Leg: "3"})
	b.want("acd.CallPickedUp", "answered 3 at 127.0.0.9")
	c, _ = b.log.machine.Call(b.a.call)
	if code := b.lastResponse().Code; code != 200 || c.AgentLeg != "3" || c.Agent != "ann" || len(b.worker.all(mediaapi.LegAccept)) != 1 {
		t.Fatalf("answered %d: %+v", code, c)
	}
	b.give(51, acd.CancelRing{Leg: bob.ID})
	if _, cancel := b.newest("CANCEL"); !strings.Contains(cancel.Get("Reason"), "elsewhere") {
		t.Errorf("bob's phone shows a missed call: %s", cancel.Raw())
	}
	mine := b.a.legs["3"]
	b.a.handle(b.from("3", "ACK", 3))
	bye := b.from("3", "BYE", 4)
	if root := b.n.rootOf(b.n.callOf(bye.msg)); root != b.a.call {
		t.Errorf("the BYE of %s leads to call %q", mine.CallID(), root)
	}
	b.n.route(bye.msg, flow)
	b.work()
	b.want("acd.CallPickedUp", "answered 3 at 127.0.0.9", "ended 3 bye")
}

// TestACarrierPicksNothingUp: a trunk's INVITE with Replaces is refused, whatever it
// names.
func TestACarrierPicksNothingUp(t *testing.T) {
	b := newCallBench(t)
	ann := b.a.legs[b.staffed(acd.Permit{})]
	b.authentic()
	f := func(leg *sip.Leg, want int) {
		t.Helper()
		req := b.replacing(leg, "theirs@sbc", 1, "", "")
		msg, err := sip.Parse([]byte(strings.Replace(string(req.Raw()), "\r\nMax-Forwards:", "\r\nX-Trunkline-Trunk: sbc-a\r\nMax-Forwards:", 1)))
		if err != nil {
			t.Fatal(err)
		}
		b.n.opens(msg.(*sip.Request), sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062"})
		if code := b.lastResponse().Code; code != want || b.work() != 0 {
			t.Errorf("answered %d, want %d", code, want)
		}
	}
	f(ann, 403)
	unknown, _ := sip.NewClientLeg(1, b.n.local("x", "x"), sip.ClientParams{CallID: "other@phone", Branch: "z9hG4bKo", URI: "sip:x@y", From: "<sip:a@b>", To: "<sip:c@d>"})
	f(unknown, 481)
}
