package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/sip"
)

// bench is a node's machine and log without sockets, and two routers on it.
type bench struct {
	*testing.T
	log    *memoryLog
	n      *Node
	r1, r2 acd.Owner
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, log: &memoryLog{machine: acd.New()}}
	b.n = &Node{id: "r1", life: t.Context(), machine: b.log.machine, log: slog.New(slog.DiscardHandler),
		applied: math.MaxUint64, // the log applies to this very machine
		conf:    &config.Config{Node: "r1", ClusterHost: "trunkline.internal", SIP: config.SIP{Listen: []string{"127.0.0.1:5060"}}}}
	b.log.state = &b.n.stateMu
	b.n.workers = newWorkers(nil, b.n.log, nil, nil, nil)
	b.n.proposer = newProposer("r1/test")
	b.n.proposer.log = b.log
	b.apply(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10,
		Queues: []acd.Queue{{ID: "sales", Music: "music"}}, Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}},
	}})
	b.r1 = acd.Owner{Node: "r1", Incarnation: b.apply(acd.NodeStarted{Node: "r1"}).Incarnation}
	b.r2 = acd.Owner{Node: "r2", Incarnation: b.apply(acd.NodeStarted{Node: "r2"}).Incarnation}
	b.apply(acd.WorkerStarted{Worker: "m1", Incarnation: 1, Addresses: []string{"127.0.0.9"}})
	b.n.incarnation.Store(b.r1.Incarnation)
	return b
}

func (b *bench) apply(body acd.Body) acd.Result {
	b.Helper()
	res, _, err := b.n.proposer.propose(b.Context(), body)
	if err != nil {
		b.Fatal(err)
	}
	return res
}

// invited is a caller's leg, and its call in the log, owned by r1.
func (b *bench) invited() (acd.CallID, *sip.Leg, uint64) {
	b.Helper()
	msg := parse(b.T, `
INVITE sip:+74950000001@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bK1
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>
Call-ID: abc@sbc
CSeq: 1 INVITE
Contact: <sip:+7495@127.0.0.3:5060>
X-Trunkline-Trunk: sbc-a
Content-Type: application/sdp
Content-Length: 3

v=0`)
	call := b.n.callOf(msg)
	leg, _ := sip.NewServerLeg(1, b.n.local(call, "tag"), msg.(*sip.Request), sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"})
	res := b.apply(acd.CallArrived{OnCall: acd.OnCall{Call: call, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record(b.T, leg)}}},
		Owner: b.r1, Trunk: "sbc-a", From: "+7495", To: "+74950000001", SIPID: "abc@sbc"})
	if res.Code != 0 || !res.Applied {
		b.Fatalf("call not taken: %+v", res)
	}
	return call, leg, res.Epoch
}

func record(t *testing.T, leg *sip.Leg) []byte {
	t.Helper()
	rec, err := leg.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// A router that has just started may not know yet what it will know when its
// log is replayed: it sends nobody away for good.
func TestAStartingRouterCallsNothingUnknown(t *testing.T) {
	b := newBench(t)
	var codes []string
	b.n.sendPacket = func(p sip.Packet, _ func(error)) { codes = append(codes, string(p.Data[8:11])) }
	bye := parse(t, `
BYE sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bK2
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=ours
Call-ID: nobody@sbc
CSeq: 2 BYE
Content-Length: 0

`)
	flow := sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"}
	b.n.incarnation.Store(0)
	b.n.receive(bye, flow)
	b.n.incarnation.Store(b.r1.Incarnation)
	b.n.receive(bye, flow)
	if len(codes) != 2 || codes[0] != "503" || codes[1] != "481" {
		t.Errorf("answered %v: want 503 while starting and 481 after", codes)
	}
}

// A router lost a call, another one answered it and died, and the call comes
// back: the first router goes on from the log, not from what it remembers.
func TestACallThatComesBackIsTakenUpFromTheLog(t *testing.T) {
	b := newBench(t)
	call, leg, epoch := b.invited()
	a := &actor{n: b.n, call: call, box: newMailbox()}
	a.takeUp()
	if a.epoch != epoch || a.legs[acd.CallerLeg].State() != sip.Pending {
		t.Fatalf("epoch %d, legs %v: want the arriving call at %d", a.epoch, a.legs, epoch)
	}
	claim := b.apply(acd.CallClaimed{OnCall: acd.OnCall{Call: call, Epoch: epoch}, Owner: b.r2})
	leg.Accept(2, []byte("v=0\r\n"))
	answered := record(t, leg)
	b.apply(acd.LegAnswered{OnCall: acd.OnCall{Call: call, Epoch: claim.Epoch, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: answered}}},
		Leg: acd.CallerLeg, Media: acd.Media{Address: "127.0.0.9", Codec: "PCMA"}})

	// What r1 still does for the call commits nothing and silences it.
	if a.report(acd.CallerLeg, updated) || !a.stale {
		t.Error("an actor of an old epoch could commit")
	}
	b.apply(acd.NodeDied{Owner: b.r2})
	owner, back, _ := b.log.machine.OwnerOf(call)
	if owner != b.r1 || back <= claim.Epoch {
		t.Fatalf("call is at %v, epoch %d: want it back at r1", owner, back)
	}
	var sent []sip.Packet
	a.n.sendPacket = func(p sip.Packet, _ func(error)) { sent = append(sent, p) }
	a.handle(acd.Effect{ID: acd.EffectID{Index: back}, Call: call, Owner: b.r1, Epoch: back, Order: acd.Resume{}})
	if a.stale || a.epoch != back {
		t.Errorf("stale %t, epoch %d: want the call at epoch %d", a.stale, a.epoch, back)
	}
	if s := a.legs[acd.CallerLeg].State(); s != sip.Accepted {
		t.Errorf("leg is %v: want the other router's record, accepted", s)
	}
	if len(sent) != 1 || !bytes.HasPrefix(sent[0].Data, []byte("SIP/2.0 200 ")) {
		t.Errorf("sent %d packets, want the 200 once more until its ACK comes", len(sent))
	}
}

