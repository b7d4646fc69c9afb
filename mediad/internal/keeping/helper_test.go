package keeping

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/store"
)

var master = bytes.Repeat([]byte{7}, 32)

// said is a call with its label.
type said struct{ call, label string }

// write records calls into one sealed segment of a folder.
func write(t testing.TB, dir string, calls ...said) {
	t.Helper()
	l, err := record.Open(dir, master, record.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		speak(t, l, c)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func speak(t testing.TB, l *record.Log, c said) {
	t.Helper()
	if err := l.Start(c.call, c.label); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Append(&record.Packet{Call: c.call, Leg: "1", Codec: "PCMA", PayloadType: 8, Arrival: time.Now(),
			Seq: uint16(i), Timestamp: uint32(i * 160), SSRC: 1, Payload: bytes.Repeat([]byte{0xD5}, 160)})
	}
}

// readable tells whether a call can be exported from a folder, its store included
// if there is one.
func readable(t testing.TB, call string, from record.Sources) bool {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "x.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = record.Export(context.Background(), from, master, call, f)
	switch {
	case errors.Is(err, record.ErrErased) || errors.Is(err, record.ErrNoRecording):
		return false
	case err != nil:
		t.Fatal(err)
	}
	return true
}

const day = 24 * time.Hour

func newKeeper(t testing.TB, dir string, change ...func(*Config)) *Keeper {
	t.Helper()
	cfg := Config{Dir: dir, Worker: "m1", Rules: Rules{Default: Year, Labels: map[string]time.Duration{"short": 30 * day}}}
	for _, f := range change {
		f(&cfg)
	}
	return New(cfg)
}

// later sets a keeper's clock.
func later(k *Keeper, d time.Duration) { k.now = func() time.Time { return time.Now().Add(d) } }

func lines(t testing.TB, dir string) (all []ledger.Line) {
	t.Helper()
	if _, err := ledger.Read(dir, func(l ledger.Line) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// account is the ledger in short.
func account(t testing.TB, dir string) string {
	var b strings.Builder
	for _, l := range lines(t, dir) {
		if l.Act != ledger.Begin {
			fmt.Fprintf(&b, "%s %s\n", l.Act, l.Call)
		}
	}
	return b.String()
}

// inStore tells whether the bytes are in any object of a folder store.
func inStore(t testing.TB, root string, b []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || bytes.Contains(content, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wrappedKeys are the slots of a key file, whole.
func wrappedKeys(t testing.TB, dir string) (slots [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+record.KeysSuffix))
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 512; at+512 <= len(b); at += 512 {
			slots = append(slots, bytes.Clone(b[at+11:at+59]))
		}
	}
	return slots
}

// away is a store that fails.
type away struct{ *store.Folder }

var errAway = errors.New("store is away")

func (away) Put(context.Context, string, *os.File) error    { return errAway }
func (away) Get(context.Context, string, io.Writer) error   { return errAway }
func (away) Has(context.Context, string) (bool, error)      { return false, errAway }
func (away) List(context.Context, string) ([]string, error) { return nil, errAway }
func (away) Delete(ctx context.Context, name string) error  { return errAway }

// meanwhile is a store into which segments come just after something else.
type meanwhile struct {
	*store.Folder
	before func()
}

func (m meanwhile) Put(ctx context.Context, name string, f *os.File) error {
	if strings.HasSuffix(name, record.SealedSuffix) {
		m.before()
	}
	return m.Folder.Put(ctx, name, f)
}
