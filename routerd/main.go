// Command routerd is one call router of the tier: back-to-back user agent,
// registrar, call flows and queues, with its state in a replicated log.
//
// It exits 2 on a bad configuration, 3 when it must not live on (its log's
// disk hangs, another life of it took over, a command it does not know), and 1
// on any other failure; the supervisor starts it again.
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
	rtdebug "runtime/debug"
	"syscall"

	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/node"
	"trunkline/routerd/internal/ops"
)

// errConfig marks what is wrong with the files, not with the world.
var errConfig = errors.New("configuration")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp), errors.Is(err, errConfig):
		fmt.Fprintln(os.Stderr, "routerd:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "routerd:", err)
		os.Exit(1)
	}
}

// heapGrowth is how far the heap may grow between two collections, in per cent of
// what lives: a router holds little for long and makes much that is soon gone, and
// memory is what its machine has most of. GOGC overrides it.
const heapGrowth = 400

func run(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("routerd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	path := fs.String("config", "/etc/trunkline/routerd.yaml", "configuration file")
	check := fs.Bool("check", false, "read the configuration and its routing tree, report every fault, and stop")
	debug := fs.Bool("debug", false, "log debug lines")
	if err := fs.Parse(args); err != nil {
		return errors.Join(errConfig, err)
	}
	conf, err := config.Load(*path)
	if err != nil {
		return fmt.Errorf("%w:\n%w", errConfig, err)
	}
	if _, err := config.LoadRouting(conf.Routing); err != nil {
		return fmt.Errorf("%w:\n%w", errConfig, err)
	}
	if *check {
		fmt.Fprintln(stderr, "routerd: configuration is good")
		return nil
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	if os.Getenv("GOGC") == "" {
		rtdebug.SetGCPercent(heapGrowth)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return node.Run(ctx, conf, log, ops.Serve)
}
