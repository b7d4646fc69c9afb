package codec

import "math"

// A Stretcher plays a stream slower or faster by up to a per mille, to make up
// for the drift of its sender's clock. Like Resampler it adds no delay.
type Stretcher struct {
	step    float64 // input samples per output sample
	phases  *[stretchPhases][]float32
	history []float32
	base    int // input index of history[stretchHalf]
	next    int // next output index
	in      int // input samples taken
}

const (
	stretchPhases = 512 // the nearest one is used: noise 57 dB down at most
	stretchHalf   = 16
)

var stretchTable = func() (t [stretchPhases][]float32) {
	for p := range t {
		t[p] = sincPhase(stretchHalf, float64(p)/stretchPhases, passBand)
	}
	return t
}()

// NewStretcher makes ratio output samples per input sample.
func NewStretcher(ratio float64) *Stretcher {
	return &Stretcher{step: 1 / ratio, phases: &stretchTable, history: make([]float32, stretchHalf)}
}

// Stretch takes src and appends what can be computed so far to dst.
func (s *Stretcher) Stretch(dst, src []int16) []int16 {
	s.in += len(src)
	for _, v := range src {
		s.history = append(s.history, float32(v))
	}
	return s.run(dst, math.MaxInt)
}

// Flush appends the rest.
func (s *Stretcher) Flush(dst []int16) []int16 {
	s.history = append(s.history, make([]float32, stretchHalf+1)...)
	return s.run(dst, int(math.Ceil(float64(s.in)/s.step)))
}

func (s *Stretcher) run(dst []int16, limit int) []int16 {
	for s.next < limit {
		whole, fraction := math.Modf(float64(s.next) * s.step)
		pos, phase := int(whole), int(fraction*stretchPhases+0.5)
		if phase == stretchPhases {
			pos, phase = pos+1, 0
		}
		first := pos - s.base + 1
		if first+2*stretchHalf > len(s.history) {
			break
		}
		dst = append(dst, clip(dot(s.phases[phase], s.history[first:])))
		s.next++
	}
	if used := min(int(float64(s.next)*s.step)-s.base, len(s.history)); used > 4096 {
		s.history = s.history[:copy(s.history, s.history[used:])]
		s.base += used
	}
	return dst
}
