package acd

import (
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"
)

// Sizes of the state that DESIGN section 9 names.
const (
	benchCalls  = 12_000
	benchAgents = 2_500
	benchQueues = 10
)

// bench drives a machine at full size. Each operator serves one queue.
type bench struct {
	m     *Machine
	index uint64
	seq   uint64
	clock Time
	owner Owner
}

func (b *bench) apply(body Body) (Result, []Effect) {
	b.index++
	b.seq++
	b.clock = b.clock.Add(time.Millisecond)
	floor := uint64(0)
	if b.seq > 64 {
		floor = b.seq - 64
	}
	return b.m.Apply(b.index, Command{Stamp: b.clock, Session: "bench", Seq: b.seq, Floor: floor, Body: body})
}

// newBench fills the machine: agents talking, the other calls waiting.
func newBench(tb testing.TB, calls, agents int) *bench {
	tb.Helper()
	b := &bench{m: New(), clock: Time(1e18)}
	cfg := Config{Trunks: []Trunk{{ID: "sbc-a"}}}
	for q := range benchQueues {
		id := QueueID(fmt.Sprint("q", q))
		cfg.Queues = append(cfg.Queues, Queue{ID: id, Music: "music", MaxWait: time.Hour})
		cfg.Numbers = append(cfg.Numbers, Number{Number: fmt.Sprint("+", q), Greeting: "hello", Queue: id})
	}
	for a := range agents {
		cfg.Agents = append(cfg.Agents, Agent{ID: AgentID(fmt.Sprintf("agent-%04d", a)), Queues: []QueueID{cfg.Queues[a%benchQueues].ID}, AutoAvailable: true})
	}
	b.apply(ConfigApplied{Config: cfg})
	r, _ := b.apply(NodeStarted{Node: "r1"})
	b.owner = Owner{"r1", r.Incarnation}
	for w := range 3 {
		id := fmt.Sprint("m", w)
		b.apply(WorkerStarted{Worker: WorkerID(id), Incarnation: 1, Addresses: []string{id}})
	}
	for _, a := range cfg.Agents {
		b.apply(RegistrationChanged{Agent: a.ID, Contact: Contact{URI: "sip:" + string(a.ID), SIPID: "r"}, Expires: 10_000 * time.Hour})
	}
	for i := range calls {
		id := CallID(fmt.Sprintf("call-%06d", i))
		b.wait(id, i)
		if i < agents {
			b.talk(id)
		}
	}
	return b
}

func (b *bench) on(id CallID) OnCall { return OnCall{Call: id, Epoch: b.m.calls[id].Epoch} }

// wait brings a new call into its queue: 4 commands.
func (b *bench) wait(id CallID, n int) {
	b.apply(CallArrived{OnCall: OnCall{Call: id, Records: []LegRecord{{CallerLeg, make([]byte, 1500)}}}, Owner: b.owner, Trunk: "sbc-a", Edge: "edge-1", From: "+79001234567", To: fmt.Sprint("+", n%benchQueues), SIPID: string(id)})
	b.apply(LegAnswered{OnCall: b.on(id), Leg: CallerLeg, Media: Media{"m0", "PCMA", "AEAD_AES_128_GCM"}})
	b.apply(PromptStarted{OnCall: b.on(id), Leg: CallerLeg, Prompt: "hello", Failed: true})
	b.apply(PromptStarted{OnCall: b.on(id), Leg: CallerLeg, Prompt: "music"})
}

// talk answers the call's offer: 2 commands.
func (b *bench) talk(id CallID) {
	leg := b.m.calls[id].nextOffer(0).ID
	b.apply(LegProgressed{OnCall: b.on(id), Leg: leg, Code: 180})
	b.apply(LegAnswered{OnCall: b.on(id), Leg: leg, Media: Media{"m0", "PCMA", "AEAD_AES_128_GCM"}})
}

