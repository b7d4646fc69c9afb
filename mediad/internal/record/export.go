package record

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Export writes a call as a stereo WAV file to w, the customer on the left and
// the operator on the right: 8 kHz where both sides sent G.711, otherwise
// 48 kHz. Several workers may hold parts of the call, or the same packets. Logs
// may be open for writing meanwhile.
//
// Errors: ErrNoRecording, ErrErased, ErrMasterKey, and those of the disk.
func Export(ctx context.Context, from Sources, master []byte, call string, w io.WriteSeeker) (Report, error) {
	return ExportWithPeaks(ctx, from, master, call, w, nil)
}

// ExportWithPeaks does as Export does, and outlines the sound in peaks, if that is
// not nil.
func ExportWithPeaks(ctx context.Context, from Sources, master []byte, call string, w io.WriteSeeker, peaks *Peaks) (Report, error) {
	rec, err := readRecording(ctx, from, master, call)
	if err != nil {
		return Report{}, fmt.Errorf("export %s: %w", call, err)
	}
	report := Report{Call: call, Segments: rec.segments, Erased: rec.erased, Damaged: rec.damaged, Missing: rec.missing}
	runs, pauses, duplicates := timeline(rec.sources)
	report.Duplicates = duplicates
	if len(runs) == 0 {
		return report, fmt.Errorf("export %s: %w that can be heard", call, ErrNoRecording)
	}
	origin := runs[0].at(0)
	report.Start = time.Unix(0, origin).UTC()
	report.describe(runs, pauses, origin)
	report.Rate = fileRate(runs, origin)
	if err := report.render(runs, origin, w, peaks); err != nil {
		return report, fmt.Errorf("export %s: %w", call, err)
	}
	report.listPauses(pauses, origin)
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
func (r *Report) render(runs []*run, origin int64, w io.WriteSeeker, peaks *Peaks) error {
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
	if peaks != nil {
		peaks.begin(r.Rate)
		defer peaks.flush()
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
		left, right := channels[Customer].mix[:used], channels[Operator].mix[:used]
		if err := out.write(left, right); err != nil {
			return err
		}
		if peaks != nil {
			peaks.add(left, right)
		}
		if len(channels[Customer].players)+len(channels[Operator].players) == 0 {
			break
		}
	}
	r.Undecodable = channels[Customer].bad + channels[Operator].bad
	r.Duration = time.Duration(out.frames) * time.Second / time.Duration(r.Rate)
	return out.finish()
}
