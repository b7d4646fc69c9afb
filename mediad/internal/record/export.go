package record

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
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
	Legs         []Leg
	Duplicates   int // packets that two workers had
	Undecodable  int // payloads the codec refused
	Damaged      int // unreadable places in the segments
	Erased       int // segments whose keys were destroyed
	Segments     int
}

// Gap is time in which a leg should have been heard and was not.
type Gap struct {
	Side     Side
	Leg      string
	At       time.Duration // from the start of the file
	Duration time.Duration
	Packets  int // missing; 0 where the sender began anew and nobody knows
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
		Legs         []Leg     `json:"legs"`
		Duplicates   int       `json:"duplicates"`
		Undecodable  int       `json:"undecodable"`
		Damaged      int       `json:"damaged"`
		Erased       int       `json:"erased"`
		Segments     int       `json:"segments"`
	}{r.Call, r.Start, r.Duration.Seconds(), r.Rate, r.Codec, r.PacketsLeft, r.PacketsRight, r.LostLeft, r.LostRight,
		append([]Gap{}, r.Gaps...), r.Legs, r.Duplicates, r.Undecodable, r.Damaged, r.Erased, r.Segments})
}

// MarshalJSON gives times in seconds.
func (g Gap) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Side     Side    `json:"side"`
		Leg      string  `json:"leg"`
		At       float64 `json:"at_seconds"`
		Duration float64 `json:"duration_seconds"`
		Packets  int     `json:"packets"`
	}{g.Side, g.Leg, g.At.Seconds(), g.Duration.Seconds(), g.Packets})
}

// Export writes a call as a stereo WAV file to w, the customer on the left and
// the operator on the right: 8 kHz where both sides sent G.711, otherwise
// 48 kHz. Each of dirs is one worker's log; several may hold parts of the call,
// or the same packets. Logs may be open for writing meanwhile.
//
// Errors: ErrNoRecording, ErrErased, ErrMasterKey, and those of the disk.
func Export(dirs []string, master []byte, call string, w io.WriteSeeker) (Report, error) {
	rec, err := readRecording(dirs, master, call)
	if err != nil {
		return Report{}, fmt.Errorf("export %s: %w", call, err)
	}
	report := Report{Call: call, Segments: rec.segments, Erased: rec.erased, Damaged: rec.damaged}
	runs, duplicates := timeline(rec.sources)
	report.Duplicates = duplicates
	if len(runs) == 0 {
		return report, fmt.Errorf("export %s: %w that can be heard", call, ErrNoRecording)
	}
	origin := runs[0].at(0)
	report.Start = time.Unix(0, origin).UTC()
	report.describe(runs, origin)
	report.Rate = fileRate(runs, origin)
	if err := report.render(runs, origin, w); err != nil {
		return report, fmt.Errorf("export %s: %w", call, err)
	}
	return report, nil
}

// fileRate is 8 kHz for G.711 alone, otherwise 48 kHz, or less where a WAV
// file would not hold the call.
func fileRate(runs []*run, origin int64) int {
	end := int64(0)
	onlyG711 := true
	for _, r := range runs {
		end = max(end, r.at(r.packets[len(r.packets)-1].ts)-origin)
		onlyG711 = onlyG711 && r.clock == 8000
	}
	if onlyG711 {
		return 8000
	}
	for _, rate := range []int{48000, 24000, 16000} {
		if (end/1e9+10)*int64(rate) < maxWAVFrames {
			return rate
		}
	}
	return 8000
}

// describe counts packets, losses and gaps.
func (r *Report) describe(runs []*run, origin int64) {
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
			r.Gaps = append(r.Gaps, Gap{Side: run.side, Leg: run.leg,
				At: time.Duration(ends[run.leg] - origin), Duration: time.Duration(hole)})
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
				leg.Lost += missing
				r.Gaps = append(r.Gaps, Gap{Side: run.side, Leg: run.leg, At: time.Duration(from - origin),
					Duration: time.Duration(max(0, run.at(p.ts)-from)), Packets: missing})
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

// channel is one side of the file: the runs not yet over.
type channel struct {
	players []*player
	mix     []int32
	used    int // samples of mix that belong to the file
	bad     int
	err     error
}

// play mixes the part of n samples that begins at from.
func (c *channel) play(from int64, n int) {
	if c.mix == nil {
		c.mix = make([]int32, n)
	}
	clear(c.mix)
	c.used = 0
	kept := c.players[:0]
	for _, p := range c.players {
		end, more, err := p.add(c.mix, from)
		if err != nil {
			c.err = err
			return
		}
		c.used = max(c.used, end)
		if more {
			kept = append(kept, p)
			continue
		}
		c.bad += p.bad
	}
	c.players = kept
}

// render plays all runs, a second at a time, the two sides beside each other.
func (r *Report) render(runs []*run, origin int64, w io.WriteSeeker) error {
	var channels [2]channel
	for _, run := range runs {
		p, err := newPlayer(run, r.Rate, origin)
		if err != nil {
			return err
		}
		c := &channels[run.side]
		c.players = append(c.players, p)
	}
	out, err := newWAVWriter(w, r.Rate)
	if err != nil {
		return err
	}
	for from := int64(0); ; from += int64(r.Rate) {
		var wait sync.WaitGroup
		for i := range channels {
			wait.Go(func() { channels[i].play(from, r.Rate) })
		}
		wait.Wait()
		used := 0
		for i := range channels {
			if channels[i].err != nil {
				return channels[i].err
			}
			used = max(used, channels[i].used)
		}
		if err := out.write(channels[Customer].mix[:used], channels[Operator].mix[:used]); err != nil {
			return err
		}
		if len(channels[Customer].players)+len(channels[Operator].players) == 0 {
			break
		}
	}
	r.Undecodable = channels[Customer].bad + channels[Operator].bad
	r.Duration = time.Duration(out.frames) * time.Second / time.Duration(r.Rate)
	return out.finish()
}
