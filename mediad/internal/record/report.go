package record

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"trunkline/mediad/internal/codec"
)

// Report says what an exported recording holds and what it lacks.
type Report struct {
	Call         string
	Start        time.Time // when the first sample was heard
	Duration     time.Duration
	Rate         int    // Hz
	Codec        string // as sent: "PCMA", or "opus/PCMA" where left and right differ
	PacketsLeft  int
	PacketsRight int
	LostLeft     int // missing in the sequence
	LostRight    int
	Gaps         []Gap
	Pauses       []Pause
	Legs         []Leg
	Duplicates   int // packets that two workers had
	Undecodable  int // payloads the codec refused
	Damaged      int // unreadable places in the segments
	Erased       int // segments whose keys were destroyed
	Missing      int // segments that could not be found
	Segments     int
	SHA256       string // of the file, in hex, where somebody has worked it out
}

// Gap is time in which a leg should have been heard and was not.
type Gap struct {
	Side     Side
	Leg      string
	At       time.Duration // from the start of the file
	Duration time.Duration
	Packets  int // missing; 0 where the sender began anew and nobody knows
	Reason   Reason
}

// Reason is why there is a gap.
type Reason string

// Reasons of gaps.
const (
	Lost   Reason = "lost"   // packets of the sequence never came, or could not be read
	Anew   Reason = "anew"   // the sender began a new sequence
	Paused Reason = "paused" // the recording was
)

// Pause is time in which the recording was paused.
type Pause struct {
	At       time.Duration // from the start of the file
	Duration time.Duration
	Open     bool // it was never resumed: Duration ends with the file
}

// MarshalJSON gives times in seconds.
func (p Pause) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		At       float64 `json:"at_seconds"`
		Duration float64 `json:"duration_seconds"`
		Open     bool    `json:"open,omitempty"`
	}{p.At.Seconds(), p.Duration.Seconds(), p.Open})
}

// Leg sums up one leg.
type Leg struct {
	Leg      string  `json:"leg"`
	Side     Side    `json:"side"`
	Codec    string  `json:"codec"`
	Packets  int     `json:"packets"`
	Lost     int     `json:"lost"`
	Streams  int     `json:"streams"`   // times the sender began anew, plus one
	DriftPPM float64 `json:"drift_ppm"` // of the sender's clock against ours, corrected
}

// MarshalJSON gives times in seconds.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Call         string    `json:"call"`
		Start        time.Time `json:"start"`
		Duration     float64   `json:"duration_seconds"`
		Rate         int       `json:"rate_hz"`
		Codec        string    `json:"codec"`
		PacketsLeft  int       `json:"packets_left"`
		PacketsRight int       `json:"packets_right"`
		LostLeft     int       `json:"lost_left"`
		LostRight    int       `json:"lost_right"`
		Gaps         []Gap     `json:"gaps"`
		Pauses       []Pause   `json:"pauses"`
		Legs         []Leg     `json:"legs"`
		Duplicates   int       `json:"duplicates"`
		Undecodable  int       `json:"undecodable"`
		Damaged      int       `json:"damaged"`
		Erased       int       `json:"erased"`
		Missing      int       `json:"missing"`
		Segments     int       `json:"segments"`
		SHA256       string    `json:"sha256,omitempty"`
	}{r.Call, r.Start, r.Duration.Seconds(), r.Rate, r.Codec, r.PacketsLeft, r.PacketsRight, r.LostLeft, r.LostRight,
		append([]Gap{}, r.Gaps...), append([]Pause{}, r.Pauses...), r.Legs, r.Duplicates, r.Undecodable, r.Damaged, r.Erased, r.Missing, r.Segments, r.SHA256})
}

// MarshalJSON gives times in seconds.
func (g Gap) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Side     Side    `json:"side"`
		Leg      string  `json:"leg"`
		At       float64 `json:"at_seconds"`
		Duration float64 `json:"duration_seconds"`
		Packets  int     `json:"packets"`
		Reason   Reason  `json:"reason"`
	}{g.Side, g.Leg, g.At.Seconds(), g.Duration.Seconds(), g.Packets, g.Reason})
}

