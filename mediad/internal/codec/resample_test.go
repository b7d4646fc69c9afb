package codec

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var resampleRates = []int{8000, 16000, 22050, 24000, 48000}

// A tone below both Nyquist frequencies comes out as the same tone at the
// same instants: no delay, no change of level.
func TestResamplingKeepsToneLevelAndTime(t *testing.T) {
	f := func(from, to int) {
		t.Helper()
		const hz, amplitude = 700.0, 10000.0
		out, err := Convert(sine(from, hz, amplitude, from), from, to)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != to {
			t.Fatalf("%d to %d: %d samples of one second", from, to, len(out))
		}
		want := sine(to, hz, amplitude, to)
		worst := 0
		for i := to / 50; i < to-to/50; i++ { // the edges see the cut-off tone
			worst = max(worst, abs(int(out[i])-int(want[i])))
		}
		if worst > 20 {
			t.Errorf("%d to %d: off by up to %d", from, to, worst)
		}
	}
	for _, from := range resampleRates {
		for _, to := range resampleRates {
			f(from, to)
		}
	}
}

func TestResamplingDownSuppressesAliases(t *testing.T) {
	f := func(from, to int, hz float64) {
		t.Helper()
		in := sine(from, hz, 10000, from)
		out, err := Convert(in, from, to)
		if err != nil {
			t.Fatal(err)
		}
		out = out[to/50 : to-to/50]
		if db := 10 * math.Log10(power(out)/power(in)+1e-12); db > -60 {
			t.Errorf("%d to %d: %.0f Hz is left at %.1f dB", from, to, hz, db)
		}
	}
	f(48000, 8000, 4700)
	f(48000, 8000, 9000)
	f(16000, 8000, 5000)
	f(48000, 16000, 9500)
}

// However a stream is cut into pieces, the result is the same.
func TestResamplingDoesNotDependOnPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SampledFrom(resampleRates).Draw(t, "from")
		to := rapid.SampledFrom(resampleRates).Draw(t, "to")
		in := rapid.SliceOfN(rapid.Int16(), 0, 3000).Draw(t, "pcm")
		whole, err := Convert(in, from, to)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewResampler(from, to)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // Flush makes it ready for another stream
			var out []int16
			for rest := in; len(rest) > 0; {
				n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
				out = r.Resample(out, rest[:n])
				rest = rest[n:]
			}
			if out = r.Flush(out); !slices.Equal(out, whole) {
				t.Fatalf("%d samples in pieces, %d at once, or other values", len(out), len(whole))
			}
		}
	})
}

// A long stream uses no growing memory.
func TestResamplerForgetsOldInput(t *testing.T) {
	r, err := NewResampler(8000, 48000)
	if err != nil {
		t.Fatal(err)
	}
	in, buffer := sine(8000, 440, 10000, 160), make([]int16, 0, 2000)
	for range 3000 {
		r.Resample(buffer, in)
	}
	if n := cap(r.history); n > 40000 {
		t.Errorf("keeps %d samples", n)
	}
}

func TestOddRatesAreRefused(t *testing.T) {
	for _, from := range []int{0, -8000, 44101} {
		if _, err := NewResampler(from, 8000); err == nil {
			t.Errorf("%d Hz was accepted", from)
		}
	}
}

func BenchmarkResample8kTo48k(b *testing.B) {
	r, err := NewResampler(8000, 48000)
	if err != nil {
		b.Fatal(err)
	}
	in, buffer := sine(8000, 440, 10000, 160), make([]int16, 0, 2000)
	for b.Loop() {
		r.Resample(buffer, in)
	}
}
