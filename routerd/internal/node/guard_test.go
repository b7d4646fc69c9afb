package node

import (
	"strconv"
	"testing"
	"time"
)

func TestGuessesRunOut(t *testing.T) {
	var g guard
	now := time.Unix(1_700_000_000, 0)
	for range ofUser.n {
		if g.blocked("10.0.0.9", "ann", false, now) {
			t.Fatal("blocked before the tries were used up")
		}
		g.wrong("10.0.0.9", "ann", false, true, now)
	}
	f := func(source, user string, known, want bool) {
		t.Helper()
		if got := g.blocked(source, user, known, now); got != want {
			t.Errorf("%s from %s (known %t) is blocked: %t", user, source, known, got)
		}
	}
	f("10.0.0.9", "ann", false, true)
	f("10.0.0.7", "ann", false, true) // guesses come from many places
	f("10.0.0.7", "ann", true, false) // where her phone is, she may err
	f("10.0.0.9", "bob", false, false)
	for range ofSource.n - ofUser.n {
		g.wrong("10.0.0.9", "nobody", false, false, now)
	}
	f("10.0.0.9", "bob", false, true)
	if len(g.users) != 1 {
		t.Errorf("%d users are remembered, one exists", len(g.users))
	}
	now = now.Add(ofUser.forgive)
	f("10.0.0.7", "ann", false, false)
	g.wrong("10.0.0.7", "ann", false, true, now)
	f("10.0.0.7", "ann", false, true)
	now = now.Add(time.Hour)
	f("10.0.0.9", "ann", false, false)
}

func TestGuessersDoNotFillTheMemory(t *testing.T) {
	var g guard
	now := time.Unix(1_700_000_000, 0)
	for range ofSource.n {
		g.wrong("worst", "x", false, false, now.Add(time.Second))
	}
	for i := range 2 * maxSources {
		g.wrong("10."+strconv.Itoa(i), "x", false, false, now.Add(time.Duration(i)*time.Microsecond))
	}
	if len(g.sources) > maxSources {
		t.Errorf("%d sources are remembered", len(g.sources))
	}
	if !g.blocked("worst", "bob", false, now.Add(time.Second)) {
		t.Error("who failed last is forgotten first")
	}
}
