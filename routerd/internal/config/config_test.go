package config

import (
	"os"
	"strings"
	"testing"
)

func TestGoodFileLoads(t *testing.T) {
	c, err := Load("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Node != "r1" || len(c.SIP.Listen) != 2 || c.Raft.Voters["r1"] != "127.0.0.1:7000" {
		t.Errorf("loaded %+v", c)
	}
}

// Every fault is named at once, with file and line.
func TestAllFaultsAreToldWithTheirLines(t *testing.T) {
	f := func(err error, golden string) {
		t.Helper()
		want, readErr := os.ReadFile(golden)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if err == nil {
			t.Fatalf("no fault found, want\n%s", want)
		}
		if got := err.Error(); got != strings.TrimSpace(string(want)) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	_, err := Load("testdata/bad.yaml")
	f(err, "testdata/bad.txt")
	_, err = LoadRouting("testdata/routing-bad.yaml")
	f(err, "testdata/routing-bad.txt")
}

func TestUnknownKeyIsAFault(t *testing.T) {
	_, err := ParseRouting("routing", []byte("max_channels: -1\nmax_chanels: 2\n"))
	if err == nil || !strings.Contains(err.Error(), "routing:2:") || !strings.Contains(err.Error(), "max_chanels") {
		t.Errorf("got %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), "routing:1: max_channels: is negative") {
		t.Errorf("got %v: the unknown key hides the other fault", err)
	}
}

func FuzzParseRouting(f *testing.F) {
	seed, err := os.ReadFile("testdata/routing-bad.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, src []byte) {
		ParseRouting("routing", src) // must not panic
	})
}
