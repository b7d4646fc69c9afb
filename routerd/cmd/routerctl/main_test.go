package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

// The digests are those of RFC 7616 section 3.9.1's user.
func TestHA1(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), []string{"ha1", "Mufasa", "http-auth@example.org"}, strings.NewReader("Circle of Life\n"), &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	want := "ha1_sha256: 7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232\nha1_md5: 3d78807defe7de2157e2b0b6573a855f\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		var out strings.Builder
		err := run(t.Context(), args, strings.NewReader(""), &out, &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("routerctl %v: %v, want it to say %q", args, err, want)
		}
	}
	f("which command?")
	f("\"frob the\" is not a command", "frob", "the", "cluster")
	f("not defined: -nonsense", "calls", "-nonsense")
	f("-ca, -cert and -key", "calls")
	f("\"extra\" is one word too many", "calls", "extra")
	f("the realm is missing", "ha1", "ann")
	f("password on stdin is empty", "ha1", "ann", "trunkline")
	f("operator's certificate", "-api", "x:1", "-ca", "a", "-cert", "b", "-key", "c", "calls")
	f("the file is missing", "validate")
}

// Every command explains itself, and flags may stand anywhere behind it.
func TestEveryCommandHasHelp(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		if seen[c.name] {
			t.Errorf("two commands %q", c.name)
		}
		seen[c.name] = true
		var out strings.Builder
		err := run(t.Context(), append(strings.Fields(c.name), "-h"), strings.NewReader(""), &out, &out)
		if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "usage: routerctl "+c.name) || !strings.Contains(out.String(), c.help) {
			t.Errorf("routerctl %s -h: %v\n%s", c.name, err, out.String())
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		n := fs.Int("n", 0, "")
		words, err := parseMixed(fs, args)
		if got := strings.Join(words, " "); err != nil || got != want || *n != 1 {
			t.Errorf("%q: %q, n %d, %v", args, got, *n, err)
		}
	}
	f("a b", "-n", "1", "a", "b")
	f("a b", "a", "-n=1", "b")
	f("a b", "a", "b", "-n", "1")
	f("a -n 2", "-n", "1", "a", "--", "-n", "2")
}

func TestFactsTellsACallFromAnIndex(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if got := factsPath(args); got != want {
			t.Errorf("factsPath(%q) = %q, want %q", args, got, want)
		}
	}
	f("/v1/facts")
	f("/v1/facts?after=120", "120")
	f("/v1/facts?call=w3jnf3y2fkib7hnmxb6z", "w3jnf3y2fkib7hnmxb6z")
}
