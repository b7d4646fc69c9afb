package session

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

var update = flag.Bool("update", false, "write the answers into testdata/sdp")

var masks = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`o=- \d+ `), "o=- SESSION "},
	{regexp.MustCompile(`inline:[A-Za-z0-9+/=]+`), "inline:KEY"},
	{regexp.MustCompile(`m=audio [1-9]\d* RTP/SAVP`), "m=audio PORT RTP/SAVP"},
	{regexp.MustCompile(`a=rtcp:\d+`), "a=rtcp:PORT"},
}

func masked(s string) string {
	for _, m := range masks {
		s = m.find.ReplaceAllString(s, m.put)
	}
	return strings.ReplaceAll(s, "\r\n", "\n")
}

// Each file of testdata/sdp is an offer of some real or nasty peer and, after
// a line of dashes, what we answer: an SDP with ports and keys masked, or the
// SIP code and reason of the refusal.
func TestOffersAreAnsweredAsWritten(t *testing.T) {
	files, err := filepath.Glob("testdata/sdp/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			offer, want, _ := strings.Cut(string(text), "----\n")
			var said []string // a comment before the offer tells its story
			for strings.HasPrefix(offer, "#") {
				line, rest, _ := strings.Cut(offer, "\n")
				said, offer = append(said, line), rest
			}
			e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
			reply, _ := e.Do(mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: strings.ReplaceAll(offer, "\n", "\r\n")})
			got := masked(reply.SDP)
			if reply.Result == mediaapi.ResultError {
				got = fmt.Sprintf("%d %s\n", reply.Code, reply.Reason)
			}
			if got == want {
				return
			}
			if *update {
				out := strings.Join(append(said, ""), "\n") + offer + "----\n" + got
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			t.Errorf("answered\n%s\nwant\n%s", got, want)
		})
	}
}

func TestRepeatsOfCommandsChangeNothing(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	if x, y := a.dial(e, "c"), a.dial(e, "c"); x.SDP != y.SDP || x.Suite != y.Suite {
		t.Error("leg accept")
	}
	x, y := b.ring(e, "c", "2"), b.ring(e, "c", "2")
	if x.SDP != y.SDP || x.Codec != y.Codec {
		t.Error("leg offer or answer")
	}
	connect(t, e, "c")
	a.send("x")
	b.hear()
	connect(t, e, "c")
	a.send("y")
	if h := b.hear(); h.payload != "y" {
		t.Error("connect")
	}
	if legs, _ := e.Load(); legs != 2 {
		t.Errorf("%d legs", legs)
	}
}

// A re-INVITE keeps port and key, and counts o= up only if the answer changes.
func TestRenegotiationKeepsTheEndpoint(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.PCMA, Clock: 8000, PT: 8}, {Name: sdp.Opus, Clock: 48000, PT: 111}}
	first := a.dial(e, "c")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "long", Loop: true})
	h1 := a.hear()
	a.version = 2 // a session refresh
	if same := a.dial(e, "c"); same.SDP != first.SDP {
		t.Errorf("a refresh changed the answer:\n%s\n%s", first.SDP, same.SDP)
	}
	a.version, a.codecs = 3, a.codecs[1:]
	second := a.dial(e, "c")
	if second.Codec != "opus" || strings.Split(second.SDP, "\r\n")[0] != strings.Split(first.SDP, "\r\n")[0] {
		t.Errorf("%+v", second)
	}
	version := func(s string) (id, v uint64) {
		_, _ = fmt.Sscanf(s[strings.Index(s, "o=-"):], "o=- %d %d", &id, &v)
		return
	}
	id1, v1 := version(first.SDP)
	id2, v2 := version(second.SDP)
	if id1 != id2 || v2 != v1+1 || port1(first.SDP) != port1(second.SDP) {
		t.Errorf("o= %d %d then %d %d", id1, v1, id2, v2)
	}
	for { // the prompt goes on, in the new codec, as the same stream
		h := a.hear()
		if h.pt == 8 {
			continue
		}
		if h.pt != 111 || h.ssrc != h1.ssrc || !h.marker || !strings.Contains(h.payload, "opus frame") {
			t.Errorf("%+v", h)
		}
		break
	}
}

func port1(s string) string { return regexp.MustCompile(`m=audio (\d+)`).FindString(s) }

