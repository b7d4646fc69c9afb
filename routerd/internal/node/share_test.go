package node

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// answeredIn is hunting, whose number answered in a codec with this description;
// the caller's codec is PCMA, and what it offered is theirs.
func answeredIn(t *testing.T, codec, theirs string) *callBench {
	b := hunting(t)
	b.n.conf.SIP.Dialogs.ShareCodec = true
	b.give(40, dialOrder)
	b.worker.mu.Lock()
	b.worker.refuse[mediaapi.LegAnswer] = mediaapi.Reply{Result: mediaapi.ResultOK, SDP: offerSDP, Codec: codec, Suite: "AEAD_AES_128_GCM"}
	b.worker.mu.Unlock()
	b.answer(200, theirs)
	b.give(41, acd.Bridge{A: acd.CallerLeg, B: "2"})
	return b
}

func describing(formats string, maps ...string) string {
	s := "v=0\r\no=- 1 1 IN IP4 127.0.0.4\r\ns=-\r\nc=IN IP4 127.0.0.4\r\nt=0 0\r\nm=audio 4000 RTP/SAVP " + formats + "\r\n"
	for _, m := range maps {
		s += "a=rtpmap:" + m + "\r\n"
	}
	return s
}

// Two who talk in different codecs, one of whom knows the other's: that one is
// offered it, once, and the worker told of the answer.
func TestACommonCodecIsOfferedOnce(t *testing.T) {
	renewed := func(b *callBench) (out []mediaapi.Request) {
		for _, r := range b.worker.all(mediaapi.LegOffer) {
			if r.Renew {
				out = append(out, r)
			}
		}
		return out
	}
	b := answeredIn(t, "PCMU", describing("0 8"))
	got := renewed(b)
	if len(got) != 1 || got[0].Leg != "2" || fmt.Sprint(got[0].Codecs) != "[PCMA PCMU]" {
		t.Fatalf("offered %+v", got)
	}
	_, inv := b.newest("INVITE")
	if n, _ := inv.CSeq(); n != 2 || inv.ToTag() != "theirs" {
		t.Errorf("%s", inv.Raw())
	}
	told := len(b.worker.all(mediaapi.LegAnswer))
	b.accepts(inv)
	if n := len(b.worker.all(mediaapi.LegAnswer)); n != told+1 {
		t.Errorf("the worker was told of %d answers, want %d", n, told+1)
	}
	b.a.takeUp() // the next owner is given the order again
	b.give(42, acd.Bridge{A: acd.CallerLeg, B: "2"})
	if n := len(renewed(b)); n != 1 {
		t.Errorf("offered %d times", n)
	}

	if got := renewed(answeredIn(t, "PCMU", describing("0"))); len(got) != 0 {
		t.Errorf("offered to a far end that does not know it: %+v", got)
	}
	if got := renewed(answeredIn(t, "PCMA", describing("8"))); len(got) != 0 {
		t.Errorf("offered without need: %+v", got)
	}
}

// The worker has taken our offer back for one of the far end's, and the far end
// answers it all the same: it is offered another, and not for ever.
func TestAnAnswerToWhatWasTakenBackLeadsToAnotherOffer(t *testing.T) {
	b := answeredIn(t, "PCMU", describing("0 8"))
	b.worker.mu.Lock()
	b.worker.refuse[mediaapi.LegAnswer] = mediaapi.Reply{Result: mediaapi.ResultError, Reason: "leg has no offer of ours", Code: 491}
	b.worker.mu.Unlock()
	for n := 2; n <= 4; n++ {
		_, inv := b.newest("INVITE")
		if cseq, _ := inv.CSeq(); int(cseq) != n {
			t.Fatalf("INVITE %d, want %d", cseq, n)
		}
		b.accepts(inv)
	}
	if _, inv := b.newest("INVITE"); !strings.HasPrefix(inv.Get("CSeq"), "4 ") {
		t.Errorf("still offering: %s", inv.Get("CSeq"))
	}
}

// accepts is the far end's 200 to a re-INVITE.
func (b *callBench) accepts(inv *sip.Request) {
	b.Helper()
	msg, err := sip.Parse(fmt.Appendf(nil, "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:far@127.0.0.4>\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n", inv.Get("Via"), inv.Get("From"), inv.Get("To"), inv.CallID(), inv.Get("CSeq")))
	if err != nil {
		b.Fatal(err)
	}
	b.a.handle(arrival{msg, sip.Flow{}})
}

func TestDescribedCodecs(t *testing.T) {
	f := func(sdp, codec string, want bool) {
		t.Helper()
		if got := describes([]byte(sdp), codec); got != want {
			t.Errorf("%s in %q: %v", codec, sdp, got)
		}
	}
	f(describing("0 8"), "PCMA", true)
	f(describing("0 101"), "PCMA", false)
	f(describing("111", "111 OPUS/48000/2"), "opus", true)
	f(describing("111", "111 opus/48000/2"), "PCMU", false)
	f("", "PCMA", false)
}
