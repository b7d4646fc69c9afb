package codec

import (
	"math"
	"testing"
)

// The 1 kHz reference at 0 dBm0 of ITU-T G.711 tables 5 and 6.
var (
	milliwattALaw  = []byte{0x34, 0x21, 0x21, 0x34, 0xB4, 0xA1, 0xA1, 0xB4}
	milliwattMuLaw = []byte{0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E}
)

func TestMilliwattDecodesToOneKilohertz(t *testing.T) {
	f := func(name string, pcm []int16, overload float64) {
		t.Helper()
		var tone []int16
		for range 100 {
			tone = append(tone, pcm...)
		}
		if r := toneShare(tone, 8000, 1000); r < 0.999 {
			t.Errorf("%s: 1 kHz holds %.4f of the power, want >= 0.999", name, r)
		}
		// 0 dBm0 lies below the theoretical load capacity (3.14 dBm0 for
		// A-law, 3.17 for mu-law).
		peak := math.Sqrt(2*power(tone)) / 32768
		if db := -20 * math.Log10(peak); math.Abs(db-overload) > 0.2 {
			t.Errorf("%s: level is %.2f dB below full load, want %.2f", name, db, overload)
		}
	}
	f("A-law", AppendFromALaw(nil, milliwattALaw), 3.14)
	f("mu-law", AppendFromMuLaw(nil, milliwattMuLaw), 3.17)
}

// The end points of the segments in G.711 tables 1a and 2a: decision value
// below which a code still applies, and the decoder's output for it.
func TestSegmentsFollowTheTables(t *testing.T) {
	f := func(name string, code byte, output int, unit int, decode *[256]int16) {
		t.Helper()
		if got := int(decode[code]); got != output*unit {
			t.Errorf("%s code %#02x decodes to %d, want %d", name, code, got, output*unit)
		}
	}
	for _, row := range []struct {
		code   byte // before inversion of the even bits
		output int  // y of table 1a
	}{
		{0xFF, 4032}, {0xF0, 2112}, {0xE0, 1056}, {0xD0, 528}, {0xC0, 264}, {0xB0, 132}, {0xA0, 66}, {0x90, 33}, {0x80, 1},
	} {
		f("A-law", row.code^0x55, row.output, 8, &aLawDecode)
		f("A-law", row.code^0x55^0x80, -row.output, 8, &aLawDecode)
	}
	for _, row := range []struct {
		code   byte // as sent
		output int  // y of table 2a
	}{
		{0x80, 8031}, {0x8F, 4191}, {0x9F, 2079}, {0xAF, 1023}, {0xBF, 495}, {0xCF, 231}, {0xDF, 99}, {0xEF, 33}, {0xFE, 2}, {0xFF, 0},
	} {
		f("mu-law", row.code, row.output, 4, &muLawDecode)
		f("mu-law", row.code^0x80, -row.output, 4, &muLawDecode)
	}
}

func TestEveryCodeSurvivesDecodingAndEncoding(t *testing.T) {
	for c := range 256 {
		code := byte(c)
		if got := AppendALaw(nil, AppendFromALaw(nil, []byte{code}))[0]; got != code {
			t.Errorf("A-law %#02x came back as %#02x", code, got)
		}
		got := AppendMuLaw(nil, AppendFromMuLaw(nil, []byte{code}))[0]
		// mu-law has two zeros; minus zero comes back as plus zero.
		if got != code && !(code == 0x7F && got == 0xFF) {
			t.Errorf("mu-law %#02x came back as %#02x", code, got)
		}
	}
}

// Every sample takes a code whose output is nearest, give or take the
// direction in which a tie falls.
func TestEncodingPicksTheNearestLevel(t *testing.T) {
	f := func(name string, encode func([]byte, []int16) []byte, decode *[256]int16, slack, limit int) {
		t.Helper()
		for s := -limit; s <= limit; s++ {
			got := int(decode[encode(nil, []int16{int16(s)})[0]])
			best := math.MaxInt
			for _, level := range decode {
				best = min(best, abs(int(level)-s))
			}
			if abs(got-s) > best+slack {
				t.Fatalf("%s: %d coded as %d, nearest is %d away", name, s, got, best)
			}
		}
	}
	// The slack is the part of a sample below the 13th or 14th bit, and at a
	// segment border (where intervals differ in width) the decision value is
	// not half way.
	f("A-law", AppendALaw, &aLawDecode, 512, 32767)
	f("mu-law", AppendMuLaw, &muLawDecode, 512, 32767)
	f("A-law, first segments", AppendALaw, &aLawDecode, 8, 500)
	f("mu-law, first segment", AppendMuLaw, &muLawDecode, 4, 120)
}

// A lost 20 ms in a steady tone is filled with the tone; a long loss falls
// silent.
func TestConcealmentCarriesAToneOverALoss(t *testing.T) {
	d, err := NewDecoder(PCMA, 8000)
	if err != nil {
		t.Fatal(err)
	}
	tone := sine(8000, 450, 8000, 8000)
	encoded := AppendALaw(nil, tone)
	var out []int16
	for i := 0; i < 50; i++ {
		if i == 20 {
			if out, err = d.Conceal(out, 160, encoded[21*160:22*160]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out, err = d.Decode(out, encoded[i*160:(i+1)*160]); err != nil {
			t.Fatal(err)
		}
	}
	lost := out[20*160 : 21*160]
	if r := toneShare(lost, 8000, 450); r < 0.9 {
		t.Errorf("the loss holds %.3f of the tone, want >= 0.9", r)
	}
	if got, want := power(lost), power(tone); got < want/4 {
		t.Errorf("the loss has power %.0f of %.0f", got, want)
	}
	long, _ := d.Conceal(nil, 8000, nil)
	if p := power(long[fadeEnd:]); p != 0 {
		t.Errorf("power %.0f after the fade, want silence", p)
	}
}

// Neither edge of a loss clicks: the sound takes no step that is much larger
// than its own.
func TestConcealmentDoesNotClick(t *testing.T) {
	pcm := make([]int16, 16000)
	for i := range pcm {
		for hz, amplitude := range map[float64]float64{213: 5000, 517: 2500, 893: 1500} {
			pcm[i] += int16(amplitude * math.Sin(2*math.Pi*hz*float64(i)/8000))
		}
	}
	steepest := func(pcm []int16) (step int) {
		for i := 1; i < len(pcm); i++ {
			step = max(step, abs(int(pcm[i])-int(pcm[i-1])))
		}
		return step
	}
	encoded := AppendALaw(nil, pcm)
	clean := AppendFromALaw(nil, encoded)
	for first := 10; first < 40; first++ {
		for lost := 1; lost <= 4; lost++ {
			d, err := NewDecoder(PCMA, 8000)
			if err != nil {
				t.Fatal(err)
			}
			out, _ := d.Decode(nil, encoded[:first*160])
			out, _ = d.Conceal(out, lost*160, nil)
			out, _ = d.Decode(out, encoded[(first+lost)*160:(first+lost+2)*160])
			if got, limit := steepest(out), steepest(clean)*5/4; got > limit {
				t.Errorf("loss of %d after %d frames: a step of %d, want <= %d", lost, first, got, limit)
			}
		}
	}
}

func abs(v int) int { return max(v, -v) }
