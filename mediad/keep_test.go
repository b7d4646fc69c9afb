package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/keeping"
	"trunkline/mediad/internal/record"
)

// kept is a worker's file whose recordings, of call "abc" of queue sales, are two
// days old and kept for one.
func kept(t *testing.T, more string) (file, dir string) {
	t.Helper()
	dir, key := recorded(t)
	old := time.Now().Add(-48 * time.Hour)
	names, err := filepath.Glob(filepath.Join(dir, "rec-*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		base := filepath.Base(name)
		if err := os.Rename(name, filepath.Join(dir, strings.Replace(base, base[4:20], hex16(old.UnixNano()), 1))); err != nil {
			t.Fatal(err)
		}
	}
	return writeConfig(t, strings.NewReplacer("RECORDED", dir, "KEY", key).Replace(`worker: m1
data: DIR
ng: {tcp: "127.20.4.211:2223"}
media: {addresses: [127.20.4.212], ports: 20000-20099}
metrics: {listen: "127.20.4.211:9100"}
recording:
  dir: RECORDED
  master_key_file: KEY
  queues: [{queue: sales, keep: 1d}]
`+more)), dir
}

func hex16(ns int64) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 16)
	for i := range b {
		b[15-i] = digits[ns>>(4*i)&15]
	}
	return string(b)
}

// do runs mediad and returns what it printed.
func do(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(context.Background(), args, &out, &errs)
	return out.String() + errs.String(), err
}

func want(t *testing.T, text string, err error, wants ...string) {
	t.Helper()
	if err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

// Hold, what would go, release, what goes: by hand, as an operator does it.
func TestRetentionByHand(t *testing.T) {
	file, dir := kept(t, "")
	text, err := do(t, "retention", "-config", file, "-dry-run")
	want(t, text, err, "abc", "sales", "kept 1d, until 20", "1 would be erased, 0 stay on hold")
	text, err = do(t, "hold", "-config", file, "-call", "abc", "-who", "ann", "-why", "court order 17")
	want(t, text, err, "abc is on hold at m1, which has it in 1 segments")
	text, err = do(t, "retention", "-config", file, "-dry-run")
	want(t, text, err, "ON HOLD by ann since 20", "court order 17", "0 would be erased, 1 stay on hold")
	text, err = do(t, "retention", "-config", file)
	want(t, text, err, "0 keys erased, 1 on hold")
	if _, err = do(t, "erase", "-config", file, "-call", "abc", "-who", "bob", "-why", "asked to"); !errors.Is(err, keeping.ErrHeld) {
		t.Errorf("%v", err)
	}
	out := filepath.Join(t.TempDir(), "abc.wav")
	text, err = do(t, "export", "-config", file, "-call", "abc", "-out", out)
	want(t, text, err, "2s at 8000 Hz, PCMA")
	text, err = do(t, "release", "-config", file, "-call", "abc", "-who", "ann", "-why", "settled")
	want(t, text, err, "abc is on hold no longer at m1")
	text, err = do(t, "retention", "-config", file)
	want(t, text, err, "1 keys erased, 0 on hold")
	if _, err = do(t, "export", "-config", file, "-call", "abc", "-out", out); !errors.Is(err, record.ErrNoRecording) {
		t.Errorf("%v", err)
	}
	text, err = do(t, "ledger", "-dir", dir, "-call", "abc")
	want(t, text, err, `"act":"hold"`, `"who":"ann"`, `"act":"release"`, `"act":"erase"`, `"why":"kept 1d, until 20`, "unbroken; 0 calls on hold")
	if left, _ := filepath.Glob(filepath.Join(dir, "rec-*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// The worker itself hands what is sealed to its store and erases by the clock; its
// store is enough to hear what is left.
func TestTheWorkerKeepsItsRecordings(t *testing.T) {
	root := t.TempDir()
	file, dir := kept(t, "  store: {dir: "+root+"}\n")
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-config", file}, &bytes.Buffer{}, &bytes.Buffer{}) }()
	until(t, "erased", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "ledger-000001"))
		return err == nil && bytes.Contains(b, []byte(`"act":"pass"`))
	})
	until(t, "copied", func() bool { _, err := os.Stat(filepath.Join(root, "m1", "ledger-000001")); return err == nil })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "rec-*"))
	stored, _ := filepath.Glob(filepath.Join(root, "m1", "rec-*"))
	if len(left)+len(stored) > 0 {
		t.Errorf("%v, %v left", left, stored)
	}
}

func TestCommandsNameWhatTheyLack(t *testing.T) {
	file, dir := kept(t, "")
	f := func(wanted string, args ...string) {
		t.Helper()
		if text, err := do(t, args...); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%v: %v\n%s", args, err, text)
		}
	}
	f("retention: -config is missing", "retention")
	f("unexpected argument", "retention", "-config", file, "now")
	f("who and why must both be given", "hold", "-config", file, "-call", "abc", "-who", "ann")
	f("call id is empty", "hold", "-config", file, "-who", "ann", "-why", "x")
	f("call is not on hold", "release", "-config", file, "-call", "abc", "-who", "ann", "-why", "x")
	f("no recording of this call", "erase", "-config", file, "-call", "other", "-who", "ann", "-why", "x")
	f("ledger: -dir is missing", "ledger")
	f("no such file", "ledger", "-dir", dir+"/absent")
	f("records nothing", "retention", "-config", writeConfig(t, `worker: m1
data: DIR
ng: {tcp: "127.20.4.211:2223"}
media: {addresses: [127.20.4.212], ports: 20000-20099}
metrics: {listen: "127.20.4.211:9100"}
`))
}
