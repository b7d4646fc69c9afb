package codec

import (
	"math"
	"testing"
)

// A stretched tone lasts longer by the ratio and is lower by it, without
// delay, however it is cut into pieces.
func TestStretchingKeepsTimeAndPitch(t *testing.T) {
	f := func(ratio float64, piece int) {
		t.Helper()
		const rate, hz = 8000, 700.0
		in := sine(rate, hz, 10000, 30*rate)
		s := NewStretcher(ratio)
		var out []int16
		for rest := in; len(rest) > 0; {
			n := min(piece, len(rest))
			out = s.Stretch(out, rest[:n])
			rest = rest[n:]
		}
		out = s.Flush(out)
		if want := int(math.Ceil(float64(len(in)) * ratio)); max(len(out)-want, want-len(out)) > 1 {
			t.Errorf("ratio %v: %d samples, want %d", ratio, len(out), want)
		}
		want := sine(rate, hz/ratio, 10000, len(out))
		var noise []int16
		for i := 100; i < len(out)-100; i++ {
			noise = append(noise, out[i]-want[i])
		}
		if db := 10 * math.Log10(power(noise)/power(want)+1e-12); db > -50 {
			t.Errorf("ratio %v: noise at %.1f dB", ratio, db)
		}
		if n := cap(s.history); n > 4*(4096+piece) {
			t.Errorf("ratio %v: keeps %d samples", ratio, n)
		}
	}
	f(1.0001, 160)
	f(0.9999, 160)
	f(1.0005, 37)
	f(0.9995, 5000)
}
