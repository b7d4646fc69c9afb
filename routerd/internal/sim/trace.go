package sim

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// kept is how many of the last lines a failure shows.
const kept = 160

// trace is what happened: a digest of all of it, and its last lines.
type trace struct {
	sum  uint64
	n    int
	ring [kept]line
	out  io.Writer // every line, if set
}

type line struct {
	at           time.Duration
	who, what    string
	about, extra string
	n            uint64
}

func (l *line) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%11.6f %-4s %-10s %s", l.at.Seconds(), l.who, l.what, l.about)
	if l.extra != "" {
		b.WriteByte(' ')
		b.WriteString(l.extra)
	}
	if l.n != 0 {
		b.WriteString(" #")
		b.WriteString(strconv.FormatUint(l.n, 10))
	}
	return b.String()
}

// note writes one line of the trace.
func (w *World) note(who, what, about, extra string, n uint64) {
	t := &w.trace
	l := line{w.now, who, what, about, extra, n}
	s := t.sum
	s = (s ^ uint64(w.now)) * 0x100000001b3
	for _, text := range [...]string{who, what, about, extra} {
		for i := range len(text) {
			s = (s ^ uint64(text[i])) * 0x100000001b3
		}
		s = (s ^ 0xff) * 0x100000001b3
	}
	t.sum = (s ^ n) * 0x100000001b3
	t.ring[t.n%kept] = l
	t.n++
	if t.out != nil {
		fmt.Fprintln(t.out, l.String())
	}
}

// last returns the newest lines, oldest first.
func (t *trace) last() []string {
	var out []string
	for i := max(0, t.n-kept); i < t.n; i++ {
		out = append(out, t.ring[i%kept].String())
	}
	return out
}
