package record

import (
	"encoding/json"
	"math"
)

// peaksPerSecond is how many pairs of least and greatest samples there are.
const peaksPerSecond = 10

// Peaks is an outline of the sound, for drawing it: in JSON it is data of
// audiowaveform, version 2, which players of waveforms read.
type Peaks struct {
	rate   int
	per    int // samples
	filled int
	least  [2]int16
	most   [2]int16
	data   []int8 // left least, left most, right least, right most, and again
}

func (p *Peaks) begin(rate int) {
	*p = Peaks{rate: rate, per: rate / peaksPerSecond}
	p.clear()
}

func (p *Peaks) clear() {
	p.filled = 0
	p.least = [2]int16{math.MaxInt16, math.MaxInt16}
	p.most = [2]int16{math.MinInt16, math.MinInt16}
}

// add takes samples of both channels, clipped to 16 bits as in the file.
func (p *Peaks) add(left, right []int32) {
	for i := range left {
		for side, v := range [2]int16{clip16(left[i]), clip16(right[i])} {
			p.least[side], p.most[side] = min(p.least[side], v), max(p.most[side], v)
		}
		if p.filled++; p.filled == p.per {
			p.flush()
		}
	}
}

// flush ends an interval; the last may be short.
func (p *Peaks) flush() {
	if p.filled == 0 {
		return
	}
	for side := range p.least {
		p.data = append(p.data, int8(p.least[side]>>8), int8(p.most[side]>>8))
	}
	p.clear()
}

// MarshalJSON writes the format of audiowaveform.
func (p *Peaks) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Version         int    `json:"version"`
		Channels        int    `json:"channels"`
		SampleRate      int    `json:"sample_rate"`
		SamplesPerPixel int    `json:"samples_per_pixel"`
		Bits            int    `json:"bits"`
		Length          int    `json:"length"`
		Data            []int8 `json:"data"`
	}{2, 2, p.rate, p.per, 8, len(p.data) / 4, append([]int8{}, p.data...)})
}
