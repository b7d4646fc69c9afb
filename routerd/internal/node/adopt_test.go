package node

import (
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// rangByTheDead has bob's phone ring under a life of the router that is over, and the
// next life take the call up, from another address. It returns the old leg's and the
// new leg's orders.
func (b *callBench) rangByTheDead() (cancel acd.CancelRing, ring acd.RingAgent) {
	b.Helper()
	conf := acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, Queues: []acd.Queue{{ID: "sales", Music: "music"}},
		Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}}, Agents: []acd.Agent{{ID: "bob", Queues: []acd.QueueID{"sales"}, AutoAvailable: true}},
	}
	b.apply(acd.ConfigApplied{Config: conf})
	b.apply(acd.RegistrationChanged{Agent: "bob", Contact: acd.Contact{URI: "sip:bob@192.0.2.1", SIPID: "bob", CSeq: 1}, Expires: 1e12})
	c, _ := b.log.machine.Call(b.a.call)
	old := c.Legs[1]
	b.give(40, acd.RingAgent{Leg: old.ID, Agent: "bob", Contacts: old.Contacts, From: c.From, To: c.To})
	b.answer(180, "")
	b.a.report(old.ID, updated)
	b.apply(acd.NodeDied{Owner: b.r2})
	life := b.apply(acd.NodeStarted{Node: "r1", SIP: "127.0.0.8:5060"})
	b.n.incarnation.Store(life.Incarnation)
	b.r1.Incarnation = life.Incarnation
	b.n.conf.SIP.Listen = []string{"127.0.0.8:5060"}
	b.a = &actor{n: b.n, call: b.a.call, box: newMailbox()}
	b.a.takeUp()
	b.sent = nil
	c, _ = b.log.machine.Call(b.a.call)
	next := c.Legs[2]
	b.told = len(b.log.since(0))
	return acd.CancelRing{Leg: old.ID}, acd.RingAgent{Leg: next.ID, Agent: "bob", Contacts: next.Contacts, From: c.From, To: c.To}
}

// TestAnAnsweredPhoneIsNotRungAnew: its new INVITE waits for what the phone says, and
// is never sent.
func TestAnAnsweredPhoneIsNotRungAnew(t *testing.T) {
	b := newCallBench(t)
	cancel, ring := b.rangByTheDead()
	b.give(60, cancel)
	b.give(61, ring)
	if _, again := b.newest("INVITE"); again.ToTag() == "" || len(b.worker.all(mediaapi.LegOffer)) != 1 {
		t.Fatalf("the phone rings anew: %s", again.Raw())
	}
	b.answer(200, offerSDP)
	c, _ := b.log.machine.Call(b.a.call)
	if c.AgentLeg != cancel.Leg || c.Agent != "bob" {
		t.Fatalf("bob has answered: %+v", c)
	}
	b.give(62, acd.CancelRing{Leg: ring.Leg})
	b.want("answered 2 at 127.0.0.9", "failed 3 487")
	for _, p := range b.sent {
		if s := string(p.Data); len(s) > 4 && s[:4] == "BYE " || len(s) > 7 && s[:7] == "CANCEL " {
			t.Errorf("sent %s", s)
		}
	}
}

// TestAPhoneThatRangIsRungAnew: once it has said that it rings.
func TestAPhoneThatRangIsRungAnew(t *testing.T) {
	b := newCallBench(t)
	cancel, ring := b.rangByTheDead()
	b.give(60, cancel)
	b.give(61, ring)
	b.answer(500, "")
	b.newest("CANCEL")
	b.newest("BYE")
	if _, inv := b.newest("INVITE"); inv.ToTag() != "" || len(b.worker.all(mediaapi.LegOffer)) != 2 {
		t.Errorf("the phone is not rung anew: %s", inv.Raw())
	}
	// An order that is taken back while it waits is not carried out after all.
	b = newCallBench(t)
	cancel, ring = b.rangByTheDead()
	b.give(60, cancel)
	b.give(61, ring)
	b.give(62, acd.CancelRing{Leg: ring.Leg})
	b.answer(500, "")
	if n := len(b.worker.all(mediaapi.LegOffer)); n != 1 {
		t.Errorf("rung %d times", n)
	}
}
