package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"trunkline/mediad/internal/record"
)

// runExport is the subcommand
//
//	mediad export -dir D [-dir D2 ...] -master-key FILE -call ID -out FILE.wav [-json]
//
// It writes a call's recording as a stereo WAV file, which appears under its
// name only when it is whole, and prints what the recording holds and lacks.
// With -json the report is JSON and is written next to the file too, under the
// same name with .json.
func runExport(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("mediad export", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var dirs []string
	flags.Func("dir", "recording `folder` of a worker; repeat it for every worker that may hold a part", func(dir string) error {
		dirs = append(dirs, dir)
		return nil
	})
	masterFile := flags.String("master-key", "", "`file` with the master key, 32 bytes in base64")
	call := flags.String("call", "", "call `id`")
	out := flags.String("out", "", "WAV `file` to write")
	asJSON := flags.Bool("json", false, "print the report as JSON, and write it next to the WAV file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("export: unexpected argument %q", flags.Arg(0))
	}
	var faults []error
	for _, f := range []struct {
		name    string
		missing bool
	}{{"-dir", len(dirs) == 0}, {"-master-key", *masterFile == ""}, {"-call", *call == ""}, {"-out", *out == ""}} {
		if f.missing {
			faults = append(faults, fmt.Errorf("export: %s is missing", f.name))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	master, err := record.ReadMasterKey(*masterFile)
	if err != nil {
		return err
	}
	report, err := exportFile(dirs, master, *call, *out)
	if err != nil {
		return err
	}
	if !*asJSON {
		return printReport(stdout, *out, report)
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	text = append(text, '\n')
	if err := os.WriteFile(strings.TrimSuffix(*out, ".wav")+".json", text, 0o600); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err = stdout.Write(text)
	return err
}

func exportFile(dirs []string, master []byte, call, out string) (record.Report, error) {
	f, err := os.CreateTemp(filepath.Dir(out), ".export-*")
	if err != nil {
		return record.Report{}, fmt.Errorf("write recording: %w", err)
	}
	defer os.Remove(f.Name()) // nothing is there once it has its own name
	defer f.Close()
	report, err := record.Export(dirs, master, call, f)
	if err != nil {
		return report, err
	}
	if err := f.Close(); err != nil {
		return report, fmt.Errorf("write recording: %w", err)
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return report, fmt.Errorf("write recording: %w", err)
	}
	return report, nil
}

func printReport(w io.Writer, out string, r record.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v at %d Hz, %s, from %s\n", out, r.Duration.Round(time.Millisecond), r.Rate, r.Codec, r.Start.Format(time.RFC3339))
	for _, leg := range r.Legs {
		fmt.Fprintf(&b, "  %-5s leg %s: %s, %d packets, %d lost\n", leg.Side, leg.Leg, leg.Codec, leg.Packets, leg.Lost)
	}
	for _, gap := range r.Gaps {
		fmt.Fprintf(&b, "  gap   leg %s at %v: %v, %d packets\n", gap.Leg, gap.At.Round(time.Millisecond), gap.Duration.Round(time.Millisecond), gap.Packets)
	}
	if r.Damaged+r.Undecodable+r.Erased > 0 {
		fmt.Fprintf(&b, "  damaged records %d, undecodable payloads %d, segments with erased keys %d\n", r.Damaged, r.Undecodable, r.Erased)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
