package endpoint

import (
	"testing"

	"github.com/hraban/opus"

	"trunkline/loadtest/check"
)

func TestALawTableInvertsTheEncoder(t *testing.T) {
	for i := range 256 {
		if got := alawEncode(alawTable[i]); got != byte(i) {
			t.Fatalf("code %#02x decodes to %d, which encodes to %#02x", i, alawTable[i], got)
		}
	}
	// ITU-T G.711 table 1a: full scale and the smallest step.
	for v, want := range map[int16]byte{32767: 0xAA, -32768: 0x2A, 0: 0xD5, -1: 0x55} {
		if got := alawEncode(v); got != want {
			t.Errorf("alawEncode(%d) = %#02x, want %#02x", v, got, want)
		}
	}
}

func TestMarksSurviveAndTheToneStaysPure(t *testing.T) {
	for _, c := range []Codec{PCMA, Opus} {
		src, err := newSource(c, 650, 7)
		if err != nil {
			t.Fatal(err)
		}
		dec, err := opus.NewDecoder(48000, 1)
		if err != nil {
			t.Fatal(err)
		}
		var pcm, payload []byte
		_ = pcm
		var samples []int16
		for n := range uint32(20) {
			payload = src.payload(payload, n)
			m, ok := readMark(c, payload)
			if !ok || m != (mark{source: 7, n: n}) {
				t.Fatalf("%s packet %d reads as %+v %v", c, n, m, ok)
			}
			if c == PCMA {
				for _, b := range payload {
					samples = append(samples, alawTable[b])
				}
				continue
			}
			buf := make([]int16, opusFrame)
			k, err := dec.Decode(payload, buf)
			if err != nil || k != opusFrame {
				t.Fatalf("Opus packet %d with a mark: %d samples, %v", n, k, err)
			}
			samples = append(samples, buf...)
		}
		if s := check.ToneShare(samples[len(samples)/2:], c.clock(), 650); s < 0.9 {
			t.Errorf("%s: the tone is %.3f of what is heard", c, s)
		}
		if s := check.ToneShare(samples[len(samples)/2:], c.clock(), 700); s > 0.1 {
			t.Errorf("%s: a tone that is not there is %.3f of what is heard", c, s)
		}
	}
}

func TestOrdinaryAudioBearsNoMark(t *testing.T) {
	for i := range 256 {
		payload := make([]byte, 160)
		for j := range payload {
			payload[j] = byte(i*31 + j*7)
		}
		if m, ok := readMark(PCMA, payload); ok {
			t.Fatalf("pattern %d reads as %+v", i, m)
		}
	}
}
