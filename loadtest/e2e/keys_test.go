package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
)

// sum adds a metric up over the components that run.
func (s *tier) sum(metric string, components ...string) (total int) {
	s.Helper()
	for _, name := range components {
		if !s.lab.Running(name) {
			continue
		}
		res, err := http.Get(fmt.Sprintf("http://%s:%d/metrics", s.lab.Addr(name), lab.PortMetrics))
		if err != nil {
			s.Logf("metrics of %s: %v", name, err)
			continue
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if value, ok := strings.CutPrefix(lines.Text(), metric+" "); ok {
				n, err := strconv.ParseFloat(value, 64)
				if err != nil {
					s.Fatalf("%s of %s: %v", metric, name, err)
				}
				total += int(n)
			}
		}
		res.Body.Close()
	}
	return total
}

// collected is how many keys the running routers have given to the machine.
func (s *tier) collected() int { return s.sum("routerd_digits_collected_total", "r1", "r2", "r3") }

func (s *tier) press(c *endpoint.Call, keys string, by endpoint.Keypad) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	if err := c.Press(ctx, keys, by); err != nil {
		s.Fatal(err)
	}
}

// A waiting caller's keys reach the machine once each: by INFO, by RTP events,
// by both at once, and with the death of the router or the worker between
// pressing and collecting (T6, T13).
func TestKeysOfAWaitingCallerCountOnce(t *testing.T) {
	s := raise(t, 10*time.Minute)
	want := 0
	collect := func(what string, n int) {
		t.Helper()
		want += n
		s.await(20*time.Second, what, func() bool { return s.collected() >= want })
	}
	var c *endpoint.Call
	for _, by := range []struct {
		what string
		ways endpoint.Keypad
	}{{"keys by INFO", endpoint.ByInfo}, {"keys by both ways", endpoint.ByInfo | endpoint.ByEvents}, {"keys by RTP events", endpoint.ByEvents}} {
		if c != nil {
			s.end(c, c)
		}
		c = s.call(lab.SBCA)
		s.await(20*time.Second, "the caller to wait", s.inState(c, "waiting", "up"))
		s.press(c, "12*#", by.ways)
		collect(by.what, 4)
	}
	if got := s.collected(); got != want {
		t.Fatalf("%d keys collected, want %d: some count twice", got, want)
	}

	// The owner dies; two keys are pressed while the call has none.
	v, _ := s.seen(c)
	if err := s.lab.Kill(v.Node); err != nil {
		t.Fatal(err)
	}
	before := s.collected() // of the survivors
	s.press(c, "34", endpoint.ByEvents)
	s.await(30*time.Second, "the call to have another owner", func() bool {
		now, ok := s.seen(c)
		return ok && now.Node != v.Node
	})
	s.await(20*time.Second, "the keys pressed meanwhile", func() bool { return s.collected() >= before+2 })

	// The worker dies, and its standby goes on with the count.
	v, _ = s.seen(c)
	if err := s.lab.Kill(v.Worker); err != nil {
		t.Fatal(err)
	}
	s.await(20*time.Second, "the media to move", func() bool {
		now, ok := s.seen(c)
		return ok && now.Worker != "" && now.Worker != v.Worker
	})
	heard := c.Result().Media.Received
	s.await(20*time.Second, "the music to go on", func() bool { return c.Result().Media.Received > heard+50 })
	s.press(c, "56", endpoint.ByEvents)
	s.await(20*time.Second, "keys at the standby", func() bool { return s.collected() >= before+4 })
	if got := s.collected(); got != before+4 {
		t.Errorf("the survivors collected %d keys, want 4", got-before)
	}
	s.end(c, c)
}
