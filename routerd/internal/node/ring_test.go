package node

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/sip"
)

// offerSDP is the media worker's offer in these tests.
const offerSDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 20000 RTP/SAVP 8\r\n"

// standinWorker answers orders as told and notes them.
type standinWorker struct {
	mu     sync.Mutex
	got    []mediaapi.Request
	refuse map[string]mediaapi.Reply // by command
}

func (w *standinWorker) all(command string) (out []mediaapi.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.got {
		if r.Command == command {
			out = append(out, r)
		}
	}
	return out
}

func (w *standinWorker) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		raw, err := mediaapi.ReadMessage(in)
		if err != nil {
			return
		}
		cookie, format, req, err := mediaapi.ParseRequest(raw)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.got = append(w.got, req)
		reply, refused := w.refuse[req.Command]
		w.mu.Unlock()
		if !refused {
			reply = mediaapi.Reply{Result: mediaapi.ResultOK, SDP: offerSDP, Codec: "PCMA", Suite: "AEAD_AES_128_GCM", Duration: 420}
		}
		if _, err := conn.Write(mediaapi.AppendReply(nil, cookie, format, reply)); err != nil {
			return
		}
	}
}

// caller is a bench with an answered call of r1, its actor, a worker and two
// edges; what the actor sends is noted.
type callBench struct {
	*bench
	a      *actor
	worker *standinWorker
	mu     sync.Mutex
	sent   []sip.Packet
	told   int // commands before the test
}

func newCallBench(t *testing.T) *callBench {
	b := &callBench{bench: newBench(t), worker: &standinWorker{refuse: map[string]mediaapi.Reply{}}}
	b.n.conf.SIP.Outbound = []string{"127.0.0.2:5062", "127.0.0.3:5062"}
	b.n.sendPacket = func(p sip.Packet, _ func(error)) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sent = append(b.sent, p)
	}
	ours, theirs := net.Pipe()
	client := mediaapi.NewClient(ours)
	t.Cleanup(client.Close)
	go b.worker.serve(theirs)
	b.n.workers.links["m1"] = &workerLink{worker: "m1", client: client, ready: make(chan struct{}), again: make(chan struct{}, 1)}
	call, leg, epoch := b.invited()
	leg.Accept(2, []byte("v=0\r\n"))
	leg.Request(3, parse(t, `
ACK sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKack
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: abc@sbc
CSeq: 1 ACK
Content-Type: application/sdp
Content-Length: 5

v=0
`).(*sip.Request), sip.Flow{})
	b.apply(acd.LegAnswered{OnCall: acd.OnCall{Call: call, Epoch: epoch, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record(t, leg)}}},
		Leg: acd.CallerLeg, Media: acd.Media{Address: "127.0.0.9", Codec: "PCMA"}})
	b.a = &actor{n: b.n, call: call, box: newMailbox()}
	b.a.takeUp()
	if leg := b.a.legs[acd.CallerLeg]; leg == nil || leg.State() != sip.Confirmed {
		t.Fatalf("the caller's leg is not up: %v", b.a.legs)
	}
	b.told = len(b.log.since(0))
	return b
}

// give has the actor carry out an order; its id differs from order to order.
func (b *callBench) give(index uint64, o acd.Order) {
	b.a.handle(acd.Effect{ID: acd.EffectID{Index: index}, Call: b.a.call, Owner: b.r1, Epoch: b.a.epoch, Order: o})
}

// newest is the last request sent of a method.
func (b *callBench) newest(method string) (sip.Packet, *sip.Request) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.sent) - 1; i >= 0; i-- {
		msg, err := sip.Parse(b.sent[i].Data)
		if err != nil {
			b.Fatal(err)
		}
		if req, ok := msg.(*sip.Request); ok && req.Method == method {
			return b.sent[i], req
		}
	}
	b.Fatalf("no %s was sent", method)
	return sip.Packet{}, nil
}

