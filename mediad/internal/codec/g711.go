package codec

import (
	"math"
	"math/bits"
)

// ITU-T G.711 compresses 13-bit (A-law, table 1) or 14-bit (mu-law, table 2)
// samples to 8 bits. Here linear PCM has 16 bits, so a step of the tables is
// 8 respectively 4 units.

var (
	aLawDecode  = expandAll(expandALaw)
	muLawDecode = expandAll(expandMuLaw)
	// Encoding looks up the 13 or 14 significant bits.
	aLawEncode  = compressALaw()
	muLawEncode = compressMuLaw()
)

func expandAll(f func(byte) int16) (t [256]int16) {
	for i := range t {
		t[i] = f(byte(i))
	}
	return t
}

// expandALaw inverts the even bits (G.711 table 1a, note 2) and returns the
// middle of the decision interval.
func expandALaw(c byte) int16 {
	c ^= 0x55
	segment, step := int(c>>4&7), int(c&15)
	v := step<<4 + 8
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if c&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

// expandMuLaw: all bits are inverted, and the bias of 33 steps makes every
// segment start at a power of two.
func expandMuLaw(c byte) int16 {
	c = ^c
	segment, step := int(c>>4&7), int(c&15)
	v := (step<<3+0x84)<<segment - 0x84
	if c&0x80 != 0 {
		v = -v
	}
	return int16(v)
}

func compressALaw() (t [8192]byte) {
	for i := range t {
		v := int(int16(i<<3)) >> 3 // 13 bits, signed
		sign := byte(0x80)
		if v < 0 {
			sign, v = 0, -v-1
		}
		segment := max(0, bits.Len(uint(v))-5)
		step := v >> 1
		if segment > 0 {
			step = v >> segment
		}
		t[i] = (sign | byte(segment)<<4 | byte(step&15)) ^ 0x55
	}
	return t
}

func compressMuLaw() (t [16384]byte) {
	for i := range t {
		v := int(int16(i<<2)) >> 2 // 14 bits, signed
		sign := byte(0)
		if v < 0 {
			// One's complement, so that -1 falls in the first negative interval.
			sign, v = 0x80, -v-1
		}
		v = min(v+33, 8191)
		segment := bits.Len(uint(v)) - 6
		t[i] = ^(sign | byte(segment)<<4 | byte(v>>(segment+1)&15))
	}
	return t
}

// AppendALaw appends one A-law octet per sample.
func AppendALaw(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		dst = append(dst, aLawEncode[uint16(s)>>3])
	}
	return dst
}

// AppendMuLaw appends one mu-law octet per sample.
func AppendMuLaw(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		dst = append(dst, muLawEncode[uint16(s)>>2])
	}
	return dst
}

// AppendFromALaw appends one 16-bit sample per A-law octet.
func AppendFromALaw(dst []int16, payload []byte) []int16 {
	for _, c := range payload {
		dst = append(dst, aLawDecode[c])
	}
	return dst
}

// AppendFromMuLaw appends one 16-bit sample per mu-law octet.
func AppendFromMuLaw(dst []int16, payload []byte) []int16 {
	for _, c := range payload {
		dst = append(dst, muLawDecode[c])
	}
	return dst
}

// The pitch of speech lies between 66 and 200 Hz (G.711 Appendix I.2): 40 to
// 120 samples at 8 kHz.
const (
	pitchMin    = 40
	pitchMax    = 120
	historySize = 3 * pitchMax
	fadeStart   = 80  // 10 ms at full level
	fadeEnd     = 480 // silent after 60 ms
	overlap     = 32  // 4 ms of cross-fade on both sides of a loss
)

// concealer keeps what was last heard and stretches it over a loss.
type concealer struct {
	history [historySize]int16 // latest last
	period  int                // of the loss under way; 0 outside
	done    int                // samples concealed in it
	step    int                // from where the period begins to where the sound broke off
}

// good takes the samples of a received payload, blending their start with
// the concealment they follow.
func (c *concealer) good(pcm []int16) {
	if c.period > 0 {
		n := min(overlap, len(pcm))
		for i := range n {
			pcm[i] = int16((int(c.next())*(n-i) + int(pcm[i])*i) / n)
		}
		c.period, c.done = 0, 0
	}
	if n := len(pcm); n < historySize {
		copy(c.history[:], c.history[n:])
		copy(c.history[historySize-n:], pcm)
		return
	}
	copy(c.history[:], pcm[len(pcm)-historySize:])
}

func (c *concealer) lost(dst []int16, samples int) []int16 {
	if c.period == 0 {
		c.period, c.done = c.findPitch(), 0
		c.step = int(c.history[historySize-1]) - int(c.history[historySize-1-c.period])
		c.smoothSeam()
	}
	for range samples {
		dst = append(dst, c.next())
	}
	return dst
}

// next repeats the last pitch period, falling linearly to silence.
func (c *concealer) next() int16 {
	n := c.done
	c.done++
	if n >= fadeEnd {
		return 0
	}
	s := int(c.history[historySize-c.period+n%c.period])
	if n < overlap {
		s += c.step * (overlap - n) / overlap // begin where the sound broke off
	}
	if n > fadeStart {
		s = s * (fadeEnd - n) / (fadeEnd - fadeStart)
	}
	return int16(max(math.MinInt16, min(math.MaxInt16, s)))
}

// smoothSeam bends the end of the last period towards what preceded that
// period, so that its repetition has no step.
func (c *concealer) smoothSeam() {
	n := min(overlap, c.period/4)
	for i := range n {
		at := historySize - n + i
		before := int(c.history[at-c.period])
		c.history[at] = int16((int(c.history[at])*(n-i) + before*i) / n)
	}
}

// findPitch returns the lag at which the newest samples most resemble the
// ones before them, by normalised correlation.
func (c *concealer) findPitch() int {
	const window = 160
	newest := c.history[historySize-window:]
	best, bestScore := pitchMax, 0.0
	for lag := pitchMin; lag <= pitchMax; lag++ {
		var cross, energy float64
		earlier := c.history[historySize-window-lag:]
		for i, s := range newest {
			e := float64(earlier[i])
			cross += float64(s) * e
			energy += e * e
		}
		if cross <= 0 || energy == 0 {
			continue
		}
		if score := cross * cross / energy; score > bestScore {
			best, bestScore = lag, score
		}
	}
	return best
}
