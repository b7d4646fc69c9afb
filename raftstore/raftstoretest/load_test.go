package raftstoretest

import (
	"math"
	"testing"
	"time"
)

func TestHistogramIsExactToAStep(t *testing.T) {
	for v := uint64(0); v < math.MaxInt64/3; v = v + v/50 + 1 {
		b := bucket(v)
		if least(b) > v || least(b+1) <= v {
			t.Fatalf("%d is in bucket %d, from %d to before %d", v, b, least(b), least(b+1))
		}
		if step := least(b+1) - least(b); step > 1+v/64 {
			t.Fatalf("the step at %d is %d", v, step)
		}
	}
	var h histogram
	if h.at(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := range 100 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	f := func(part float64, want time.Duration) {
		t.Helper()
		if got := h.at(part); got < want || got > want+want/60 {
			t.Errorf("at %g: %s, want %s", part, got, want)
		}
	}
	f(0.5, 50*time.Millisecond)
	f(0.99, 99*time.Millisecond)
	f(1, 100*time.Millisecond)
}

func TestRegistersDoARepeatOnce(t *testing.T) {
	r := NewRegisters()
	do := func(index uint64, op Op) string { return string(r.Apply(index, 0, encode(op))) }
	add := Op{Session: "s", Seq: 1, Kind: OpAppend, Key: "k", Value: "a"}
	first := do(1, add)
	if again := do(2, add); again != first {
		t.Errorf("a repeat is answered %s, first %s", again, first)
	}
	do(3, Op{Session: "s", Seq: 2, Kind: OpRead, Key: "k"})
	if got := do(4, add); got != `{"ok":false,"stale":true}` {
		t.Errorf("a late repeat is answered %s", got)
	}
	if got := do(5, Op{Session: "t", Seq: 1, Kind: OpRead, Key: "k"}); got != `{"v":"a","ok":true}` {
		t.Errorf("the register holds %s", got)
	}
}