// answer is the far end's response to the newest INVITE.
func (b *callBench) answer(code int, body string) {
	b.Helper()
	_, inv := b.newest("INVITE")
	text := fmt.Sprintf("SIP/2.0 %d X\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=theirs\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:far@127.0.0.4>\r\n",
		code, inv.Get("Via"), inv.Get("From"), inv.Get("To"), inv.CallID(), inv.Get("CSeq"))
	if body != "" {
		text += "Content-Type: application/sdp\r\n"
	}
	msg, err := sip.Parse([]byte(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", text, len(body), body)))
	if err != nil {
		b.Fatal(err)
	}
	b.a.handle(arrival{msg, sip.Flow{}})
}

// facts names what was committed since the bench was made, records left out.
func (b *callBench) facts() (out []string) {
	for _, body := range b.log.since(b.told) {
		switch f := body.(type) {
		case acd.LegUpdated:
		case acd.LegProgressed:
			out = append(out, fmt.Sprintf("progressed %s %d", f.Leg, f.Code))
		case acd.LegAnswered:
			out = append(out, fmt.Sprintf("answered %s at %s", f.Leg, f.Media.Address))
		case acd.LegFailed:
			out = append(out, fmt.Sprintf("failed %s %d", f.Leg, f.Code))
		case acd.LegEnded:
			out = append(out, fmt.Sprintf("ended %s %s", f.Leg, f.Cause))
		case acd.DigitsCollected:
			out = append(out, fmt.Sprintf("digits %s %s", f.Leg, f.Digits))
		case acd.PromptStarted:
			out = append(out, fmt.Sprintf("prompt %s %s %v failed=%v", f.Leg, f.Prompt, f.Duration, f.Failed))
		default:
			out = append(out, fmt.Sprintf("%T", f))
		}
	}
	return out
}

func (b *callBench) want(facts ...string) {
	b.Helper()
	if got := b.facts(); strings.Join(got, "; ") != strings.Join(facts, "; ") {
		b.Errorf("committed %q, want %q", got, facts)
	}
}

var dialOrder = acd.Dial{Leg: "2", Number: "+79160000042", Trunks: []acd.TrunkID{"sbc-a", "sbc-b"}, From: "+74950000001"}

// A number is called over the first trunk by each edge, then over the next; the
// first that answers is taken.
func TestADialledNumberIsTriedOverEachTrunkByEachEdge(t *testing.T) {
	b := newCallBench(t)
	b.give(40, dialOrder)
	seen := map[string]bool{}
	for i, want := range []struct{ trunk, edge string }{
		{"sbc-a", "127.0.0.2:5062"}, {"sbc-a", "127.0.0.3:5062"}, {"sbc-b", "127.0.0.2:5062"}, {"sbc-b", "127.0.0.3:5062"},
	} {
		p, inv := b.newest("INVITE")
		if inv.Get(trunkHeader) != want.trunk || p.Hops[0].Addr != want.edge || len(p.Hops) != 2 {
			t.Fatalf("attempt %d: over %q to %v, want %+v", i, inv.Get(trunkHeader), p.Hops, want)
		}
		if inv.Dialled() != "+79160000042" || inv.Caller() != "+74950000001" || string(inv.SDP()) != offerSDP {
			t.Errorf("attempt %d:\n%s", i, p.Data)
		}
		if got := b.n.callOfDialog(inv.CallID(), inv.FromTag(), ""); got != b.a.call {
			t.Errorf("attempt %d: Call-ID %s leads to call %q", i, inv.CallID(), got)
		}
		if seen[inv.CallID()] {
			t.Errorf("attempt %d repeats the Call-ID %s", i, inv.CallID())
		}
		seen[inv.CallID()] = true
		if i < 3 {
			b.answer(map[int]int{0: 503, 1: 408, 2: 430}[i], "")
		}
	}
	b.answer(183, "")
	b.answer(200, offerSDP)
	if _, ack := b.newest("ACK"); ack.URI != "sip:far@127.0.0.4" {
		t.Errorf("the answer is acknowledged to %s", ack.URI)
	}
	b.want("progressed 2 183", "answered 2 at 127.0.0.9")
	if n := len(b.worker.all(mediaapi.LegOffer)); n != 1 {
		t.Errorf("%d media offers for one leg", n)
	}
}

// What the far end says is its answer: no other trunk rings it again.
func TestAFarEndsRefusalIsFinal(t *testing.T) {
	f := func(want string, answers ...int) {
		t.Helper()
		b := newCallBench(t)
		b.give(40, dialOrder)
		for _, code := range answers {
			b.answer(code, "")
		}
		if got := strings.Join(b.facts(), "; "); got != want {
			t.Errorf("%v: committed %q, want %q", answers, got, want)
		}
		await(t, "its media to be freed", func() bool {
			freed := b.worker.all(mediaapi.Delete)
			return len(freed) == 1 && freed[0].Leg == "2"
		})
	}
	f("failed 2 486", 486)
	f("failed 2 603", 603)
	f("failed 2 404", 404)
	f("progressed 2 180; failed 2 408", 180, 408) // it rang: the network gave up, not the way
	f("progressed 2 180; failed 2 503", 180, 503)
	f("failed 2 486", 503, 486)
	f("failed 2 503", 503, 503, 503, 503) // nowhere left
}

func TestADialledLegIsCancelledAndHungUp(t *testing.T) {
	for name, order := range map[string]acd.Order{"CancelRing": acd.CancelRing{Leg: "2"}, "Hangup": acd.Hangup{Leg: "2"}} {
		b := newCallBench(t)
		b.give(40, dialOrder)
		b.answer(180, "")
		b.give(41, order)
		_, inv := b.newest("INVITE")
		if _, cancel := b.newest("CANCEL"); cancel.Get("Via") != inv.Get("Via") {
			t.Errorf("%s of a ringing leg cancels by %s", name, cancel.Get("Via"))
		}
		b.answer(487, "")
		b.want("progressed 2 180", "failed 2 487")
	}
	b := newCallBench(t)
	b.give(40, dialOrder)
	b.answer(200, offerSDP)
	b.give(41, acd.Hangup{Leg: "2"})
	b.newest("BYE")
}

// A cancelled leg is not tried over the next trunk, whatever its refusal.
func TestACancelledDialIsTriedNowhereElse(t *testing.T) {
	b := newCallBench(t)
	b.give(40, dialOrder)
	b.give(41, acd.CancelRing{Leg: "2"})
	b.answer(503, "")
	b.want("failed 2 503")
}

func TestNothingToDialBy(t *testing.T) {
	b := newCallBench(t)
	none := dialOrder
	none.Trunks = nil
	b.give(40, none)
	b.want("failed 2 480")
	b.worker.refuse[mediaapi.LegOffer] = mediaapi.Reply{Result: mediaapi.ResultError, Reason: mediaapi.ReasonOutOfPorts, Code: 503}
	other := dialOrder
	other.Leg = "3"
	b.give(41, other)
	b.want("failed 2 480", "failed 3 503")
}

// The devices of one agent ring at the same time, each by its own contacts; one
// answers, the others are cancelled.
func TestDevicesRingTogether(t *testing.T) {
	b := newCallBench(t)
	for i, leg := range []acd.LegID{"2", "3", "4"} {
		b.give(uint64(50+i), acd.RingAgent{Leg: leg, Agent: "ann", From: "+7495", Contacts: []acd.Contact{
			{URI: fmt.Sprintf("sip:ann@192.0.2.%d", i), Path: []string{"<sip:127.0.0.2:5062;lr>"}},
			{URI: fmt.Sprintf("sip:ann@192.0.2.%d", i), Path: []string{"<sip:127.0.0.3:5062;lr>"}},
		}})
		b.answer(180, "")
	}
	b.want("progressed 2 180", "progressed 3 180", "progressed 4 180")
	b.mu.Lock()
	b.sent = b.sent[:2] // the newest INVITE is the second device's
	b.mu.Unlock()
	b.answer(200, offerSDP)
	b.give(60, acd.CancelRing{Leg: "2"})
	b.give(61, acd.CancelRing{Leg: "4"})
	cancelled := map[string]bool{}
	for _, p := range b.sent {
		if strings.HasPrefix(string(p.Data), "CANCEL ") {
			cancelled[strings.Fields(string(p.Data))[1]] = true
		}
	}
	if len(cancelled) != 2 || cancelled["sip:ann@192.0.2.1"] {
		t.Errorf("cancelled %v, want the first and the last device", cancelled)
	}
	b.want("progressed 2 180", "progressed 3 180", "progressed 4 180", "answered 3 at 127.0.0.9")
	for _, leg := range []acd.LegID{"2", "3", "4"} {
		if b.a.legs[leg] == nil {
			t.Errorf("leg %s is gone", leg)
		}
	}
}

func TestAnAnnouncementIsPlayedAndItsLengthReported(t *testing.T) {
	b := newCallBench(t)
	o := acd.Announce{Leg: acd.CallerLeg, Name: "position number-3", Prompts: []string{"position", "number-3"}, Then: acd.Prompt{Name: "music", Loop: true}}
	b.give(40, o)
	got := b.worker.all(mediaapi.PlayMedia)
	if len(got) != 1 || strings.Join(got[0].Prompts, " ") != "position number-3" || got[0].Then != "music" || got[0].Prompt != "" {
		t.Errorf("told the worker %+v", got)
	}
	b.worker.mu.Lock()
	b.worker.refuse[mediaapi.PlayMedia] = mediaapi.Reply{Result: mediaapi.ResultError, Reason: "x", Code: 503}
	b.worker.mu.Unlock()
	b.give(41, o)
	b.want("prompt 1 position number-3 420ms failed=false", "prompt 1 position number-3 0s failed=true")
}

// A caller who was promised a callback is let go with the media; later the same
// call dials, and its actor must not take itself for done.
func TestACallComesBackAfterItsMediaWasLetGo(t *testing.T) {
	b := newCallBench(t)
	b.give(40, acd.Release{Media: []string{"127.0.0.9"}})
	if !b.a.released {
		t.Fatal("not released")
	}
	b.give(41, dialOrder)
	b.answer(486, "")
	b.want("failed 2 486")
	for leg := range b.a.legs {
		delete(b.a.legs, leg)
	}
	if b.a.over() {
		t.Error("the actor of a call that goes on is over")
	}
}

// redirect is the far end's 3xx to the newest INVITE.
func (b *callBench) redirect(contacts ...string) {
	b.Helper()
	_, inv := b.newest("INVITE")
	text := fmt.Sprintf("SIP/2.0 302 X\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=theirs\r\nCall-ID: %s\r\nCSeq: %s\r\n",
		inv.Get("Via"), inv.Get("From"), inv.Get("To"), inv.CallID(), inv.Get("CSeq"))
	for _, c := range contacts {
		text += "Contact: " + c + "\r\n"
	}
	msg, err := sip.Parse([]byte(text + "Content-Length: 0\r\n\r\n"))
	if err != nil {
		b.Fatal(err)
	}
	b.a.handle(arrival{msg, sip.Flow{}})
}

// A number that is forwarded is called on over the same trunks, by its targets
// in the order of their wish; nothing but numbers, nobody twice, five at most.
func TestRedirectionsAreFollowedAsFarAsTheyMay(t *testing.T) {
	f := func(policy string) *callBench {
		b := newCallBench(t)
		b.n.conf.SIP.Dialogs.Redirects = policy
		b.give(40, dialOrder)
		return b
	}
	b := f("")
	b.redirect("<sip:+79160000099@evil.example>")
	b.want("failed 2 302")

	b = f(config.RedirectsFollow)
	b.redirect("<sip:ann@evil.example>", "<sip:+79160000050@sbc>;q=0.1", "<tel:+7-916-000-00-99>;q=0.9", "<mailto:x@y>")
	_, inv := b.newest("INVITE")
	if inv.Dialled() != "+79160000099" || !strings.Contains(inv.URI, "@trunkline.internal") || inv.Get(trunkHeader) != "sbc-a" {
		t.Errorf("called on:\n%s", inv.Raw())
	}
	b.redirect("<sip:+79160000042@x>", "<sip:+79160000099@x>") // those two were asked
	b.want("failed 2 302")

	b = f(config.RedirectsFollow)
	for i := range 20 {
		if len(b.facts()) > 0 {
			break
		}
		b.redirect(fmt.Sprintf("<sip:+791600001%02d@x>", i))
	}
	b.want("failed 2 302")
	if _, inv := b.newest("INVITE"); inv.Dialled() != "+79160000104" {
		t.Errorf("the last one called is %s, want the fifth", inv.Dialled())
	}

	b = newCallBench(t)
	b.n.conf.SIP.Dialogs.Redirects = config.RedirectsFollow
	b.give(50, acd.RingAgent{Leg: "2", Agent: "ann", From: "+7495", Contacts: []acd.Contact{{URI: "sip:ann@192.0.2.1"}}})
	b.redirect("<sip:+79160000099@x>")
	b.want("failed 2 302") // an agent's phone sends no call away
}

// hunting is a bench whose call tries a chain: the order to dial is the
// machine's own.
func hunting(t *testing.T) *callBench {
	b := newCallBench(t)
	b.apply(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10, Outbound: acd.Outbound{Trunks: []acd.TrunkID{"sbc-a"}, From: "+74950000001"},
		Queues:  []acd.Queue{{ID: "sales", Music: "music", WhenEmpty: acd.Then{Chain: "desk"}, Empty: "logged-out"}},
		Chains:  []acd.Chain{{ID: "desk", Music: "tune", Steps: []acd.ChainStep{{Number: "+79160000042"}, {Number: "+79160000043"}}}},
		Numbers: []acd.Number{{Number: "+74950000001", Chain: "desk"}},
	}})
	// The call of the bench waits already; another one comes by the chain.
	b.a = nil
	msg := parse(t, `
INVITE sip:+74950000001@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKchain
Max-Forwards: 12
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>
Call-ID: chain@sbc
CSeq: 1 INVITE
Contact: <sip:+7495@127.0.0.3:5060>
Content-Type: application/sdp
Content-Length: 3

v=0`)
	call := b.n.callOf(msg)
	leg, _ := sip.NewServerLeg(1, b.n.local(call, "tag"), msg.(*sip.Request), sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"})
	res := b.apply(acd.CallArrived{OnCall: acd.OnCall{Call: call}, Owner: b.r1, Trunk: "sbc-a", From: "+7495", To: "+74950000001", SIPID: "chain@sbc"})
	leg.Accept(2, []byte("v=0\r\n"))
	leg.Request(3, parse(t, `
ACK sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKackc
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: chain@sbc
CSeq: 1 ACK
Content-Length: 0

`).(*sip.Request), sip.Flow{})
	b.apply(acd.LegAnswered{OnCall: acd.OnCall{Call: call, Epoch: res.Epoch, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record(t, leg)}}},
		Leg: acd.CallerLeg, Media: acd.Media{Address: "127.0.0.9", Codec: "PCMA"}})
	b.a = &actor{n: b.n, call: call, box: newMailbox()}
	b.a.takeUp()
	b.told = len(b.log.since(0))
	return b
}

