// Command mediad is a media worker: it holds the SRTP endpoints of calls,
// relays between them, plays prompts, records, and stands by for other
// workers. It is told what to do over the NG protocol and knows nothing of
// SIP, queues or agents.
//
//	mediad -config FILE [-check]
//	mediad export -config FILE|-dir D -master-key FILE -call ID -out FILE.wav
//	mediad retention -config FILE [-dry-run]
//	mediad hold|release|erase -config FILE -call ID -who NAME -why TEXT
//	mediad ledger -dir D [-call ID]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"trunkline/mediad/internal/config"
)

// errConfig marks faults of the configuration: exit status 2.
var errConfig = errors.New("configuration")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errConfig):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mediad:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "export":
			return runExport(ctx, args[1:], stdout, stderr)
		case "retention":
			return runRetention(ctx, args[1:], stdout, stderr)
		case "hold", "release", "erase":
			return runPerson(ctx, args[0], args[1:], stdout, stderr)
		case "ledger":
			return runLedger(args[1:], stdout, stderr)
		}
	}
	flags := flag.NewFlagSet("mediad", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "`file` to run by")
	check := flags.Bool("check", false, "tell the faults of the file and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errConfig // told by the flag package
	}
	if *file == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "mediad: want -config FILE and nothing more")
		return errConfig
	}
	cfg, err := config.Load(*file)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return errConfig
	}
	if *check {
		fmt.Fprintf(stdout, "%s: ok\n", *file)
		return nil
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil)).With("node", cfg.Worker)
	w, err := start(cfg, log)
	if err != nil {
		return err
	}
	defer w.close()
	select {
	case <-ctx.Done():
	case err := <-w.failed:
		return err
	}
	return w.drain()
}
