package check

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestReportJSONIsWhatProgramsRead pins the format of out/<target>.json.
func TestReportJSONIsWhatProgramsRead(t *testing.T) {
	r := NewReport("sample", "0123abc")
	r.Machine = "a machine"
	r.Equal("call 1 packets lost", 0, 0, "packets")
	r.AtMost("call 2 longest gap", 212.5, "ms", 200)
	r.AtLeast("achieved", 4001, "calls/min", 4000)
	r.Add("unknown number", "404 Not Found", "", "= 404", true)
	r.Row(struct {
		Call string `json:"call"`
		Lost int    `json:"lost"`
	}{"mfrggzdf", 0})
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "sample.json"))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("report:\n%s\nwant:\n%s", got, want)
	}
}

func TestOneFailedCheckFailsTheReport(t *testing.T) {
	r := NewReport("sample", "")
	if r.OK {
		t.Error("a report without checks is OK")
	}
	r.Equal("a", 1, 1, "")
	if !r.OK {
		t.Error("not OK though the only check held")
	}
	r.AtMost("b", 3, "ms", 2)
	r.Equal("c", 1, 1, "")
	if r.OK {
		t.Error("OK though a check failed")
	}
	var b bytes.Buffer
	r.Verdict(&b)
	if want := "FAILED  b: 3 ms, must be <= 2\nsample: 2 of 3 checks passed\n"; b.String() != want {
		t.Errorf("verdict %q, want %q", b.String(), want)
	}
}

func TestPercentileIsNearestRank(t *testing.T) {
	f := func(p float64, want time.Duration, values ...time.Duration) {
		t.Helper()
		if got := Percentile(values, p); got != want {
			t.Errorf("p%g of %v = %v, want %v", p, values, got, want)
		}
	}
	f(50, 0)
	f(50, 1, 1)
	f(99, 1, 1)
	f(50, 2, 3, 1, 2)
	f(99, 3, 3, 1, 2)
	f(50, 2, 4, 3, 2, 1)
	f(0, 1, 2, 1)
}

func TestTableColumnsAlign(t *testing.T) {
	tb := NewTable("call", "gap")
	tb.Row("abc", "20 ms")
	tb.Row("abcdef", "")
	var b bytes.Buffer
	tb.Print(&b)
	want := "call    gap\n------  -----\nabc     20 ms\nabcdef\n"
	if b.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", b.String(), want)
	}
}