// What a number's far end sends before it answers is heard where that is
// wanted, and the music goes on when it was not reached, at a new owner's too.
func TestEarlyMediaIsHeardInsteadOfTheMusic(t *testing.T) {
	connected := func(b *callBench) string {
		var out []string
		for _, r := range b.worker.all(mediaapi.Connect) {
			out = append(out, r.Leg+" with "+r.Peer)
		}
		return strings.Join(out, ", ")
	}
	b := hunting(t)
	b.give(40, dialOrder)
	b.answer(183, offerSDP)
	if got := connected(b); got != "" {
		t.Errorf("connected %s without being told to", got)
	}
	b = hunting(t)
	b.n.conf.SIP.Dialogs.EarlyMedia = true
	b.give(40, dialOrder)
	b.answer(180, "")
	b.answer(183, offerSDP)
	if got := connected(b); got != "1 with 2" {
		t.Errorf("connected %q", got)
	}
	b.a.takeUp()
	b.answer(486, "")
	played := b.worker.all(mediaapi.PlayMedia)
	if len(played) != 1 || played[0].Leg != "1" || played[0].Prompt != "tune" || !played[0].Loop {
		t.Errorf("played %+v", played)
	}
}

// A call that is made for a caller takes one off its Max-Forwards, and is not
// made where there is none left.
func TestMaxForwardsGoesOn(t *testing.T) {
	b := hunting(t)
	b.give(40, dialOrder)
	if _, inv := b.newest("INVITE"); inv.Get("Max-Forwards") != "11" {
		t.Errorf("Max-Forwards %s, the caller's is 12", inv.Get("Max-Forwards"))
	}
	b = newCallBench(t)
	b.give(40, dialOrder)
	if _, inv := b.newest("INVITE"); inv.Get("Max-Forwards") != "69" {
		t.Errorf("Max-Forwards %s, the caller's is 70", inv.Get("Max-Forwards"))
	}
}

