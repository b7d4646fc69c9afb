package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
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
	b.a.handle(heard{acd.CallerLeg, 2, "12", ""})
	b.acknowledged(2)
	b.a.handle(heard{acd.CallerLeg, 2, "12", ""})
	b.a.handle(heard{acd.CallerLeg, 3, "123", ""})
	b.acknowledged(3)
	// Another router goes on from the log, and is told all again.
	other := &actor{n: b.n, call: b.a.call, box: newMailbox()}
	other.takeUp()
	other.handle(heard{acd.CallerLeg, 4, "1234", ""})
	b.want("digits 1 12", "digits 1 3", "digits 1 4")
	b.a.handle(heard{"7", 1, "9", ""}) // a leg there is not
}

func TestKeysByInfoAreCommittedOnce(t *testing.T) {
	b := newCallBench(t)
	b.inform(2, "5")
	b.inform(2, "5") // a repeat
	b.inform(3, "6#")
	b.a.handle(heard{acd.CallerLeg, 1, "5", ""}) // the same key by the other way
	b.acknowledged(1)
	b.want("digits 1 5", "digits 1 6#")
}

// talk connects the caller with an agent, leg "2" or what the machine says.
func (b *callBench) talk() acd.LegID {
	b.Helper()
	b.apply(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10, Queues: []acd.Queue{{ID: "sales", Music: "music"}},
		Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}}, Agents: []acd.Agent{{ID: "ann", Queues: []acd.QueueID{"sales"}, AutoAvailable: true}},
	}})
	b.apply(acd.RegistrationChanged{Agent: "ann", Contact: acd.Contact{URI: "sip:ann@192.0.2.1", SIPID: "r", CSeq: 1}, Expires: time.Hour})
	c, ok := b.log.machine.Call(b.a.call)
	if !ok || len(c.Legs) < 2 {
		b.Fatalf("the call is not offered: %+v", c)
	}
	id := c.Legs[1].ID
	leg, o := sip.NewClientLeg(4, b.n.local(c.ID, "our-tag"), sip.ClientParams{CallID: "agent-call", Branch: sip.NewBranch("x"),
		URI: "sip:ann@192.0.2.1", From: "<sip:c@x>", To: "<sip:ann@x>", SDP: []byte("v=0\r\n")})
	leg.Response(5, b.reply(o.Send[0], 200).(*sip.Response))
	b.apply(acd.LegAnswered{OnCall: acd.OnCall{Call: c.ID, Epoch: c.Epoch, Records: []acd.LegRecord{{Leg: id, Record: record(b.T, leg)}}},
		Leg: id, Media: acd.Media{Address: "127.0.0.9", Codec: "PCMA"}})
	b.a.takeUp()
	b.told = len(b.log.since(0))
	return id
}

// reply is the far end's answer to a request of ours.
func (b *callBench) reply(p sip.Packet, code int) sip.Message {
	b.Helper()
	msg, err := sip.Parse(p.Data)
	if err != nil {
		b.Fatal(err)
	}
	req := msg.(*sip.Request)
	return parse(b.T, fmt.Sprintf("\nSIP/2.0 %d X\nVia: %s\nFrom: %s\nTo: %s;tag=theirs\nCall-ID: %s\nCSeq: %s\nContact: <sip:far@127.0.0.4>\nContent-Length: 0\n\n",
		code, req.Get("Via"), req.Get("From"), strings.TrimSuffix(req.Get("To"), ";tag=theirs"), req.CallID(), req.Get("CSeq")))
}

// infos are the keys that went out by INFO so far.
func (b *callBench) infos() (keys string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.sent {
		if _, body, ok := strings.Cut(string(p.Data), "Signal="); ok && strings.HasPrefix(string(p.Data), "INFO ") {
			keys += body[:1]
		}
	}
	return keys
}

// While the parties talk a key may be a digit of a card: it reaches no log, in
// whatever way it goes across.
func TestKeysOfATalkingCallAreNotCommitted(t *testing.T) {
	b := newCallBench(t)
	agent := b.talk()
	b.a.handle(heard{acd.CallerLeg, 4, "4929", ""})
	b.acknowledged(4)
	b.inform(2, "5781")
	b.a.handle(heard{acd.CallerLeg, 5, "6", agent})
	for range 3 {
		p, _ := b.newest("INFO")
		b.a.handle(arrival{b.reply(p, 200), sip.Flow{}})
	}
	b.acknowledged(5)
	b.want()
	for _, body := range b.log.since(b.told) {
		if u, ok := body.(acd.LegUpdated); ok {
			for _, r := range u.Records {
				for _, keys := range []string{"Signal", "5781", "4929"} {
					if strings.Contains(string(r.Record), keys) {
						t.Errorf("a record holds %q: %q", keys, r.Record)
					}
				}
			}
		}
	}
}