// The caller hangs up while a prompt is being ordered: the order that comes to
// nothing must not end the actor, which still answers the repeated BYE. A call
// that another router closed is somebody else's.
func TestAnOrderBehindTheEndOfACallEndsNothing(t *testing.T) {
	bye := `
BYE sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKbye
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: abc@sbc
CSeq: 2 BYE
Content-Length: 0

`
	b := newCallBench(t)
	answered := func() (n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.sent {
			if bytes.HasPrefix(p.Data, []byte("SIP/2.0 200 ")) {
				n++
			}
		}
		return n
	}
	b.a.receive(arrival{msg: parse(t, bye)})
	if _, open := b.log.machine.Call(b.a.call); open || answered() != 1 {
		t.Fatalf("after the BYE the call is open: %t, answered %d times", open, answered())
	}
	b.a.report(acd.CallerLeg, updated) // as what comes of an order does
	b.a.receive(arrival{msg: parse(t, bye)})
	if b.a.stale || answered() != 2 {
		t.Errorf("stale %t, BYE answered %d times, want twice", b.a.stale, answered())
	}

	b = newCallBench(t)
	claim := b.apply(acd.CallClaimed{OnCall: acd.OnCall{Call: b.a.call, Epoch: b.a.epoch}, Owner: b.r2})
	b.apply(acd.LegEnded{OnCall: acd.OnCall{Call: b.a.call, Epoch: claim.Epoch}, Leg: acd.CallerLeg, Cause: "bye"})
	if b.a.report(acd.CallerLeg, updated) || !b.a.stale {
		t.Error("an actor whose call another router has closed goes on")
	}
}

// A router was stopped and wakes to a request that needs no commit: it asks the
// log first, and is silent if the call has another owner by then.
func TestAWokenRouterIsSilent(t *testing.T) {
	options := `
OPTIONS sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKoptions
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: abc@sbc
CSeq: 2 OPTIONS
Content-Length: 0

`
	b := newCallBench(t)
	sent := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.sent)
	}
	before := sent()
	b.a.proved = time.Now().Add(-time.Minute)
	b.a.receive(arrival{msg: parse(t, options)})
	if sent() != before+1 || time.Since(b.a.proved) > fence {
		t.Errorf("the owner's answer: %d packets, the log was asked %s ago: want one packet, just now", sent()-before, time.Since(b.a.proved))
	}
	b.apply(acd.CallClaimed{OnCall: acd.OnCall{Call: b.a.call, Epoch: b.a.epoch}, Owner: b.r2})
	b.a.proved = time.Now().Add(-time.Minute)
	b.a.receive(arrival{msg: parse(t, options)}) // again: answered from the record
	if sent() != before+1 || !b.a.stale {
		t.Errorf("%d packets from a router whose call another one has, stale %t: want none", sent()-before-1, b.a.stale)
	}
}

// A router dies between the commit of a BYE and its answer: whoever gets the
// repeat says 200, while the call has another leg to end and after.
func TestARepeatedByeIsToldThatAllIsOver(t *testing.T) {
	bye := parse(t, `
BYE sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKbye
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: abc@sbc
CSeq: 2 BYE
Content-Length: 0

`)
	b := newCallBench(t)
	agent := b.talk()
	answers := func() (codes string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.sent {
			if bytes.HasPrefix(p.Data, []byte("SIP/2.0 ")) {
				codes += string(p.Data[8:11]) + " "
			}
		}
		b.sent = nil
		return codes
	}
	b.a.receive(arrival{msg: bye})
	if got := answers(); got != "200 " {
		t.Fatalf("the BYE is answered %q", got)
	}
	other := &actor{n: b.n, call: b.a.call, box: newMailbox()}
	other.takeUp()
	if got := answers(); got != "" {
		t.Errorf("the next owner begins with %q", got)
	}
	other.receive(arrival{msg: bye})
	if got := answers(); got != "200 " {
		t.Errorf("the next owner answers %q", got)
	}
	b.apply(acd.LegEnded{OnCall: acd.OnCall{Call: b.a.call, Epoch: b.a.epoch}, Leg: agent, Cause: "hangup"})
	if _, open := b.log.machine.Call(b.a.call); open {
		t.Fatal("the call is still open")
	}
	b.n.receive(bye, sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"})
	if got := answers(); got != "200 " {
		t.Errorf("after the call's end: %q", got)
	}
}

// The phone rings before the music of the same entry begins; nothing else changes
// places, and other calls' orders stay where they are.
func TestAnAgentRingsBeforeMusicBegins(t *testing.T) {
	e := func(call string, o acd.Order) acd.Effect { return acd.Effect{Call: acd.CallID(call), Order: o} }
	music, ring, cancel := acd.PlayPrompt{Prompt: "music"}, acd.RingAgent{Leg: "2"}, acd.CancelRing{Leg: "1"}
	effects := []acd.Effect{e("b", music), e("a", cancel), e("a", music), e("a", acd.Announce{}), e("a", ring), e("b", ring)}
	ringFirst(effects)
	var got []string
	for _, e := range effects {
		got = append(got, fmt.Sprintf("%s %T", e.Call, e.Order))
	}
	want := []string{"b acd.PlayPrompt", "a acd.CancelRing", "a acd.RingAgent", "a acd.PlayPrompt", "a acd.Announce", "b acd.RingAgent"}
	if !slices.Equal(got, want) {
		t.Errorf("the orders are\n%q, want\n%q", got, want)
	}
}
