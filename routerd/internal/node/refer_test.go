package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// staffed configures ann and bob, who serve the call's queue, and connects ann
// with the caller. It returns ann's leg.
func (b *callBench) staffed(permit acd.Permit) acd.LegID {
	b.Helper()
	conf := acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10, Queues: []acd.Queue{{ID: "sales", Music: "music", Transfer: permit}},
		Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}},
	}
	for _, id := range []acd.AgentID{"ann", "bob"} {
		conf.Agents = append(conf.Agents, acd.Agent{ID: id, Queues: []acd.QueueID{"sales"}, AutoAvailable: true, Dial: permit})
	}
	b.apply(acd.ConfigApplied{Config: conf})
	for _, id := range []acd.AgentID{"ann", "bob"} {
		b.apply(acd.RegistrationChanged{Agent: id, Contact: acd.Contact{URI: "sip:" + string(id) + "@192.0.2.1", SIPID: string(id), CSeq: 1}, Expires: time.Hour})
	}
	c, _ := b.log.machine.Call(b.a.call)
	if len(c.Legs) != 2 {
		b.Fatalf("the call is not offered to ann: %+v", c.Legs)
	}
	ann := c.Legs[1]
	b.give(40, acd.RingAgent{Leg: ann.ID, Agent: "ann", Contacts: ann.Contacts, From: c.From, To: c.To})
	b.answer(200, offerSDP)
	if c, _ = b.log.machine.Call(b.a.call); c.AgentLeg != ann.ID {
		b.Fatalf("ann does not talk: %+v", c)
	}
	b.told = len(b.log.since(0))
	return ann.ID
}

// from is a request within the dialog of a called leg, sent by its far end.
func (b *callBench) from(leg acd.LegID, method string, cseq int, headers ...string) arrival {
	b.Helper()
	l := b.a.legs[leg]
	text := fmt.Sprintf(`
%s sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bK%s%d
Max-Forwards: 70
From: <sip:far@x>;tag=%s
To: <sip:us@y>;tag=%s
Call-ID: %s
CSeq: %d %s
Contact: <sip:far@127.0.0.4>
`, method, method, cseq, l.RemoteTag(), l.LocalTag(), l.CallID(), cseq, method)
	for _, h := range headers {
		text += h + "\n"
	}
	return arrival{msg: parse(b.T, text+"Content-Length: 0\n\n")}
}

// frags are what NOTIFYs told, in order, "*" where the subscription ends.
func (b *callBench) frags() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.sent {
		msg, _ := sip.Parse(p.Data)
		if req, ok := msg.(*sip.Request); ok && req.Method == "NOTIFY" {
			frag := strings.Fields(string(req.Body()))[1]
			if strings.HasPrefix(req.Get("Subscription-State"), "terminated") {
				frag += "*"
			}
			out = append(out, frag)
		}
	}
	return out
}

func (b *callBench) wantFrags(want ...string) {
	b.Helper()
	if got := b.frags(); strings.Join(got, " ") != strings.Join(want, " ") {
		b.Errorf("told %q, want %q", got, want)
	}
}

// codes are the answers sent to requests of the method.
func (b *callBench) codes(method string) (out []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.sent {
		msg, _ := sip.Parse(p.Data)
		if res, ok := msg.(*sip.Response); ok {
			if _, m := res.CSeq(); m == method {
				out = append(out, res.Code)
			}
		}
	}
	return out
}

// TestReferIsCommittedOnceAndToldByTheNextOwner: the transfer is in the log before
// 202; a router that takes over answers the repeat, begins no second transfer and
// tells how the first one ended.
func TestReferIsCommittedOnceAndToldByTheNextOwner(t *testing.T) {
	b := newCallBench(t)
	ann := b.staffed(acd.Permit{Agents: true})
	b.a.handle(b.from(ann, "REFER", 2, "Refer-To: <sip:bob@trunkline>", "Subject: contract"))
	b.want("acd.CallReferred")
	if got := b.codes("REFER"); len(got) != 1 || got[0] != 202 {
		t.Fatalf("REFER is answered %v", got)
	}
	b.wantFrags("100")
	c, _ := b.log.machine.Call(b.a.call)
	if !c.Referral.Running() || c.Referral.To.Agent != "bob" {
		t.Fatalf("the machine has %+v", c.Referral)
	}
	b.give(41, acd.TellProgress{Leg: ann, Code: 180})

	repeat := b.from(ann, "REFER", 2, "Refer-To: <sip:bob@trunkline>", "Subject: contract")
	b.a = &actor{n: b.n, call: b.a.call, box: newMailbox()}
	b.a.takeUp()
	b.a.handle(repeat)
	b.want("acd.CallReferred")
	if got := b.codes("REFER"); len(got) != 2 || got[1] != 202 {
		t.Fatalf("REFER and its repeat are answered %v", got)
	}
	bob := c.Legs[len(c.Legs)-1]
	b.apply(acd.LegFailed{OnCall: b.a.head(), Leg: bob.ID, Code: 486})
	b.a = &actor{n: b.n, call: b.a.call, box: newMailbox()} // and this one dies before it tells
	b.a.takeUp()
	frags := b.frags()
	if last := frags[len(frags)-1]; last != "486*" {
		t.Errorf("told %v", frags)
	}
	before := len(frags)
	b.give(42, acd.TellProgress{Leg: ann, Code: 486})
	if len(b.frags()) != before {
		t.Errorf("told twice: %v", b.frags())
	}
}

// TestRefusedTransferIsTheLastNotify: what the machine does not permit.
func TestRefusedTransferIsTheLastNotify(t *testing.T) {
	b := newCallBench(t)
	ann := b.staffed(acd.Permit{})
	b.a.handle(b.from(ann, "REFER", 2, "Refer-To: <sip:bob@trunkline>"))
	b.wantFrags("100", "403*")
	b.a.handle(b.from(ann, "REFER", 3, "Refer-To: <sip:nobody@trunkline>"))
	b.wantFrags("100", "403*", "100", "404*")
	if c, _ := b.log.machine.Call(b.a.call); c.State != acd.CallTalking {
		t.Errorf("the call is %s", c.State)
	}
}

// TestACustomerDoesNotTransfer: a REFER on the caller's leg is refused and reaches
// no log.
func TestACustomerDoesNotTransfer(t *testing.T) {
	b := newCallBench(t)
	b.staffed(acd.Permit{Agents: true})
	b.a.handle(b.from(acd.CallerLeg, "REFER", 2, "Refer-To: <sip:bob@trunkline>"))
	b.want()
	if got := b.codes("REFER"); len(got) != 1 || got[0] != 403 {
		t.Errorf("answered %v", got)
	}
}