// What came by INFO is given to the worker as keys of the leg it came on, numbered
// so that it may be given again.
func TestInfoOfATalkingPartyGoesToTheWorker(t *testing.T) {
	b := newCallBench(t)
	b.inform(2, "1") // collected
	b.talk()
	b.inform(3, "23")
	b.inform(3, "23") // a repeat
	b.inform(4, "#")
	got := b.worker.all(mediaapi.PlayDTMF)
	if len(got) != 2 || got[0].Peer != "1" || got[0].Keys != "23" || got[0].Serial != 3 || got[1].Keys != "#" || got[1].Serial != 4 {
		t.Errorf("the worker got %+v", got)
	}
	b.want()
	// Another owner counts on.
	other := &actor{n: b.n, call: b.a.call, box: newMailbox()}
	other.takeUp()
	b.a = other
	b.inform(5, "5")
	if got := b.worker.all(mediaapi.PlayDTMF); len(got) != 3 || got[2].Serial != 5 {
		t.Errorf("after a takeover the worker got %+v", got[2:])
	}
	b.worker.mu.Lock()
	b.worker.refuse[mediaapi.PlayDTMF] = mediaapi.Reply{Result: mediaapi.ResultError, Code: 491, Reason: "leg is not connected"}
	b.worker.mu.Unlock()
	b.inform(6, "6") // answered all the same
	if p := b.sent[len(b.sent)-1]; !strings.HasPrefix(string(p.Data), "SIP/2.0 200 ") {
		t.Errorf("%s", p.Data)
	}
}

// Keys the worker could not pass go to the other party as INFO: in order, each
// after the answer to the one before, and the worker keeps them until then.
func TestKeysThatCouldNotPassBecomeInfo(t *testing.T) {
	b := newCallBench(t)
	agent := b.talk()
	b.a.handle(heard{acd.CallerLeg, 2, "12", agent})
	b.a.handle(heard{acd.CallerLeg, 4, "12-3", agent}) // told again, with more; one passed
	if got := b.infos(); got != "1" {
		t.Fatalf("INFO of %q without an answer", got)
	}
	if n := len(b.worker.all(mediaapi.Digits)); n != 0 {
		t.Errorf("the worker was told %d times that keys are dealt with", n)
	}
	for i, want := range []string{"12", "123", "123"} {
		p, _ := b.newest("INFO")
		b.a.handle(arrival{b.reply(p, []int{200, 500, 200}[i]), sip.Flow{}})
		if got := b.infos(); got != want {
			t.Errorf("INFO of %q, want %q", got, want)
		}
	}
	b.acknowledged(1)
	b.acknowledged(2)
	b.acknowledged(4)
	b.a.handle(heard{acd.CallerLeg, 4, "12-3", agent})
	if got := b.infos(); got != "123" {
		t.Errorf("told again: %q", got)
	}
	b.want()
}

// The owner dies between the INFO and its answer: the next one sends the same
// bytes once it is told the keys again, and goes on behind them.
func TestKeysGoOnAcrossATakeover(t *testing.T) {
	b := newCallBench(t)
	agent := b.talk()
	b.a.handle(heard{acd.CallerLeg, 3, "123", agent})
	p, _ := b.newest("INFO")
	b.a.handle(arrival{b.reply(p, 200), sip.Flow{}})
	second, _ := b.newest("INFO")
	other := &actor{n: b.n, call: b.a.call, box: newMailbox()}
	other.takeUp()
	b.a = other
	b.a.handle(heard{acd.CallerLeg, 3, "123", agent})
	again, _ := b.newest("INFO")
	if string(again.Data) != string(second.Data) || b.infos() != "122" {
		t.Errorf("INFO of %q; sent\n%s, want\n%s", b.infos(), again.Data, second.Data)
	}
	b.a.handle(arrival{b.reply(again, 200), sip.Flow{}})
	if b.infos() != "1223" {
		t.Errorf("INFO of %q", b.infos())
	}
}

// The party that keys were for hangs up: they are not sent to whoever comes next.
func TestKeysForAPartyThatLeftAreDropped(t *testing.T) {
	b := newCallBench(t)
	agent := b.talk()
	b.a.handle(heard{acd.CallerLeg, 3, "123", agent})
	b.a.act(agent, b.a.legs[agent].Bye(6))
	p, _ := b.newest("BYE")
	b.a.handle(arrival{b.reply(p, 200), sip.Flow{}})
	b.acknowledged(3)
	if len(b.a.across) != 0 || b.a.legs[acd.CallerLeg].HeardUpTo() != 3 || b.infos() != "1" {
		t.Errorf("%v wait, taken up to %d, INFO of %q", b.a.across, b.a.legs[acd.CallerLeg].HeardUpTo(), b.infos())
	}
}

// Every router is told of every key; the call's owner alone acts.
func TestKeysOfOthersCallsAreLeft(t *testing.T) {
	b := newCallBench(t)
	b.n.actors = map[acd.CallID]*actor{b.a.call: b.a}
	told := mediaapi.Reply{Digits: []mediaapi.Pressed{{CallID: string(b.a.call), Leg: "1", Serial: 1, Keys: "5", Peer: "2"}, {CallID: "other", Leg: "1", Serial: 1, Keys: "6"}}}
	b.n.keysPressed(told)
	if msg, ok := b.a.box.take(); !ok || msg != (heard{acd.CallerLeg, 1, "5", "2"}) {
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