// A call of ours that a trunk leads back is refused, whichever router made it.
func TestALoopIsRefused(t *testing.T) {
	b := newCallBench(t)
	b.apply(acd.NodeStarted{Node: "r3", SIP: "127.0.0.77:5060"})
	f := func(via string, want bool) {
		t.Helper()
		req := parse(t, "\nINVITE sip:+74950000001@127.0.0.1 SIP/2.0\nVia: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKe\nVia: SIP/2.0/TCP "+via+
			";branch=z9hG4bKx\nMax-Forwards: 9\nFrom: <sip:a@x>;tag=f\nTo: <sip:b@y>\nCall-ID: l@sbc\nCSeq: 1 INVITE\nContact: <sip:a@x>\nContent-Length: 0\n\n").(*sip.Request)
		if got := b.n.cameBack(req); got != want {
			t.Errorf("via %s: %v", via, got)
		}
	}
	f("127.0.0.77:5060", true)
	f("127.0.0.77", true)
	f("127.0.0.77:5061", false)
	f("127.0.0.3:5060", false)
}

// callerHangsUp is the caller's BYE in a dialog of these benches.
func (b *callBench) callerHangsUp(callID, reason string) {
	b.Helper()
	b.a.handle(arrival{parse(b.T, fmt.Sprintf(`
BYE sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKbye
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: %s
CSeq: 2 BYE
Reason: %s
Content-Length: 0

`, callID, reason)), sip.Flow{}})
}