// BenchmarkCall: whole calls at full size, 9 commands each: arrive, answered,
// greeted, music, ringing, answered, ACK record, caller ends, agent's leg ends.
// Each freed agent is offered the call that waits longest.
func BenchmarkCall(b *testing.B) {
	x := newBench(b, benchCalls, benchAgents)
	var talking []CallID
	for id, c := range x.m.calls {
		if c.State == CallTalking {
			talking = append(talking, id)
		}
	}
	b.ReportAllocs()
	from, n, cpu := x.index, 0, cpuTime(b)
	for b.Loop() {
		done := talking[n%len(talking)]
		agent := x.m.agents[x.m.calls[done].Agent]
		leg := x.m.calls[done].AgentLeg
		x.apply(LegEnded{OnCall: x.on(done), Leg: CallerLeg, Cause: "bye"})
		x.apply(LegEnded{OnCall: x.on(done), Leg: leg, Cause: "hangup"})
		next := agent.Call // offered in the same step
		x.talk(next)
		x.apply(LegUpdated{OnCall: x.on(next)})
		talking[n%len(talking)] = next
		x.wait(CallID(fmt.Sprintf("new-%08d", n)), n)
		n++
	}
	report(b, x, from, cpu)
}

// report prints commands by wall clock and by the whole process's processor
// time, collection of garbage included: on a shared machine only the latter
// says something.
func report(b *testing.B, x *bench, from uint64, cpu time.Duration) {
	n := float64(x.index - from)
	b.ReportMetric(n/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(n/(cpuTime(b)-cpu).Seconds(), "commands/cpu-s")
}

func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkUpdate: the smallest command about a call.
func BenchmarkUpdate(b *testing.B) {
	x := newBench(b, benchCalls, benchAgents)
	b.ReportAllocs()
	from, cpu := x.index, cpuTime(b)
	id := CallID("call-000000")
	rec := []LegRecord{{CallerLeg, make([]byte, 1500)}}
	for b.Loop() {
		x.apply(LegUpdated{OnCall: OnCall{Call: id, Epoch: x.m.calls[id].Epoch, Records: rec}})
	}
	report(b, x, from, cpu)
}

// BenchmarkRefresh: a phone registers again, as 2 500 do every few minutes.
func BenchmarkRefresh(b *testing.B) {
	x := newBench(b, benchCalls, benchAgents)
	b.ReportAllocs()
	from, n, cpu := x.index, 0, cpuTime(b)
	for b.Loop() {
		id := AgentID(fmt.Sprintf("agent-%04d", n%benchAgents))
		x.apply(RegistrationChanged{Agent: id, Contact: Contact{URI: "sip:" + string(id), SIPID: "r", CSeq: uint32(n + 1)}, Expires: time.Hour})
		n++
	}
	report(b, x, from, cpu)
}

// BenchmarkOffer: an offer is refused and goes to the next agent, with no call
// waiting but one and all agents idle: the cost must not grow with them.
func BenchmarkOffer(b *testing.B) {
	for _, agents := range []int{100, 1_000, 10_000} {
		for _, waiting := range []int{100, 100_000} {
			b.Run(fmt.Sprintf("agents=%d/waiting=%d", agents, waiting), func(b *testing.B) {
				x := newBench(b, 0, agents)
				x.m.queues["q0"].MaxWait, x.m.queues["q0"].RingTimeout = 0, 24*time.Hour // much time will pass
				for i := range agents / benchQueues {
					id := CallID(fmt.Sprintf("busy-%06d", i))
					if x.wait(id, 0); i > 0 {
						x.talk(id)
					}
				}
				for i := range waiting {
					x.wait(CallID(fmt.Sprintf("call-%06d", i)), 0)
				}
				first := x.m.calls["busy-000000"]
				b.ReportAllocs()
				for b.Loop() { // its agent is the only one idle once the back-off is over
					x.apply(LegFailed{OnCall: x.on(first.ID), Leg: first.nextOffer(0).ID, Code: 486})
					x.clock = x.clock.Add(leastBackOff)
					x.apply(Ticked{})
				}
			})
		}
	}
}

// BenchmarkSnapshotStall: how long Apply stands still for a snapshot.
func BenchmarkSnapshotStall(b *testing.B) {
	x := newBench(b, benchCalls, benchAgents)
	cpu := cpuTime(b)
	for b.Loop() {
		fmt.Fprint(io.Discard, len(x.m.Snapshot().Calls))
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkHash: of a snapshot, beside Apply.
func BenchmarkHash(b *testing.B) {
	s := newBench(b, benchCalls, benchAgents).m.Snapshot()
	for b.Loop() {
		s.Hash()
	}
}