// describe counts packets, losses and gaps.
func (r *Report) describe(runs []*run, pauses []span, origin int64) {
	legs := make(map[string]*Leg)
	codecs := make(map[string]map[string]bool) // leg, then codec
	ends := make(map[string]int64)             // of each leg's sound so far, ns
	for _, run := range runs {
		leg := legs[run.leg]
		if leg == nil {
			leg = &Leg{Leg: run.leg, Side: run.side}
			legs[run.leg] = leg
			codecs[run.leg] = make(map[string]bool)
		} else if hole := run.at(0) - ends[run.leg]; hole >= int64(2*codec.FrameDuration) {
			r.addGap(leg, span{ends[run.leg], run.at(0)}, 0, pauses, origin)
		}
		leg.Streams++
		leg.Packets += len(run.packets)
		leg.DriftPPM = math.Round(run.drift*1e7) / 10
		for i, p := range run.packets {
			if name := codecName(p.codec); name != "" {
				codecs[run.leg][name] = true
			}
			end := run.at(p.ts + p.ticks())
			ends[run.leg] = max(ends[run.leg], end)
			if i == 0 {
				continue
			}
			before := run.packets[i-1]
			if missing := int(p.n - before.n - 1); missing > 0 {
				from := run.at(before.ts + before.ticks())
				r.addGap(leg, span{from, max(from, run.at(p.ts))}, missing, pauses, origin)
			}
		}
	}
	slices.SortStableFunc(r.Gaps, func(a, b Gap) int { return cmp.Compare(a.At, b.At) })
	var sides [2]map[string]bool
	for id, leg := range legs {
		leg.Codec = joined(codecs[id])
		r.Legs = append(r.Legs, *leg)
		if sides[leg.Side] == nil {
			sides[leg.Side] = make(map[string]bool)
		}
		for name := range codecs[id] {
			sides[leg.Side][name] = true
		}
		if leg.Side == Customer {
			r.PacketsLeft += leg.Packets
			r.LostLeft += leg.Lost
		} else {
			r.PacketsRight += leg.Packets
			r.LostRight += leg.Lost
		}
	}
	slices.SortFunc(r.Legs, func(a, b Leg) int { return cmp.Compare(a.Leg, b.Leg) })
	left, right := joined(sides[Customer]), joined(sides[Operator])
	if r.Codec = left; right != left {
		r.Codec = strings.Trim(left+"/"+right, "/")
	}
}

// addGap lists time in which a leg was not heard, and counts what was lost. The
// number of missing packets is 0 where a new sequence began.
func (r *Report) addGap(leg *Leg, gap span, missing int, pauses []span, origin int64) {
	left := missing
	pieces := gap.cut(pauses)
	for i, p := range pieces {
		packets := left
		if i < len(pieces)-1 {
			packets = min(left, int((p.to-p.from+int64(codec.FrameDuration)/2)/int64(codec.FrameDuration)))
		}
		left -= packets
		reason := Lost
		switch {
		case p.paused:
			reason = Paused
		case missing == 0:
			reason = Anew
		}
		if reason == Lost {
			leg.Lost += packets
		}
		r.Gaps = append(r.Gaps, Gap{Side: leg.Side, Leg: leg.Leg, At: time.Duration(p.from - origin),
			Duration: time.Duration(p.to - p.from), Packets: packets, Reason: reason})
	}
}

// listPauses: once the length of the file is known.
func (r *Report) listPauses(pauses []span, origin int64) {
	for _, p := range pauses {
		from, open := max(0, time.Duration(p.from-origin)), p.to == math.MaxInt64
		to := r.Duration
		if !open {
			to = time.Duration(p.to - origin)
		}
		r.Pauses = append(r.Pauses, Pause{At: from, Duration: max(0, to-from), Open: open})
	}
}

func joined(names map[string]bool) string {
	var list []string
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, "+")
}

// ticks is how long a packet sounds on its run's clock.
func (p placed) ticks() int64 {
	return int64(codec.PayloadTicks(codecName(p.codec), p.payload))
}
