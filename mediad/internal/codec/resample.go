package codec

import (
	"fmt"
	"math"
)

// A Resampler converts a stream of mono PCM from one rate to another by a
// polyphase filter: a sinc cut off below the lower Nyquist frequency under a
// Kaiser window, about 80 dB of stop band. It adds no delay: output sample k
// stands for the same instant as input position k*from/to, and the last ones
// come with Flush.
type Resampler struct {
	up, down int // to/from in lowest terms
	half     int // filter reach on either side, in input samples
	phases   [][]float32
	history  []float32 // input not yet fully used; starts half samples before base
	base     int       // input index of history[half]
	next     int       // next output index
	in       int       // input samples taken
}

const (
	resampleZeros = 20  // zero crossings of the sinc on either side
	kaiserBeta    = 8.0 // about 80 dB
	passBand      = 0.92
	maxPhases     = 640 // 22.05 to 16 kHz needs 320
)

// NewResampler converts from one rate to another, both in Hz. Their ratio
// must be one of small integers, as between all usual audio rates.
func NewResampler(from, to int) (*Resampler, error) {
	if from <= 0 || to <= 0 {
		return nil, fmt.Errorf("resample %d Hz to %d Hz: not a rate", from, to)
	}
	g := gcd(from, to)
	r := &Resampler{up: to / g, down: from / g}
	if r.up > maxPhases || r.down > maxPhases {
		return nil, fmt.Errorf("resample %d Hz to %d Hz: no ratio of small integers", from, to)
	}
	if r.up == r.down {
		return r, nil
	}
	// Cut-off relative to the input rate's Nyquist frequency.
	cutoff := passBand * min(1, float64(to)/float64(from))
	r.half = int(math.Ceil(resampleZeros / cutoff))
	r.phases = make([][]float32, r.up)
	for p := range r.phases {
		r.phases[p] = sincPhase(r.half, float64(p)/float64(r.up), cutoff)
	}
	r.history = make([]float32, r.half)
	return r, nil
}

// Resample takes src and appends what can be computed so far to dst.
func (r *Resampler) Resample(dst, src []int16) []int16 {
	if r.up == r.down {
		return append(dst, src...)
	}
	r.in += len(src)
	for _, v := range src {
		r.history = append(r.history, float32(v))
	}
	return r.run(dst, math.MaxInt)
}

// Flush appends the rest, so that n input samples have made n*to/from output
// samples, rounded up. The resampler is then ready for a new stream.
func (r *Resampler) Flush(dst []int16) []int16 {
	if r.up == r.down {
		return dst
	}
	total := (r.in*r.up + r.down - 1) / r.down
	r.history = append(r.history, make([]float32, r.half+1)...)
	dst = r.run(dst, total)
	r.history = append(r.history[:0], make([]float32, r.half)...)
	r.base, r.next, r.in = 0, 0, 0
	return dst
}

func (r *Resampler) run(dst []int16, limit int) []int16 {
	for r.next < limit {
		pos, phase := r.next*r.down/r.up, r.next*r.down%r.up
		first := pos - r.base + 1 // index in history of input pos-half+1
		if first+2*r.half > len(r.history) {
			break
		}
		dst = append(dst, clip(dot(r.phases[phase], r.history[first:])))
		r.next++
	}
	if used := min(r.next*r.down/r.up-r.base, len(r.history)); used > 4096 {
		r.history = r.history[:copy(r.history, r.history[used:])]
		r.base += used
	}
	return dst
}

// Convert resamples a whole piece of PCM.
func Convert(pcm []int16, from, to int) ([]int16, error) {
	r, err := NewResampler(from, to)
	if err != nil {
		return nil, err
	}
	out := make([]int16, 0, len(pcm)*to/from+1)
	return r.Flush(r.Resample(out, pcm)), nil
}

// sincPhase returns the filter for an output instant fraction samples behind
// the tap with index half-1, with unit gain at 0 Hz.
func sincPhase(half int, fraction, cutoff float64) []float32 {
	taps, sum := make([]float64, 2*half), 0.0
	for i := range taps {
		x := float64(i-half+1) - fraction
		taps[i] = cutoff * sinc(cutoff*x) * kaiser(x/float64(half))
		sum += taps[i]
	}
	phase := make([]float32, len(taps))
	for i, t := range taps {
		phase[i] = float32(t / sum)
	}
	return phase
}

// dot sums in four lanes, which the processor can overlap.
func dot(taps, window []float32) float32 {
	window = window[:len(taps)]
	var a, b, c, d float32
	i := 0
	for ; i+4 <= len(taps); i += 4 {
		t, w := taps[i:i+4:i+4], window[i:i+4:i+4]
		a += t[0] * w[0]
		b += t[1] * w[1]
		c += t[2] * w[2]
		d += t[3] * w[3]
	}
	for ; i < len(taps); i++ {
		a += taps[i] * window[i]
	}
	return a + b + (c + d)
}

func clip(v float32) int16 {
	switch {
	case v >= 32767:
		return 32767
	case v <= -32768:
		return -32768
	case v < 0:
		return int16(v - 0.5)
	}
	return int16(v + 0.5)
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window for x in [-1, 1].
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel0(kaiserBeta*math.Sqrt(1-x*x)) / bessel0(kaiserBeta)
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= (x / (2 * k)) * (x / (2 * k))
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
