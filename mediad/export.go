package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"trunkline/mediad/internal/record"
)

// runExport is the subcommand
//
//	mediad export -config FILE|-dir D [-dir D2 ...] -master-key FILE -call ID -out FILE.wav
//
// It writes a call's recording as a stereo WAV file and beside it FILE.json, what
// the recording holds and lacks, and FILE.wav.sha256, for sha256sum -c. The WAV
// file appears under its name only when all are whole. A worker's configuration
// says where its recordings, its store and its key are; further folders may be
// named too. With -peaks FILE.peaks.json outlines the sound, with -ogg each leg that
// sent Opus has a FILE.legN.ogg of its own.
func runExport(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var e export
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.Func("dir", "recording `folder` of a worker; repeat it for every worker that may hold a part", func(dir string) error {
		e.from.Dirs = append(e.from.Dirs, dir)
		return nil
	})
	file := flags.String("config", "", "`file` of a worker, for its recordings, store and key")
	masterFile := flags.String("master-key", "", "`file` with the master key, 32 bytes in base64")
	flags.StringVar(&e.call, "call", "", "call `id`")
	flags.StringVar(&e.out, "out", "", "WAV `file` to write")
	flags.Func("since", "leave out what was recorded before this `time`, such as 2026-03-01T09:00:00Z or 2026-03-01", timeFlag(&e.from.Since))
	flags.Func("until", "leave out what was recorded after this `time`", timeFlag(&e.from.Until))
	flags.BoolVar(&e.ogg, "ogg", false, "write each leg's Opus into an Ogg file too, as it was sent")
	flags.BoolVar(&e.peaks, "peaks", false, "write an outline of the sound too, in the format of audiowaveform")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if err := e.take(*file, *masterFile); err != nil {
		return err
	}
	report, err := e.write(ctx)
	if err != nil {
		return err
	}
	if e.ogg {
		if err := e.writeOgg(ctx, stderr); err != nil {
			return err
		}
	}
	if !*asJSON {
		return printReport(stdout, e.out, report)
	}
	text, err := reportText(report)
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}

// timeFlag reads a time or a day.
func timeFlag(into *time.Time) func(string) error {
	return func(s string) (err error) {
		if *into, err = time.Parse(time.RFC3339, s); err != nil {
			*into, err = time.Parse(time.DateOnly, s)
		}
		return err
	}
}

// export is one call's way into files.
type export struct {
	from       record.Sources
	master     []byte
	call, out  string
	ogg, peaks bool
}

// take checks what was given, and reads the files that were named.
func (e *export) take(file, masterFile string) error {
	if file != "" {
		cfg, err := loadRecording("export", file)
		if err != nil {
			return err
		}
		kept, err := storeOf(cfg)
		if err != nil {
			return err
		}
		if kept != nil {
			e.from.Store = kept
		}
		e.from.Dirs = append(e.from.Dirs, cfg.Recording.Dir)
		e.master = cfg.MasterKey
	}
	var faults []error
	for _, f := range []struct {
		name    string
		missing bool
	}{{"-dir", len(e.from.Dirs) == 0}, {"-master-key", masterFile == "" && e.master == nil}, {"-call", e.call == ""}, {"-out", e.out == ""}} {
		if f.missing {
			faults = append(faults, fmt.Errorf("export: %s is missing", f.name))
		}
	}
	if len(faults) > 0 || masterFile == "" {
		return errors.Join(faults...)
	}
	master, err := record.ReadMasterKey(masterFile)
	e.master = master
	return err
}

// beside is the name of a file next to the WAV file.
func (e *export) beside(suffix string) string { return strings.TrimSuffix(e.out, ".wav") + suffix }

func (e *export) write(ctx context.Context) (record.Report, error) {
	f, err := os.CreateTemp(filepath.Dir(e.out), ".export-*")
	if err != nil {
		return record.Report{}, fmt.Errorf("write recording: %w", err)
	}
	defer os.Remove(f.Name()) // nothing is there once it has its own name
	defer f.Close()
	var peaks *record.Peaks
	if e.peaks {
		peaks = new(record.Peaks)
	}
	report, err := record.ExportWithPeaks(ctx, e.from, e.master, e.call, f, peaks)
	if err != nil {
		return report, err
	}
	if report.SHA256, err = sumOf(f); err != nil {
		return report, err
	}
	if err := f.Close(); err != nil {
		return report, fmt.Errorf("write recording: %w", err)
	}
	text, err := reportText(report)
	if err != nil {
		return report, err
	}
	if err := os.WriteFile(e.beside(".json"), text, 0o600); err != nil {
		return report, fmt.Errorf("write report: %w", err)
	}
	if peaks != nil {
		text, err := json.Marshal(peaks)
		if err != nil {
			return report, fmt.Errorf("write peaks: %w", err)
		}
		if err := os.WriteFile(e.beside(".peaks.json"), text, 0o600); err != nil {
			return report, fmt.Errorf("write peaks: %w", err)
		}
	}
	sum := fmt.Sprintf("%s  %s\n", report.SHA256, filepath.Base(e.out))
	if err := os.WriteFile(e.out+".sha256", []byte(sum), 0o600); err != nil {
		return report, fmt.Errorf("write sum: %w", err)
	}
	if err := os.Rename(f.Name(), e.out); err != nil {
		return report, fmt.Errorf("write recording: %w", err)
	}
	return report, nil
}

// writeOgg writes the legs' own files; a leg that sent no Opus has none.
func (e *export) writeOgg(ctx context.Context, stderr io.Writer) error {
	legs, err := record.ExportOgg(ctx, e.from, e.master, e.call, func(leg string, _ record.Side) (io.WriteCloser, error) {
		return os.OpenFile(e.beside(".leg"+url.PathEscape(leg)+".ogg"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	})
	if errors.Is(err, record.ErrNotOpus) {
		fmt.Fprintln(stderr, "no Ogg file: no leg sent Opus")
		return nil
	}
	for _, l := range legs {
		fmt.Fprintf(stderr, "leg %s, %s: %d packets, %v to be concealed, %d left out\n", l.Leg, l.Side, l.Packets, l.Concealed.Round(time.Millisecond), l.LeftOut)
	}
	return err
}

// sumOf is the SHA-256 of a file, in hex.
func sumOf(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("sum recording: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("sum recording: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func reportText(r record.Report) ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	return append(text, '\n'), nil
}

func printReport(w io.Writer, out string, r record.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v at %d Hz, %s, from %s\n", out, r.Duration.Round(time.Millisecond), r.Rate, r.Codec, r.Start.Format(time.RFC3339))
	for _, leg := range r.Legs {
		fmt.Fprintf(&b, "  %-5s leg %s: %s, %d packets, %d lost\n", leg.Side, leg.Leg, leg.Codec, leg.Packets, leg.Lost)
	}
	for _, gap := range r.Gaps {
		fmt.Fprintf(&b, "  gap   leg %s at %v: %v, %d packets, %s\n", gap.Leg, gap.At.Round(time.Millisecond), gap.Duration.Round(time.Millisecond), gap.Packets, gap.Reason)
	}
	for _, p := range r.Pauses {
		fmt.Fprintf(&b, "  pause at %v: %v\n", p.At.Round(time.Millisecond), p.Duration.Round(time.Millisecond))
	}
	if r.Damaged+r.Undecodable+r.Erased+r.Missing > 0 {
		fmt.Fprintf(&b, "  damaged records %d, undecodable payloads %d, segments with erased keys %d, segments not found %d\n",
			r.Damaged, r.Undecodable, r.Erased, r.Missing)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
