package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"trunkline/mediad/internal/config"
	"trunkline/mediad/internal/keeping"
	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/store"
)

// keeperOf makes the keeper of a worker's recordings.
func keeperOf(cfg *config.Config, log *slog.Logger) (*keeping.Keeper, error) {
	r := cfg.Recording
	kept, err := storeOf(cfg)
	if err != nil {
		return nil, err
	}
	whole, queues := r.Keeps()
	return keeping.New(keeping.Config{Dir: r.Dir, Worker: cfg.Worker, Rules: keeping.Rules{Default: whole, Labels: queues},
		SegmentAge: r.SegmentAge, Store: kept, MinFree: int64(r.MinFree) << 20, MakeRoom: r.Full == config.KeepNew, Logger: log}), nil
}

// storeOf is the worker's store, or none.
func storeOf(cfg *config.Config) (keeping.Store, error) {
	switch s := cfg.Recording.Store; {
	case s.Dir != "":
		return store.NewFolder(s.Dir), nil
	case s.S3.URL != nil:
		return store.NewS3(store.S3Config{Endpoint: s.S3.URL, Region: s.S3.Region, Bucket: s.S3.Bucket,
			AccessKey: s.S3.AccessKey, SecretKey: s.S3.SecretKey, Roots: s.S3.Roots})
	}
	return nil, nil
}

// ledgerWait is how long a command waits for the ledger, which a worker at work on
// it may hold.
const ledgerWait = time.Minute

// loadRecording reads a worker's file, which must say where recordings are.
func loadRecording(command, file string) (*config.Config, error) {
	if file == "" {
		return nil, fmt.Errorf("%s: -config is missing", command)
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	if cfg.MasterKey == nil {
		return nil, fmt.Errorf("%s: %s records nothing", command, file)
	}
	return cfg, nil
}

// parse reads flags and refuses what is left.
func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	flags.SetOutput(stderr)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s: unexpected argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}

// runRetention is the subcommand
//
//	mediad retention -config FILE [-dry-run] [-clock-is-right]
//
// It erases what is overdue, as the worker does by itself each hour, or says with
// -dry-run what that would be, and why.
func runRetention(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("retention", flag.ContinueOnError)
	file := flags.String("config", "", "`file` of the worker")
	dry := flags.Bool("dry-run", false, "change nothing: print what would be erased, and why")
	leap := flags.Bool("clock-is-right", false, "erase although the clock has gone on by more than a week since the last time")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	cfg, err := loadRecording("retention", *file)
	if err != nil {
		return err
	}
	keeper, err := keeperOf(cfg, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	if *dry {
		due, err := keeper.Overdue()
		if err != nil {
			return err
		}
		return printDue(stdout, due)
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerWait+time.Hour)
	defer cancel()
	p, err := keeper.Pass(ctx, *leap)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d keys erased, %d on hold\n", p.Erased, p.Held)
	return err
}

func printDue(out io.Writer, due []keeping.Due) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	held := 0
	fmt.Fprintln(w, "SEGMENT\tRECORDED\tCALL\tQUEUE\tWHY")
	for _, d := range due {
		why := d.Why()
		if d.Held.Act != "" {
			held++
			why = fmt.Sprintf("ON HOLD by %s since %s: %s", d.Held.Who, d.Held.At.Format(time.DateOnly), d.Held.Why)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Segment, d.Recorded.Format(time.RFC3339), orDash(d.Call), orDash(d.Label), why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d would be erased, %d stay on hold\n", len(due)-held, held)
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// runPerson is the subcommands
//
//	mediad hold|release|erase -config FILE -call ID -who NAME -why TEXT
//
// What they do is in the ledger, with who and why.
func runPerson(ctx context.Context, command string, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	file := flags.String("config", "", "`file` of the worker")
	call := flags.String("call", "", "call `id`")
	who := flags.String("who", "", "`name` of who orders it")
	why := flags.String("why", "", "the `reason`")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	cfg, err := loadRecording(command, *file)
	if err != nil {
		return err
	}
	keeper, err := keeperOf(cfg, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	switch command {
	case "hold":
		found, err := keeper.Hold(ctx, *call, *who, *why)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s is on hold at %s, which has it in %d segments\n", *call, cfg.Worker, found.Segments)
		return err
	case "release":
		if err := keeper.Release(ctx, *call, *who, *why); err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s is on hold no longer at %s\n", *call, cfg.Worker)
		return err
	}
	found, err := keeper.Erase(ctx, *call, *who, *why)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is erased at %s, in %d segments\n", *call, cfg.Worker, found.Segments)
	if found.Open > 0 {
		fmt.Fprintf(stdout, "one of them is being written: if the call goes on, erase it again when it has ended\n")
	}
	return nil
}

// runLedger is the subcommand
//
//	mediad ledger -dir D [-call ID]
//
// It checks the ledger of a recording folder from its first line and prints it as
// JSON, one line a row, or those about one call.
func runLedger(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("ledger", flag.ContinueOnError)
	dir := flags.String("dir", "", "recording `folder` of a worker")
	call := flags.String("call", "", "print only what is about this call `id`")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if *dir == "" {
		return errors.New("ledger: -dir is missing")
	}
	if _, err := os.Stat(*dir); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	out := json.NewEncoder(stdout)
	state, err := ledger.Read(*dir, func(l ledger.Line) error {
		if *call != "" && l.Call != *call {
			return nil
		}
		return out.Encode(l)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "%d lines, unbroken; %d calls on hold\n", state.Next-1, len(state.Holds))
	return err
}