// Why a leg ended goes on to the other: to one that rings, and to one that
// talks.
func TestReasonsAreCarriedAcross(t *testing.T) {
	const reason = `Q.850;cause=16;text="Terminated"`
	b := hunting(t)
	b.give(40, dialOrder)
	b.answer(180, "")
	b.callerHangsUp("chain@sbc", reason)
	b.give(41, acd.CancelRing{Leg: "2"})
	if _, cancel := b.newest("CANCEL"); cancel.Get("Reason") != reason {
		t.Errorf("CANCEL with %q", cancel.Get("Reason"))
	}
	b = hunting(t)
	b.give(40, dialOrder)
	b.answer(200, offerSDP)
	b.callerHangsUp("chain@sbc", reason)
	b.give(41, acd.Hangup{Leg: "2"})
	if _, bye := b.newest("BYE"); bye.Get("Reason") != reason {
		t.Errorf("BYE with %q", bye.Get("Reason"))
	}
}

// A phone that rang in vain, because another took the call, is told so and shows
// no missed call; one that nobody answered is told that.
func TestPhonesThatRangInVainAreToldWhy(t *testing.T) {
	f := func(want string, then func(b *callBench)) {
		t.Helper()
		b := newCallBench(t)
		b.apply(acd.ConfigApplied{Config: acd.Config{
			Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10, Queues: []acd.Queue{{ID: "sales", Music: "music"}},
			Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}},
			Agents:  []acd.Agent{{ID: "ann", Queues: []acd.QueueID{"sales"}}},
		}})
		for _, device := range []string{"desk", "mobile"} {
			b.apply(acd.RegistrationChanged{Agent: "ann", Expires: time.Hour, Contact: acd.Contact{URI: "sip:ann@" + device, SIPID: device, CSeq: 1, Instance: device}})
		}
		b.apply(acd.AgentStatusSet{Agent: "ann", Status: acd.Available}) // rings legs 2 and 3
		b.give(50, acd.RingAgent{Leg: "3", Agent: "ann", From: "+7495", Contacts: []acd.Contact{{URI: "sip:ann@192.0.2.1"}}})
		b.answer(180, "")
		then(b)
		b.give(60, acd.CancelRing{Leg: "3"})
		if _, cancel := b.newest("CANCEL"); cancel.Get("Reason") != want {
			t.Errorf("CANCEL with %q, want %q", cancel.Get("Reason"), want)
		}
	}
	f(`SIP;cause=200;text="Call completed elsewhere"`, func(b *callBench) {
		b.apply(acd.LegAnswered{OnCall: b.a.head(), Leg: "2", Media: acd.Media{Address: "127.0.0.9", Codec: "PCMA"}})
	})
	f(`SIP;cause=408;text="No answer"`, func(b *callBench) {
		var at acd.Time
		b.n.view(func(m *acd.Machine) { at, _ = m.NextDeadline() })
		b.log.late = at.Add(time.Minute)
		b.apply(acd.Ticked{})
	})
}
