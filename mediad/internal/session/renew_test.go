package session

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

func originOf(s string) (version uint64) {
	var id uint64
	_, _ = fmt.Sscanf(s[strings.Index(s, "o=-"):], "o=- %d %d", &id, &version)
	return version
}

// A leg is offered another codec: until the answer comes the old terms hold,
// port, key and numbers stay, and the peer hears the new codec from then on.
func TestARenewedOfferKeepsTheEndpoint(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.PCMU, Clock: 8000, PT: 0}, {Name: sdp.Opus, Clock: 48000, PT: 97}, {Name: sdp.PCMA, Clock: 8000, PT: 8}}
	a.pt = 0
	first := a.dial(e, "c") // PCMU, the phone's first
	b.ring(e, "c", "2")     // PCMA
	connect(t, e, "c")
	a.send(strings.Repeat("\xff", 160))
	if h := b.hear(); h.pt != 8 || h.payload != strings.Repeat("\xd5", 160) {
		t.Fatalf("not transcoded: %+v", h)
	}

	offer := do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1", Renew: true, Codecs: []string{"PCMA", "PCMU"}})
	m, err := sdp.Parse(offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	if originOf(offer.SDP) != originOf(first.SDP)+1 || port1(offer.SDP) != port1(first.SDP) || m.Codecs[0].Name != sdp.PCMA || m.Codecs[1].PT != 0 {
		t.Errorf("offer\n%s", offer.SDP)
	}
	if again := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: a.offer()}); again.SDP != first.SDP {
		t.Errorf("the last answer is forgotten:\n%s", again.SDP)
	}
	a.send(strings.Repeat("\xff", 160)) // meanwhile
	if h := b.hear(); h.pt != 8 || h.payload != strings.Repeat("\xd5", 160) {
		t.Errorf("the old terms do not hold: %+v", h)
	}

	a.codecs, a.version = a.codecs[2:], 2
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "1", SDP: a.answerTo(offer.SDP)})
	if r.Codec != "PCMA" {
		t.Errorf("%+v", r)
	}
	a.pt = 8
	a.send("as it is")
	if h := b.hear(); h.payload != "as it is" || h.ssrc != a.ssrc {
		t.Errorf("still transcoded: %+v", h)
	}
	if next := do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1", Renew: true, Codecs: []string{"PCMA", "PCMU"}}); next.SDP != offer.SDP {
		t.Errorf("an offer that changes nothing counts o= up:\n%s\n%s", offer.SDP, next.SDP)
	}
}

// The peer renegotiates before it answers ours: its offer takes our place.
func TestAnOfferOfThePeersTakesOursBack(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1", Renew: true})
	a.version, a.direction = 2, sdp.SendOnly
	if r := a.dial(e, "c"); r.Direction != "recvonly" {
		t.Errorf("%+v", r)
	}
	if r, _ := e.Do(mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "1", SDP: "x" + a.offer()}); r.Code != 491 {
		t.Errorf("an answer to what was taken back: %+v", r)
	}
}

// A number the peer uses for one format is never another's (RFC 3264 section
// 8.3.2).
func TestNumbersAreNotUsedAgain(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.PCMA, Clock: 8000, PT: 8}, {Name: sdp.Event, Clock: 8000, PT: 96}}
	a.dial(e, "c")
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1", Renew: true})
	m, err := sdp.Parse(r.SDP)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint8]string{}
	for _, c := range append(m.Codecs, m.Events...) {
		name := fmt.Sprint(c.Name, c.Clock)
		if other, ok := seen[c.PT]; ok {
			t.Errorf("%d is %s and %s", c.PT, other, name)
		}
		seen[c.PT] = name
	}
	if seen[96] != "telephone-event8000" {
		t.Errorf("numbers %v", seen)
	}
}
