package main

import (
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
	f("not defined: -nonsense", "calls", "-nonsense")
	f("-ca, -cert and -key", "calls")
	f("password on stdin is empty", "ha1", "ann", "trunkline")
	f("operator's certificate", "-api", "x:1", "-ca", "a", "-cert", "b", "-key", "c", "calls")
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
