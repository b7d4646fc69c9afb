package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"trunkline/loadtest/check"
)

// kind is a pair of suites that calls are between.
type kind struct {
	name      string
	near, far suite
}

func (k kind) plain() bool { return k.near == plain || k.far == plain }

// kinds are what both daemons relay.
var kinds = []kind{
	{"AES_CM_128_HMAC_SHA1_80", cm80, cm80},
	{"AEAD_AES_128_GCM", gcm128, gcm128},
	{"AEAD_AES_256_GCM", gcm256, gcm256},
	{"RTP and AES_CM_128_HMAC_SHA1_80", plain, cm80},
}

// generatorAddr is where the parties of both daemons' calls are.
var generatorAddr = netip.MustParseAddr("127.21.0.10")

// figure is what one daemon did in one cell.
type figure struct {
	Relay     string  `json:"relay"`
	Kind      string  `json:"kind"`
	Calls     int     `json:"calls"`
	Sent      int     `json:"packets_sent"`
	Lost      int     `json:"packets_lost"`
	Wrong     int     `json:"packets_wrong"`
	Late      int     `json:"packets_reordered"`
	Cost      float64 `json:"cpu_us_per_packet"`
	DelayP50  float64 `json:"delay_ms_p50"`
	DelayP99  float64 `json:"delay_ms_p99"`
	PerCall   float64 `json:"memory_kb_per_call"`
	Recording bool    `json:"recording"`
}

// measure is what one daemon's slices of a cell add up to.
type measure struct {
	tally  tally
	spent  spent
	memory int // bytes more than without calls
}

// cost is in microseconds of processor time per relayed packet.
func (m *measure) cost() float64 {
	return float64(m.spent.cpu.Nanoseconds()) / 1000 / float64(max(m.spent.packets, 1))
}

// slice has one daemon's calls talk for a while.
func (m *measure) slice(r *relay, lasts time.Duration) error {
	t, used, err := r.gen.run(lasts, r.cpu)
	m.tally.add(t)
	m.spent.cpu += used.cpu
	m.spent.packets += used.packets
	return err
}

func (m *measure) figure(r *relay, k kind, calls int) figure {
	return figure{Relay: r.name, Kind: k.name, Calls: calls, Sent: m.tally.Sent, Lost: m.tally.lost(), Wrong: m.tally.wrong(), Late: m.tally.Late,
		Cost: round(m.cost()), DelayP50: check.Millis(quantile(&m.tally.delays, 0.5)), DelayP99: check.Millis(quantile(&m.tally.delays, 0.99)),
		PerCall: round(float64(m.memory) / 1000 / float64(calls))}
}

