package node

import (
	"fmt"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// await polls until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// inform is the caller's INFO with keys.
func (b *callBench) inform(cseq int, keys string) {
	b.Helper()
	b.a.handle(arrival{msg: parse(b.T, fmt.Sprintf(`
INFO sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKi%d
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: abc@sbc
CSeq: %d INFO
Content-Type: application/dtmf
Content-Length: %d

%s`, cseq, cseq, len(keys), keys))})
}

// acknowledged is the highest serial the worker was told is dealt with.
func (b *callBench) acknowledged(serial uint64) {
	b.Helper()
	await(b.T, fmt.Sprintf("keys up to %d to be acknowledged", serial), func() bool {
		for _, r := range b.worker.all(mediaapi.Digits) {
			if r.Leg == "1" && r.Serial == serial {
				return true
			}
		}
		return false
	})
}

// Keys by RTP events are committed once, whatever the worker tells again and
// whichever router runs the call, and then forgotten by the worker.
func TestKeysOfAWorkerAreCommittedOnce(t *testing.T) {
	b := newCallBench(t)
	b.a.handle(heard{acd.CallerLeg, 2, "12"})
	b.acknowledged(2)
	b.a.handle(heard{acd.CallerLeg, 2, "12"})
	b.a.handle(heard{acd.CallerLeg, 3, "123"})
	b.acknowledged(3)
	// Another router goes on from the log, and is told all again.
	other := &actor{n: b.n, call: b.a.call, box: newMailbox()}
	other.takeUp()
	other.handle(heard{acd.CallerLeg, 4, "1234"})
	b.want("digits 1 12", "digits 1 3", "digits 1 4")
	b.a.handle(heard{"7", 1, "9"}) // a leg there is not
}

func TestKeysByInfoAreCommittedOnce(t *testing.T) {
	b := newCallBench(t)
	b.inform(2, "5")
	b.inform(2, "5") // a repeat
	b.inform(3, "6#")
	b.a.handle(heard{acd.CallerLeg, 1, "5"}) // the same key by the other way
	b.acknowledged(1)
	b.want("digits 1 5", "digits 1 6#")
}

// While the parties talk a key may be a digit of a card: it reaches no log.
func TestKeysOfATalkingCallAreNotCommitted(t *testing.T) {
	b := newCallBench(t)
	b.apply(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10, Queues: []acd.Queue{{ID: "sales", Music: "music"}},
		Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}}, Agents: []acd.Agent{{ID: "ann", Queues: []acd.QueueID{"sales"}, AutoAvailable: true}},
	}})
	b.apply(acd.RegistrationChanged{Agent: "ann", Contact: acd.Contact{URI: "sip:ann@192.0.2.1", SIPID: "r", CSeq: 1}, Expires: time.Hour})
	c, ok := b.log.machine.Call(b.a.call)
	if !ok || len(c.Legs) < 2 {
		t.Fatalf("the call is not offered: %+v", c)
	}
	b.apply(acd.LegAnswered{OnCall: acd.OnCall{Call: c.ID, Epoch: c.Epoch}, Leg: c.Legs[1].ID, Media: acd.Media{Address: "127.0.0.9", Codec: "PCMA"}})
	b.told = len(b.log.since(0))
	b.a.handle(heard{acd.CallerLeg, 4, "4929"})
	b.acknowledged(4)
	b.inform(2, "1234")
	b.want()
}

// Every router is told of every key; the call's owner alone acts.
func TestKeysOfOthersCallsAreLeft(t *testing.T) {
	b := newCallBench(t)
	b.n.actors = map[acd.CallID]*actor{b.a.call: b.a}
	told := mediaapi.Reply{Digits: []mediaapi.Pressed{{CallID: string(b.a.call), Leg: "1", Serial: 1, Keys: "5"}, {CallID: "other", Leg: "1", Serial: 1, Keys: "6"}}}
	b.n.keysPressed(told)
	if msg, ok := b.a.box.take(); !ok || msg != (heard{acd.CallerLeg, 1, "5"}) {
		t.Errorf("the owner's actor got %v", msg)
	}
	b.apply(acd.CallClaimed{OnCall: acd.OnCall{Call: b.a.call, Epoch: b.a.epoch}, Owner: b.r2})
	b.n.keysPressed(told)
	if msg, ok := b.a.box.take(); ok {
		t.Errorf("an actor whose call has another owner got %v", msg)
	}
	if len(b.n.actors) != 1 {
		t.Errorf("%d actors, want the one", len(b.n.actors))
	}
}
