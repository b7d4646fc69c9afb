package record

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"trunkline/mediad/internal/codec"
)

// ErrNotOpus: no leg of the call sent Opus.
var ErrNotOpus = errors.New("no leg sent Opus")

// OggLeg is one leg in an Ogg file.
type OggLeg struct {
	Leg       string        `json:"leg"`
	Side      Side          `json:"side"`
	Packets   int           `json:"packets"`
	Concealed time.Duration `json:"-"`        // filled, for the decoder to conceal
	LeftOut   int           `json:"left_out"` // packets of another codec, or that repeat time
}

// ExportOgg writes what each leg of a call sent in Opus into an Ogg file of its
// own, mono, without transcoding. Every file begins where the call does, so that
// they may be played beside each other; each runs by its sender's clock from where
// the sender began, which an hour at 100 ppm puts 360 ms off. create makes the file
// of a leg; ExportOgg closes it.
//
// Errors: as of Export, and ErrNotOpus.
func ExportOgg(ctx context.Context, from Sources, master []byte, call string, create func(leg string, side Side) (io.WriteCloser, error)) ([]OggLeg, error) {
	rec, err := readRecording(ctx, from, master, call)
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", call, err)
	}
	runs, _, _ := timeline(rec.sources)
	if len(runs) == 0 {
		return nil, fmt.Errorf("export %s: %w that can be heard", call, ErrNoRecording)
	}
	var order []string
	legs := make(map[string][]*run)
	for _, r := range runs {
		if r.clock != int64(codec.ClockRate(codec.Opus)) {
			continue
		}
		if legs[r.leg] == nil {
			order = append(order, r.leg)
		}
		legs[r.leg] = append(legs[r.leg], r)
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("export %s: %w", call, ErrNotOpus)
	}
	var out []OggLeg
	for _, leg := range order {
		f, err := create(leg, legs[leg][0].side)
		if err != nil {
			return out, err
		}
		told, err := oggLeg(f, call, legs[leg], runs[0].at(0))
		if err := errors.Join(err, f.Close()); err != nil {
			return out, fmt.Errorf("export leg %s of %s: %w", leg, call, err)
		}
		out = append(out, told)
	}
	return out, nil
}

// oggLeg writes one leg's runs; the file begins at origin.
func oggLeg(to io.Writer, call string, runs []*run, origin int64) (told OggLeg, err error) {
	told = OggLeg{Leg: runs[0].leg, Side: runs[0].side}
	w, err := newOggWriter(to, crc32.Checksum([]byte(call+"\x00"+told.Leg), castagnoli), "CALL="+call, "LEG="+told.Leg,
		"SIDE="+told.Side.String(), "DATE="+time.Unix(0, origin).UTC().Format(time.RFC3339Nano))
	if err != nil {
		return told, err
	}
	sounded := int64(0)
	for _, r := range runs {
		start := samples48(r.at(0) - origin)
		for _, p := range r.packets {
			ticks := p.ticks()
			if p.codec != codecOpus || ticks == 0 || start+p.ts+ticks <= w.at {
				told.LeftOut++
				continue
			}
			if err := w.fill(start + p.ts); err != nil {
				return told, err
			}
			if err := w.add(p.payload, ticks); err != nil {
				return told, err
			}
			told.Packets++
			sounded += ticks
		}
	}
	told.Concealed = time.Duration(w.at-sounded) * time.Second / 48000
	return told, w.finish()
}

func samples48(ns int64) int64 { return (ns*48 + 500_000) / 1_000_000 }