// open starts a daemon and sets calls up in it.
func (p *proof) open(ctx context.Context, r *relay, k kind, calls int) (m *measure, err error) {
	if err := r.start(ctx, generatorAddr); err != nil {
		return nil, err
	}
	m = &measure{}
	if m.memory, err = r.memory(); err != nil {
		return nil, err
	}
	m.memory = -m.memory
	for range calls {
		if err := r.call(ctx, k.near, k.far); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// turns is how often each has its turn in a cell.
const turns = 4

// compare has the same calls talk over both daemons by turns, so that what else
// the machine does meets both alike.
func (p *proof) compare(ctx context.Context, k kind, calls int) error {
	both := []*relay{p.ours, p.theirs}
	of := map[*relay]*measure{}
	for _, r := range both {
		defer r.stop()
		m, err := p.open(ctx, r, k, calls)
		if err != nil {
			return err
		}
		of[r] = m
	}
	h := p.watch()
	for i := range 2 * turns {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := both[(i+1)/2%2] // the one, the other twice, the one: what grows or falls meets both alike
		if err := of[r].slice(r, p.last/turns); err != nil {
			return err
		}
	}
	p.healthy(h, fmt.Sprintf("%s, %d calls", k.name, calls), &of[p.ours].tally, &of[p.theirs].tally)
	for _, r := range both {
		now, err := r.memory()
		if err != nil {
			return err
		}
		of[r].memory += now
		passed, err := r.gen.forge()
		if err != nil {
			return err
		}
		of[r].tally.Altered += passed
		p.row(of[r].figure(r, k, calls))
	}
	name := fmt.Sprintf("%s, %d calls: ", k.name, calls)
	ours, theirs := of[p.ours], of[p.theirs]
	p.report.AtMost(name+"processor time per packet, mediad / "+p.theirs.name, round(ours.cost()/theirs.cost()), "", mostCost)
	p.report.Equal(name+"packets lost by mediad", ours.tally.lost(), 0, "packets")
	p.report.Equal(name+"packets that should not have come of mediad", ours.tally.wrong(), 0, "packets")
	p.report.Equal(name+"packets that should not have come of "+p.theirs.name, theirs.tally.wrong(), 0, "packets")
	return nil
}

// recorded has mediad alone record its calls by turns.
func (p *proof) recorded(ctx context.Context, calls int) error {
	k, r := kinds[0], p.ours
	defer r.stop()
	all, err := p.open(ctx, r, k, calls)
	if err != nil {
		return err
	}
	off, on := &measure{}, &measure{}
	h := p.watch()
	for i := range 2 * turns {
		m := []*measure{off, on}[(i+1)/2%2]
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.record(ctx, m == on); err != nil {
			return err
		}
		if err := m.slice(r, p.last/turns); err != nil {
			return err
		}
	}
	p.healthy(h, fmt.Sprintf("recording, %d calls", calls), &off.tally, &on.tally)
	now, err := r.memory()
	if err != nil {
		return err
	}
	all.memory += now
	off.memory, on.memory = all.memory, all.memory
	made, err := p.allocated(ctx, on)
	if err != nil {
		return err
	}
	written, dropped, err := p.kept(ctx)
	if err != nil {
		return err
	}
	for _, m := range []*measure{off, on} {
		f := m.figure(r, k, calls)
		f.Recording = m == on
		p.row(f)
	}
	name := fmt.Sprintf("recording, %d calls: ", calls)
	p.report.Equal(name+"packets lost by mediad", on.tally.lost(), 0, "packets")
	p.report.Equal(name+"packets that should not have come", on.tally.wrong(), 0, "packets")
	p.report.Equal(name+"packets written of those sent", written, on.tally.Sent, "packets")
	p.report.Equal(name+"packets not recorded", dropped, 0, "packets")
	p.report.AtMost(name+"processor time more than without", round(100*(on.cost()/off.cost()-1)), "%", mostRecording)
	p.report.AtMost(name+"allocations per packet", round(made), "", mostAllocations)
	return nil
}

// allocated is how many objects mediad makes for a packet of recorded calls, once
// their recordings have begun.
func (p *proof) allocated(ctx context.Context, on *measure) (perPacket float64, err error) {
	if err := p.ours.record(ctx, true); err != nil {
		return 0, err
	}
	if err := on.slice(p.ours, p.last/turns/2); err != nil {
		return 0, err
	}
	var at [3]float64
	sent := on.tally.Sent
	for i := range at {
		if i == 2 { // the first two say what asking costs
			if err := on.slice(p.ours, p.last/turns); err != nil {
				return 0, err
			}
		}
		all, err := p.ours.metrics(ctx)
		if err != nil {
			return 0, err
		}
		at[i] = all["go_memstats_mallocs_total"]
	}
	return max(0, at[2]-at[1]-(at[1]-at[0])) / float64(on.tally.Sent-sent), nil
}

// kept is what became of the packets that mediad was to record, once the last
// are written.
func (p *proof) kept(ctx context.Context) (written, dropped int, err error) {
	again := time.NewTicker(time.Second) // four groups of packets go to the disk meanwhile
	defer again.Stop()
	for {
		all, err := p.ours.metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		dropped = 0
		for name, v := range all {
			if strings.HasPrefix(name, "mediad_record_drops_total") {
				dropped += int(v)
			}
		}
		was := written
		if written = int(all["mediad_record_packets_total"]); written == was {
			return written, dropped, nil
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-again.C:
		}
	}
}
