// Package quality rates speech by what the network did to it: the E-model of
// ITU-T G.107 in the short form of packet telephony, where delay, loss and codec
// are all that differs from call to call. It measures nothing.
package quality

import (
	"math"
	"time"
)

// Codec is what a codec costs (ITU-T G.113): its impairment without loss, and how
// well it stands loss.
type Codec struct{ Ie, Bpl float64 }

// Codecs of the tier. G.711 is with concealment; Opus is not in G.113, its figures
// are those of G.107.2 as seen in the field.
var (
	G711 = Codec{Ie: 0, Bpl: 25.1}
	Opus = Codec{Ie: 10.2, Bpl: 4.3}
)

// R is the transmission rating, 0 to 93.2, of speech that takes delay from mouth to
// ear and loses that share of its packets (0 to 1), each by itself.
func R(c Codec, delay time.Duration, loss float64) float64 {
	d := float64(delay) / float64(time.Millisecond)
	id := 0.024 * d
	if d > 177.3 {
		id += 0.11 * (d - 177.3)
	}
	ppl := 100 * min(max(loss, 0), 1)
	ie := c.Ie
	if ppl > 0 {
		ie += (95 - c.Ie) * ppl / (ppl + c.Bpl)
	}
	return min(max(93.2-id-ie, 0), 93.2)
}

// MOS is the mean opinion that goes with a rating, 1 to 4.41 (G.107 annex B).
func MOS(r float64) float64 {
	if r <= 0 {
		return 1
	}
	return math.Max(1, 1+0.035*r+7e-6*r*(r-60)*(100-r))
}

// Grade is a class of opinions.
type Grade string

// Grades by G.109: users very satisfied or satisfied, some dissatisfied, many
// dissatisfied, nearly all.
const (
	Good Grade = "good"
	Fair Grade = "fair"
	Poor Grade = "poor"
	Bad  Grade = "bad"
)

// Grades lists them, best first.
func Grades() []Grade { return []Grade{Good, Fair, Poor, Bad} }

// GradeOf is the grade of an opinion.
func GradeOf(mos float64) Grade {
	switch {
	case mos >= 4.03:
		return Good
	case mos >= 3.6:
		return Fair
	case mos >= 3.1:
		return Poor
	}
	return Bad
}