func TestOurOffersListWhatIsWanted(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	f := func(codecs, suites []string, want string) {
		t.Helper()
		r := do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: fmt.Sprint(codecs, suites), Leg: "2", Codecs: codecs, Suites: suites})
		m, err := sdp.Parse(r.SDP)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range append(append([]sdp.Codec{}, m.Codecs...), m.Events...) {
			got = append(got, fmt.Sprintf("%s/%d", c.Name, c.Clock))
		}
		for _, c := range m.Cryptos {
			got = append(got, string(c.Suite))
		}
		if s := strings.Join(got, " "); s != want || !m.Mux {
			t.Errorf("%v %v: %s, want %s", codecs, suites, s, want)
		}
	}
	const all = "AEAD_AES_128_GCM AES_CM_128_HMAC_SHA1_80 AEAD_AES_256_GCM AES_256_CM_HMAC_SHA1_80 AES_CM_128_HMAC_SHA1_32"
	f(nil, nil, "opus/48000 PCMA/8000 PCMU/8000 telephone-event/48000 telephone-event/8000 "+all)
	f([]string{"pcmu", "OPUS", "G729", "pcmu"}, []string{"AES_CM_128_HMAC_SHA1_80", "NULL"},
		"PCMU/8000 opus/48000 telephone-event/48000 telephone-event/8000 AES_CM_128_HMAC_SHA1_80")
	f([]string{"PCMA"}, []string{"AEAD_AES_256_GCM"}, "PCMA/8000 telephone-event/8000 AEAD_AES_256_GCM")
}

func TestCommandsAreRefusedWithTheCodeThatFits(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	offer := do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "2", Codecs: []string{"opus"}})
	b := newPhone(t, srtp.AEAD128GCM, true)
	f := func(code int64, r mediaapi.Request) {
		t.Helper()
		reply, _ := e.Do(r)
		if reply.Result != mediaapi.ResultError || reply.Code != code || reply.Reason == "" {
			t.Errorf("%+v: got %+v, want %d", r, reply, code)
		}
	}
	f(501, mediaapi.Request{Command: "fly"})
	f(400, mediaapi.Request{Command: mediaapi.LegAccept, SDP: a.offer()})
	f(400, mediaapi.Request{Command: mediaapi.LegAccept, CallID: strings.Repeat("x", 1000), Leg: "1", SDP: a.offer()})
	f(400, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: "nonsense"})
	f(488, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: strings.Replace(a.offer(), "RTP/SAVP", "RTP/AVP", 1)})
	f(488, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: a.offer(), Codecs: []string{"opus"}})
	f(488, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: a.offer(), Suites: []string{"AEAD_AES_256_GCM"}})
	f(488, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: strings.ReplaceAll(a.offer(), "IP4 127.0.0.1", "IP6 ::1")})
	f(503, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: a.offer(), Address: "127.9.9.9"})
	f(488, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "d", Leg: "1", Codecs: []string{"G729"}})
	f(488, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "d", Leg: "1", Suites: []string{"NULL"}})
	f(488, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "2", SDP: b.answerTo(offer.SDP)}) // PCMA was not offered
	b.codecs = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 96}}
	wrong := strings.Replace(b.answerTo(offer.SDP), "crypto:1", "crypto:2", 1) // a tag of another suite
	f(488, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "2", SDP: wrong})
	f(491, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "1", SDP: b.offer()})
	f(481, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "3", SDP: b.offer()})
	f(491, mediaapi.Request{Command: mediaapi.Connect, CallID: "c", Leg: "1", Peer: "2"})
	f(400, mediaapi.Request{Command: mediaapi.Connect, CallID: "c", Leg: "1", Peer: "1"})
	f(481, mediaapi.Request{Command: mediaapi.Connect, CallID: "d", Leg: "1", Peer: "2"})
	f(404, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "../../etc/passwd"})
	f(491, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "2", Prompt: "short"})
	f(503, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
	f(481, mediaapi.Request{Command: mediaapi.Query, CallID: "d"})
	f(400, mediaapi.Request{Command: mediaapi.Host, Address: "here", Epoch: 1})
	f(400, mediaapi.Request{Command: mediaapi.Host, Address: "127.0.0.1", Epoch: 1, Standby: "b"})
	if legs, _ := e.Load(); legs != 2 {
		t.Errorf("%d legs: a refusal left something behind", legs)
	}
	e.Drain()
	f(503, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "new", Leg: "1", SDP: a.offer()})
	do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "3"}) // a call that is there goes on
}
