package acd

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Fault is one thing wrong with a Config.
type Fault struct {
	Path string // where, as in queues[2].max_wait
	Text string // what
}

func (f Fault) Error() string { return f.Path + ": " + f.Text }

// Validate returns all faults of the configuration, joined; each is a Fault.
// The machine does not apply a configuration that has any.
func (c Config) Validate() error {
	var errs []error
	fault := func(text string, path string, args ...any) {
		errs = append(errs, Fault{Path: fmt.Sprintf(path, args...), Text: text})
	}
	c.validateTrunks(fault)
	queues := c.validateQueues(fault)
	numbers := make(map[string]bool)
	for i, n := range c.Numbers {
		if digits := strings.TrimPrefix(n.Number, "+"); digits == n.Number || digits == "" || strings.Trim(digits, "0123456789") != "" {
			fault("not an E.164 number with +", "numbers[%d].number", i)
		}
		if numbers[n.Number] {
			fault("number given twice", "numbers[%d].number", i)
		}
		numbers[n.Number] = true
		if !queues[n.Queue] {
			fault(fmt.Sprintf("no queue %q", n.Queue), "numbers[%d].queue", i)
		}
	}
	agents := make(map[AgentID]bool)
	for i, a := range c.Agents {
		if a.ID == "" {
			fault("id is empty", "agents[%d].id", i)
		}
		if agents[a.ID] {
			fault("agent given twice", "agents[%d].id", i)
		}
		agents[a.ID] = true
		seen := make(map[QueueID]bool)
		for j, q := range a.Queues {
			if !queues[q] {
				fault(fmt.Sprintf("no queue %q", q), "agents[%d].queues[%d]", i, j)
			}
			if seen[q] {
				fault("queue given twice", "agents[%d].queues[%d]", i, j)
			}
			seen[q] = true
		}
		if !isDigest(a.HA1SHA256, 64) {
			fault("not 64 hex digits", "agents[%d].ha1_sha256", i)
		}
		if !isDigest(a.HA1MD5, 32) {
			fault("not 32 hex digits", "agents[%d].ha1_md5", i)
		}
	}
	return errors.Join(errs...)
}

func (c Config) validateTrunks(fault func(text, path string, args ...any)) {
	if c.MaxChannels < 0 {
		fault("is negative", "max_channels")
	}
	trunks := make(map[TrunkID]bool)
	for i, t := range c.Trunks {
		if t.ID == "" {
			fault("id is empty", "trunks[%d].id", i)
		}
		if trunks[t.ID] {
			fault("trunk given twice", "trunks[%d].id", i)
		}
		trunks[t.ID] = true
		if t.Channels < 0 {
			fault("is negative", "trunks[%d].channels", i)
		}
	}
}

func (c Config) validateQueues(fault func(text, path string, args ...any)) map[QueueID]bool {
	queues := make(map[QueueID]bool)
	for i, q := range c.Queues {
		if q.ID == "" {
			fault("id is empty", "queues[%d].id", i)
		}
		if queues[q.ID] {
			fault("queue given twice", "queues[%d].id", i)
		}
		queues[q.ID] = true
		for _, d := range []struct {
			name string
			d    time.Duration
		}{{"ring_timeout", q.RingTimeout}, {"wrap_up", q.WrapUp}, {"max_wait", q.MaxWait}, {"reject_delay", q.RejectDelay}} {
			if d.d < 0 || d.d > 24*time.Hour {
				fault("is not between 0 and 24 h", "queues[%d].%s", i, d.name)
			}
		}
		if q.MaxLength < 0 {
			fault("is negative", "queues[%d].max_length", i)
		}
		if q.MissedLimit < 0 {
			fault("is negative", "queues[%d].missed_limit", i)
		}
		if _, ok := strategyOf(q.Strategy); !ok {
			fault(fmt.Sprintf("no strategy %q", q.Strategy), "queues[%d].strategy", i)
		}
	}
	return queues
}

// isDigest accepts lower- or upper-case hex of the length, or nothing.
func isDigest(s string, length int) bool {
	return s == "" || len(s) == length && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
