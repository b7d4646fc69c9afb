// Command exportproof measures the export of an hour-long call out of a log that
// holds another beside it: `make bench-export`. It writes out/bench-export.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"trunkline/loadtest/check"
	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/record"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "exportproof:", err)
		os.Exit(1)
	}
}

var errFailed = errors.New("a check did not hold")

const (
	frames  = 180000 // an hour in packets of 20 ms
	bound   = 5.0    // seconds
	repeats = 3
)

func run(args []string, w io.Writer) error {
	flags := flag.NewFlagSet("exportproof", flag.ContinueOnError)
	out := flags.String("out", "out", "`folder` for bench-export.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		commit = nil // not a repository
	}
	r := check.NewReport("bench-export", strings.TrimSpace(string(commit)))
	for _, name := range []string{codec.PCMA, codec.Opus} {
		if err := measure(r, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	r.Verdict(w)
	if err := r.Write(*out); err != nil {
		return err
	}
	if !r.OK {
		return errFailed
	}
	return nil
}

// row is one way of exporting one call.
type row struct {
	Codec   string    `json:"codec"`
	File    string    `json:"file"`
	Seconds []float64 `json:"seconds"`
	Busy    []float64 `json:"processor_seconds"` // of all threads: what a quiet machine takes lies below
	Bytes   int64     `json:"bytes"`
}

func measure(r *check.Report, name string) error {
	dir, err := os.MkdirTemp("", "exportproof-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	master := make([]byte, 32)
	if err := fill(dir, master, name); err != nil {
		return err
	}
	from := record.Sources{Dirs: []string{dir}}
	ctx := context.Background()
	wav := func(f *os.File) error {
		report, err := record.ExportWithPeaks(ctx, from, master, "c", f, new(record.Peaks))
		if err == nil && (report.Duration != time.Hour || report.LostLeft+report.LostRight != 0) {
			err = fmt.Errorf("exported %v, %d and %d lost", report.Duration, report.LostLeft, report.LostRight)
		}
		return err
	}
	ogg := func(f *os.File) error {
		_, err := record.ExportOgg(ctx, from, master, "c", func(string, record.Side) (io.WriteCloser, error) { return open{f}, nil })
		return err
	}
	for _, way := range []struct {
		file string
		make func(*os.File) error
		is   bool
	}{{"WAV with peaks", wav, true}, {"Ogg, both legs", ogg, name == codec.Opus}} {
		if !way.is {
			continue
		}
		one := row{Codec: name, File: way.file}
		worst := 0.0
		for range repeats {
			f, err := os.Create(filepath.Join(dir, "export"))
			if err != nil {
				return err
			}
			began, busy := time.Now(), processor()
			if err := errors.Join(way.make(f), f.Sync(), f.Close()); err != nil {
				return err
			}
			took := time.Since(began).Seconds()
			worst = max(worst, took)
			one.Seconds, one.Busy = append(one.Seconds, took), append(one.Busy, processor()-busy)
		}
		if info, err := os.Stat(filepath.Join(dir, "export")); err == nil {
			one.Bytes = info.Size()
		}
		r.AtMost(fmt.Sprintf("an hour of %s to %s, slowest of %d, on the disk", name, way.file, repeats), worst, "s", bound)
		r.Row(one)
	}
	return nil
}

// processor is the time this process has had of processors, in seconds.
func processor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("exportproof: " + err.Error()) // the kernel refuses only what is misnamed
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// open is a file that stays open: both legs go into one here.
type open struct{ *os.File }

func (open) Close() error { return nil }

// fill records an hour of two calls.
func fill(dir string, master []byte, name string) error {
	l, err := record.Open(dir, master, record.Config{QueueBytes: 64 << 20})
	if err != nil {
		return err
	}
	payloads, err := second(name)
	if err != nil {
		return err
	}
	for _, call := range []string{"c", "d"} {
		if err := l.Start(call, "proof"); err != nil {
			return err
		}
	}
	ctx, start := context.Background(), time.Now()
	for i := range frames {
		for leg := range 2 {
			for _, call := range []string{"c", "d"} {
				p := record.Packet{Call: call, Leg: fmt.Sprint(leg + 1), Side: record.Side(leg), Codec: name, PayloadType: 96,
					Arrival: start.Add(time.Duration(i) * codec.FrameDuration), Seq: uint16(i),
					Timestamp: uint32(i) * codec.FrameTicks(name), SSRC: uint32(leg), Payload: payloads[i%len(payloads)]}
				for !l.Append(&p) { // the ring is full
					if err := l.Sync(ctx); err != nil {
						return err
					}
				}
			}
		}
	}
	return l.Close(ctx)
}

// second is a second of a rising tone, encoded.
func second(name string) (payloads [][]byte, err error) {
	rate := codec.ClockRate(name)
	e, err := codec.NewEncoder(name, rate)
	if err != nil {
		return nil, err
	}
	pcm := make([]int16, rate/50)
	for f := range 50 {
		for i := range pcm {
			pcm[i] = int16((i*(200+f*10)*65536/rate)%65536-32768) / 4
		}
		payload, err := e.Encode(nil, pcm)
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, payload)
	}
	return payloads, nil
}
