package node

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// says has the worker answer a command with this direction of ours from now on.
func (b *callBench) says(command, direction string) {
	b.worker.mu.Lock()
	defer b.worker.mu.Unlock()
	b.worker.refuse[command] = mediaapi.Reply{Result: mediaapi.ResultOK, SDP: offerSDP, Codec: "PCMA", Suite: "AEAD_AES_128_GCM", Direction: direction}
}

// caller sends a request of the caller in its dialog.
func (b *callBench) caller(method string, cseq int, body string) {
	b.Helper()
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	raw := fmt.Sprintf("%s sip:c@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bK%s%d\r\nMax-Forwards: 70\r\nFrom: <sip:+7495@x>;tag=far\r\n"+
		"To: <sip:+74950000001@y>;tag=tag\r\nCall-ID: abc@sbc\r\nCSeq: %d %s\r\nContact: <sip:+7495@127.0.0.3:5060>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, method, cseq, cseq, method, kind, len(body), body)
	msg, err := sip.Parse([]byte(raw))
	if err != nil {
		b.Fatal(err)
	}
	b.a.handle(arrival{msg, sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062"}})
}

// responses are the codes sent, with their method.
func (b *callBench) responses() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.sent {
		if msg, err := sip.Parse(p.Data); err == nil {
			if res, ok := msg.(*sip.Response); ok {
				_, method := res.CSeq()
				out = append(out, fmt.Sprintf("%d %s", res.Code, method))
			}
		}
	}
	return out
}

// A caller that holds and takes the call back: the machine hears of it with the
// answer, once, by re-INVITE and by UPDATE.
func TestHoldIsToldWithTheAnswer(t *testing.T) {
	b := newCallBench(t)
	b.says(mediaapi.LegAccept, "recvonly")
	b.caller("INVITE", 2, "v=0\r\nhold")
	b.caller("ACK", 2, "")
	b.says(mediaapi.LegAccept, "inactive")
	b.caller("UPDATE", 3, "v=0\r\nhold more")
	b.want("acd.LegHeld")
	b.says(mediaapi.LegAccept, "sendrecv")
	b.caller("UPDATE", 4, "v=0\r\nback")
	b.caller("UPDATE", 5, "v=0\r\nback again")
	b.want("acd.LegHeld", "acd.LegResumed")
	if got := strings.Join(b.responses(), ", "); got != "100 INVITE, 200 INVITE, 200 UPDATE, 200 UPDATE, 200 UPDATE" {
		t.Errorf("answered %s", got)
	}
	for _, f := range b.log.since(b.told) {
		if h, ok := f.(acd.LegHeld); ok && (h.Leg != acd.CallerLeg || len(h.Records) != 1) {
			t.Errorf("%+v: no record of the answer goes with it", h)
		}
	}
}

// What the worker can't take is refused, and nothing is told.
func TestAnUnusableReofferChangesNothing(t *testing.T) {
	b := newCallBench(t)
	b.worker.refuse[mediaapi.LegAccept] = mediaapi.Reply{Result: mediaapi.ResultError, Reason: "plain RTP", Code: 488}
	b.caller("INVITE", 2, "v=0\r\nplain")
	b.want()
	if got := strings.Join(b.responses(), ", "); got != "100 INVITE, 488 INVITE" {
		t.Errorf("answered %s", got)
	}
}

// A re-INVITE without description is answered by an offer, whose answer comes in
// the ACK and may say hold.
func TestAReinviteWithoutOfferIsAnsweredByOne(t *testing.T) {
	b := newCallBench(t)
	b.caller("INVITE", 2, "")
	offers := b.worker.all(mediaapi.LegOffer)
	if len(offers) != 1 || !offers[0].Renew || offers[0].Leg != "1" {
		t.Fatalf("asked the worker for %+v", offers)
	}
	b.says(mediaapi.LegAnswer, "recvonly")
	b.caller("ACK", 2, "v=0\r\nanswer")
	if got := b.worker.all(mediaapi.LegAnswer); len(got) != 1 || got[0].SDP != "v=0\r\nanswer" {
		t.Errorf("the worker was told %+v", got)
	}
	b.want("acd.LegHeld")
}

// late is a bench whose caller's INVITE has no description, and whose 200 with
// our offer is out.
func late(t *testing.T) *callBench {
	b := newCallBench(t)
	msg := parse(t, `
INVITE sip:+74950000001@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKlate
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>
Call-ID: late@sbc
CSeq: 1 INVITE
Contact: <sip:+7495@127.0.0.3:5060>
X-Trunkline-Trunk: sbc-a
Content-Length: 0

`)
	call := b.n.callOf(msg)
	leg, _ := sip.NewServerLeg(1, b.n.local(call, "tag"), msg.(*sip.Request), sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"})
	b.apply(acd.CallArrived{OnCall: acd.OnCall{Call: call, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record(t, leg)}}},
		Owner: b.r1, Trunk: "sbc-a", From: "+7495", To: "+74950000001", SIPID: "late@sbc"})
	b.a = &actor{n: b.n, call: call, box: newMailbox()}
	b.a.takeUp()
	b.told = len(b.log.since(0))
	b.a.answerWithOffer(acd.CallerLeg, b.a.legs[acd.CallerLeg], "127.0.0.9")
	b.want()
	if got := strings.Join(b.responses(), ", "); got != "200 INVITE" {
		t.Fatalf("answered %s", got)
	}
	return b
}

func (b *callBench) ackLate(body string) {
	b.Helper()
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\n"
	}
	b.a.handle(arrival{parse(b.T, fmt.Sprintf(`
ACK sip:c@127.0.0.1 SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKackl
Max-Forwards: 70
From: <sip:+7495@x>;tag=far
To: <sip:+74950000001@y>;tag=tag
Call-ID: late@sbc
CSeq: 1 ACK
%sContent-Length: %d

%s`, kind, len(body), body)), sip.Flow{}})
}

// An INVITE without description: the machine hears of the answer when there is
// a session, after a takeover too.
func TestACallWithoutOfferIsAnsweredWithTheACK(t *testing.T) {
	b := late(t)
	b.a.takeUp() // the next owner's
	b.a.order(acd.Effect{ID: acd.EffectID{Index: 99}, Epoch: b.a.epoch, Order: acd.Resume{}})
	b.a.answerWithOffer(acd.CallerLeg, b.a.legs[acd.CallerLeg], "127.0.0.9")
	b.ackLate("v=0")
	b.want("answered 1 at 127.0.0.9")
	if n := len(b.worker.all(mediaapi.LegOffer)); n != 1 {
		t.Errorf("%d offers", n)
	}
}

// The answer in the ACK is missing, or can't be used: BYE with the reason.
func TestABadAnswerInTheACKEndsTheCall(t *testing.T) {
	b := late(t)
	b.ackLate("")
	if _, bye := b.newest("BYE"); bye.Get("Reason") != `SIP;cause=488;text="ACK Without Answer"` {
		t.Errorf("%s", bye.Raw())
	}
	b = late(t)
	b.worker.refuse[mediaapi.LegAnswer] = mediaapi.Reply{Result: mediaapi.ResultError, Reason: "plain RTP", Code: 488}
	b.ackLate("v=0")
	if _, bye := b.newest("BYE"); bye.Get("Reason") != `SIP;cause=488;text="Not Acceptable Here"` {
		t.Errorf("%s", bye.Raw())
	}
	b.want()
}
