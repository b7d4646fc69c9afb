package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestGoodFileLoads(t *testing.T) {
	c, err := Load("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Node != "r1" || len(c.SIP.Listen) != 2 || c.Raft.Voters["r1"] != "127.0.0.1:7000" {
		t.Errorf("loaded %+v", c)
	}
}

func TestDialogsHaveDefaults(t *testing.T) {
	c, err := Load("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := c.SIP.Dialogs.Complete()
	if d.SessionExpires != 30*time.Minute || d.MinSE != 90*time.Second || d.Timers.B != 32*time.Second || d.Redirects != RedirectsFail || d.EarlyMedia {
		t.Errorf("%+v", d)
	}
}

// golden compares text with a file's.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%swant\n%s", file, got, want)
	}
}

// files are those of a pattern; none is a mistake in the test.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return list
}

// Every fault is named at once, with file and line.
func TestAllFaultsAreToldWithTheirLines(t *testing.T) {
	f := func(err error, file string) {
		t.Helper()
		if err == nil {
			t.Fatalf("no fault found, see %s", file)
		}
		golden(t, file, err.Error()+"\n")
	}
	_, err := Load("testdata/bad.yaml")
	f(err, "testdata/bad.txt")
	for _, file := range files(t, "testdata/faults/*.yaml") {
		_, err := LoadRouting(file)
		f(err, strings.TrimSuffix(file, ".yaml")+".txt")
	}
}

func TestDiffNamesWhatChanged(t *testing.T) {
	for _, file := range files(t, "testdata/diff/*.old.yaml") {
		was, err := LoadRouting(file)
		if err != nil {
			t.Fatal(err)
		}
		now, err := LoadRouting(strings.Replace(file, ".old.", ".new.", 1))
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		changes := Diff(was, now)
		for _, c := range changes {
			fmt.Fprintln(&out, c)
		}
		fmt.Fprintln(&out, Summary(changes))
		golden(t, strings.Replace(file, ".old.yaml", ".txt", 1), out.String())
	}
}

func TestMergeKeysAreReadAsYAMLSays(t *testing.T) {
	c, err := ParseRouting("routing", []byte(`
queues:
- &a {id: a, wrap_up: 5s, music: one}
- &b {id: b, wrap_up: 6s, ring_timeout: 20s}
- {<<: [*a, *b], id: c, music: two}
`))
	if err != nil {
		t.Fatal(err)
	}
	q := c.Queues[2]
	if q.ID != "c" || q.WrapUp != 5*time.Second || q.RingTimeout != 20*time.Second || q.Music != "two" {
		t.Errorf("merged to %+v", q)
	}
}

// What is made to cost a reader dearly is refused at once.
func TestHostileFilesAreRefused(t *testing.T) {
	f := func(want, src string) {
		t.Helper()
		began := time.Now()
		_, err := ParseRouting("routing", []byte(src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %.200v, want %q", src, err, want)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%.60q: took %v", src, d)
		}
	}
	f("nested too deeply", strings.Repeat("[", 1<<20))
	f("nested too deeply", strings.Repeat("- ", 1<<20))
	f("nested too deeply", "queues: "+strings.Repeat("{a: ", 1<<20))
	f("at most", strings.Repeat(" ", maxSource+1))
	bomb := "queues: &a0 [{id: a}]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	f("unknown key", bomb)
	f("queues[0]", "queues: &q [{id: a, needs: *q}]")
	f("routing:1:", "queues: &q *q")
}

func TestSourceIsPackedAndUnpacked(t *testing.T) {
	src, err := os.ReadFile("testdata/diff/tree.old.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnpackSource(PackSource(src))
	if err != nil || !bytes.Equal(got, src) {
		t.Errorf("%v: %s", err, got)
	}
	for _, bad := range [][]byte{nil, []byte("x"), PackSource(make([]byte, maxSource+1))} {
		if _, err := UnpackSource(bad); err == nil {
			t.Errorf("%.20x was unpacked", bad)
		}
	}
}

func FuzzParseRouting(f *testing.F) {
	for _, file := range []string{"testdata/faults/types.yaml", "testdata/faults/merges.yaml", "testdata/diff/tree.new.yaml"} {
		seed, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		ParseRouting("routing", src) // must not panic
	})
}
