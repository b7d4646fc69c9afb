package raftstore

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// libraryLogger hands what the libraries log to an slog.Logger, one level
// lower: what they call an error is a peer that does not answer, and no reason
// for a person to act.
func libraryLogger(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(sink{to})
	return l
}

type sink struct{ to *slog.Logger }

func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	var lower slog.Level
	switch level {
	case hclog.Error:
		lower = slog.LevelWarn
	case hclog.Warn, hclog.Info:
		lower = slog.LevelInfo
	default:
		lower = slog.LevelDebug
	}
	if !s.to.Enabled(context.Background(), lower) {
		return
	}
	args = slices.Clone(args)
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.to.Log(context.Background(), lower, "raft: "+msg, args...)
}
