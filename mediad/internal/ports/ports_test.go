package ports

import (
	"errors"
	"testing"
)

func TestRangesAreRead(t *testing.T) {
	f := func(s string, pairs int) {
		t.Helper()
		r, err := ParseRange(s)
		if (err == nil) != (pairs > 0) || r.Pairs() != pairs && pairs > 0 {
			t.Errorf("%q: %v, %d pairs, want %d", s, err, r.Pairs(), pairs)
		}
	}
	f("20000-39999", 10000)
	f("20000-20001", 1)
	f("20001-20004", 1)
	f("65534-65535", 1)
	f("20001-20002", 0)
	f("20000", 0)
	f("80-200", 0)
	f("40000-30000", 0)
	f("x-y", 0)
	f("1-99999", 0)
}

func TestEveryPairOnceUntilFreed(t *testing.T) {
	p := NewPool(Range{20001, 20200})
	got := map[uint16]bool{}
	var order []uint16
	for range 99 {
		port, err := p.Get()
		if err != nil || port%2 != 0 || port < 20001 || port > 20199 || got[port] {
			t.Fatalf("%d: %v", port, err)
		}
		got[port] = true
		order = append(order, port)
	}
	if _, err := p.Get(); !errors.Is(err, ErrNone) || p.Free() != 0 {
		t.Fatalf("%v, %d free", err, p.Free())
	}
	p.Put(order[5])
	p.Put(order[3])
	p.Put(order[3]) // twice is once
	if p.Free() != 2 {
		t.Errorf("%d free", p.Free())
	}
	for _, want := range []uint16{order[5], order[3]} {
		if port, _ := p.Get(); port != want {
			t.Errorf("got %d, want %d: the one free for longest", port, want)
		}
	}
}

func TestATakenPairIsNotGot(t *testing.T) {
	p := NewPool(Range{20000, 20007})
	if !p.Take(20002) || p.Take(20002) || p.Free() != 3 {
		t.Error("Take")
	}
	p.Put(20002) // still queued: must not come up twice
	p.Take(20004)
	seen := map[uint16]int{}
	for {
		port, err := p.Get()
		if err != nil {
			break
		}
		seen[port]++
	}
	if len(seen) != 3 || seen[20002] != 1 || seen[20004] != 0 {
		t.Errorf("got %v", seen)
	}
	p.Put(20004)
	if port, err := p.Get(); err != nil || port != 20004 {
		t.Errorf("%d, %v", port, err)
	}
}
