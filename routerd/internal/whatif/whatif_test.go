package whatif

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"syscall"
	"testing"
	"time"

	"trunkline/raftstore/archive"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

var seed = flag.Uint64("seed", 1, "of the generated days")

// nine is when the generated days begin.
const nine = acd.Time(1_767_258_000_000_000_000) // 2026-01-01 09:00 UTC

// truth is a day whose callers' patience is known, as no log knows it.
type truth struct {
	day Day
	cfg acd.Config
}

// generate makes a busy hour: calls by a rate that doubles towards the middle,
// lognormal talk, exponential patience, agents of one or two queues who miss or
// refuse an offer now and then.
func generate(calls, agents int, seed uint64) truth {
	dice := rand.New(rand.NewPCG(seed, 7))
	const queues = 5
	cfg := acd.Config{Trunks: []acd.Trunk{{ID: "sbc-a"}}}
	for q := range queues {
		id := acd.QueueID(fmt.Sprint("q", q))
		cfg.Queues = append(cfg.Queues, acd.Queue{ID: id, RingTimeout: 15 * time.Second, WrapUp: 15 * time.Second, WrapUpMax: time.Minute, MissedLimit: 5})
		cfg.Numbers = append(cfg.Numbers, acd.Number{Number: fmt.Sprint("+10", q), Queue: id, Greeting: "hello"})
	}
	d := Day{From: nine, To: nine.Add(time.Hour), Prompts: map[string]time.Duration{"hello": 4 * time.Second}, Offers: map[acd.AgentID][]Outcome{}}
	for i := range agents {
		id := acd.AgentID(fmt.Sprint("a", i))
		a := acd.Agent{ID: id, Queues: []acd.QueueID{cfg.Queues[i%queues].ID}}
		if i%4 == 0 {
			a.Queues = append(a.Queues, cfg.Queues[(i+1)%queues].ID)
		}
		cfg.Agents = append(cfg.Agents, a)
		at := nine.Add(time.Duration(dice.IntN(60)) * time.Second)
		d.Presence = append(d.Presence, Presence{At: at, Agent: id, Contact: acd.Contact{URI: fmt.Sprintf("sip:%s@phone", id), SIPID: string(id)}})
		d.Wishes = append(d.Wishes, Wish{at.Add(time.Second), acd.AgentStatusSet{Agent: id, Status: acd.Available}})
		if i%10 == 0 { // a break of five minutes
			lunch := nine.Add(time.Duration(10+dice.IntN(40)) * time.Minute)
			d.Wishes = append(d.Wishes, Wish{lunch, acd.AgentStatusSet{Agent: id, Status: acd.OnBreak, Reason: "tea"}},
				Wish{lunch.Add(5 * time.Minute), acd.AgentStatusSet{Agent: id, Status: acd.Available}})
		}
		for range 40 {
			o := Outcome{time.Duration(1000+dice.IntN(5000)) * time.Millisecond, 200}
			switch dice.IntN(40) {
			case 0:
				o = Outcome{}
			case 1:
				o.Code = 486
			}
			d.Offers[id] = append(d.Offers[id], o)
		}
	}
	for len(d.Arrivals) < calls {
		at := dice.Float64()
		if dice.Float64() > (1+math.Sin(math.Pi*at))/2 { // thinning
			continue
		}
		a := Arrival{
			At: nine.Add(time.Duration(at * float64(time.Hour))), Trunk: "sbc-a", Edge: "e1", From: fmt.Sprint("+7999", len(d.Arrivals)),
			To: fmt.Sprint("+10", dice.IntN(queues)), Answer: 80 * time.Millisecond, GaveUp: true,
			Waited: time.Duration(dice.ExpFloat64() * float64(2*time.Minute)),
			Talk:   time.Duration(math.Exp(dice.NormFloat64()*0.6+5) * float64(time.Second)), // mean about 178 s
		}
		if dice.IntN(3) == 0 {
			a.WrapUp = 5 * time.Second
		}
		d.Arrivals = append(d.Arrivals, a)
	}
	return truth{d, cfg}
}

// logOf runs the true day under a configuration and returns what the routers
// would have written down.
func (tr truth) logOf(t testing.TB, cfg acd.Config) (log []archive.Record, r *Report) {
	t.Helper()
	o := Options{Seed: 99}
	d := tr.day
	s := &simulation{day: &d, o: o, m: acd.New(), tally: newTally(o, cfg, d.From), calls: map[acd.CallID]*caller{}}
	s.record = func(index uint64, stamp acd.Time, cmd acd.Command) {
		data, err := acdwire.EncodeCommand(cmd)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, archive.Record{Index: index, Stamp: int64(stamp), Data: data})
	}
	if err := s.begin(cfg); err != nil {
		t.Fatal(err)
	}
	s.schedule(false)
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	s.count(true)
	return log, s.tally.report(d.To)
}

// observe reads a log as Read does.
func observe(t testing.TB, log []archive.Record, from, to acd.Time) *Day {
	t.Helper()
	m := acd.New()
	take := func(r archive.Record) error {
		cmd, err := acdwire.DecodeCommand(r.Data)
		if err != nil {
			return err
		}
		cmd.Stamp = acd.Time(r.Stamp)
		m.Apply(r.Index, cmd)
		return nil
	}
	for len(log) > 0 && acd.Time(log[0].Stamp) < from {
		if err := take(log[0]); err != nil {
			t.Fatal(err)
		}
		log = log[1:]
	}
	d, err := Observe(m, from, to, Options{}, func(take func(archive.Record) error) error {
		for _, r := range log {
			if err := take(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func show(t testing.TB, what string, f Figures) {
	t.Logf("%-34s queued %d answered %d abandoned %d other %d; SL %.2f %%, ASA %v, abandonment %.2f %%, occupancy %.2f %%, max queue %d", what,
		f.Queued, f.Answered, f.Abandoned, f.Other, 100*f.ServiceLevel(), f.ASA().Round(100*time.Millisecond), 100*f.Abandonment(), 100*f.Occupancy(), f.MaxQueue)
}

func simulate(t testing.TB, d *Day, cfg *acd.Config, seed uint64) *Report {
	t.Helper()
	r, err := d.Simulate(cfg, Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// off is by how much two shares differ, in points.
func off(a, b float64) float64 { return math.Abs(100 * (a - b)) }

// What is read from the log says what the log's own world says, to the call.
func TestTheRecordIsCountedAsItHappened(t *testing.T) {
	tr := generate(2000, 125, *seed)
	log, true1 := tr.logOf(t, tr.cfg)
	d := observe(t, log, tr.day.From, tr.day.To)
	show(t, "as it happened", true1.Total)
	show(t, "read from the log", d.Recorded.Total)
	if !reflect.DeepEqual(true1, d.Recorded) {
		t.Errorf("read\n%+v\nwant\n%+v", d.Recorded, true1)
	}
	if len(d.Arrivals) != 2000 {
		t.Errorf("%d arrivals", len(d.Arrivals))
	}
	callers := map[string]Arrival{}
	for _, a := range tr.day.Arrivals {
		callers[a.From] = a
	}
	served := 0
	for _, a := range d.Arrivals {
		c, end := callers[a.From], a.At.Add(a.Answer+4*time.Second+a.Waited+a.Talk)
		near := func(a, b time.Duration) bool { return (a - b).Abs() <= 2*time.Millisecond }
		switch {
		case a.At != c.At || !near(a.Answer, c.Answer):
			t.Errorf("%s arrived at %v, answered after %v, want %v and %v", a.From, a.At, a.Answer, c.At, c.Answer)
		case a.Talk > 0 && end.Add(time.Second) < tr.day.To:
			served++
			if !near(a.Talk, c.Talk) || a.Waited > c.Waited {
				t.Errorf("%s waited %v and talked %v, want at most %v and %v", a.From, a.Waited, a.Talk, c.Waited, c.Talk)
			}
		case a.GaveUp && c.Waited > 20*time.Millisecond && !near(a.Waited, c.Waited):
			t.Errorf("%s gave up after %v, want %v", a.From, a.Waited, c.Waited)
		}
	}
	if served < 1000 {
		t.Errorf("only %d served calls were seen to their end", served)
	}
}

// The simulation with the recorded configuration meets the record: the error
// is stated here, and printed with each forecast.
func TestTheModelMeetsTheRecord(t *testing.T) {
	tr := generate(5000, 308, *seed)
	log, _ := tr.logOf(t, tr.cfg)
	d := observe(t, log, tr.day.From, tr.day.To)
	show(t, "recorded", d.Recorded.Total)
	for s := range uint64(2) {
		r := simulate(t, d, nil, s)
		show(t, fmt.Sprintf("simulated, seed %d", s), r.Total)
		got, want := r.Total, d.Recorded.Total
		if off(got.ServiceLevel(), want.ServiceLevel()) > 3 || off(got.Abandonment(), want.Abandonment()) > 2 || off(got.Occupancy(), want.Occupancy()) > 0.7 {
			t.Errorf("seed %d: off by %.2f points of service level, %.2f of abandonment, %.2f of occupancy", s,
				off(got.ServiceLevel(), want.ServiceLevel()), off(got.Abandonment(), want.Abandonment()), off(got.Occupancy(), want.Occupancy()))
		}
	}
}

// What a log of the old configuration foretells of a new one is what the same
// callers then do, although nobody knows the patience of who was served.
func TestTheForecastComesTrue(t *testing.T) {
	tr := generate(5000, 308, *seed)
	log, _ := tr.logOf(t, tr.cfg)
	d := observe(t, log, tr.day.From, tr.day.To)
	f := func(what string, change func(*acd.Config)) {
		t.Helper()
		cfg := tr.cfg
		cfg.Queues = append([]acd.Queue(nil), cfg.Queues...)
		cfg.Agents = append([]acd.Agent(nil), cfg.Agents...)
		change(&cfg)
		_, comes := tr.logOf(t, cfg)
		foretold := simulate(t, d, &cfg, 5)
		show(t, what+": foretold", foretold.Total)
		show(t, what+": came", comes.Total)
		got, want := foretold.Total, comes.Total
		if off(got.ServiceLevel(), want.ServiceLevel()) > 4 || off(got.Abandonment(), want.Abandonment()) > 3 || off(got.Occupancy(), want.Occupancy()) > 2 {
			t.Errorf("%s: off by %.2f points of service level, %.2f of abandonment, %.2f of occupancy", what,
				off(got.ServiceLevel(), want.ServiceLevel()), off(got.Abandonment(), want.Abandonment()), off(got.Occupancy(), want.Occupancy()))
		}
	}
	f("wrap-up 30 s", func(c *acd.Config) {
		for i := range c.Queues {
			c.Queues[i].WrapUp = 30 * time.Second
		}
	})
	f("everybody serves everything", func(c *acd.Config) {
		for i := range c.Agents {
			c.Agents[i].Queues = nil
			for _, q := range c.Queues {
				c.Agents[i].Queues = append(c.Agents[i].Queues, q.ID)
			}
		}
	})
	f("at most 20 wait", func(c *acd.Config) {
		for i := range c.Queues {
			c.Queues[i].MaxLength = 20
		}
	})
}

// The same day, configuration and seed give the same report.
func TestSimulationsAreRepeatable(t *testing.T) {
	tr := generate(1500, 80, *seed)
	log, _ := tr.logOf(t, tr.cfg)
	d := observe(t, log, tr.day.From, tr.day.To)
	if a, b := simulate(t, d, nil, 3), simulate(t, observe(t, log, tr.day.From, tr.day.To), nil, 3); !reflect.DeepEqual(a, b) {
		t.Errorf("got\n%+v\nand\n%+v", a, b)
	}
	if a, b := simulate(t, d, nil, 3), simulate(t, d, nil, 4); reflect.DeepEqual(a, b) {
		t.Error("the seed changes nothing")
	}
}

// cpu is the processor time this process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBusyHour reads and simulates an hour as large as they come: it must
// be through within a minute of one core.
func BenchmarkBusyHour(b *testing.B) {
	tr := generate(40_000, 2_450, *seed)
	log, _ := tr.logOf(b, tr.cfg)
	b.ReportMetric(float64(len(log)), "entries")
	b.ResetTimer()
	for b.Loop() {
		began := cpu(b)
		d := observe(b, log, tr.day.From, tr.day.To)
		read := cpu(b) - began
		r := simulate(b, d, nil, 1)
		took := cpu(b) - began
		b.ReportMetric(read.Seconds(), "cpu-s/read")
		b.ReportMetric((took - read).Seconds(), "cpu-s/simulation")
		show(b, "recorded", d.Recorded.Total)
		show(b, "simulated", r.Total)
		if took > time.Minute {
			b.Errorf("took %v of processor time", took)
		}
	}
}

// Kaplan and Meier's estimate, by hand: of four callers one gave up after 10 s,
// one was served after 20 s, one gave up after 30 s, one was served after 40 s.
func TestPatienceIsEstimatedByKaplanAndMeier(t *testing.T) {
	s := estimate([]Arrival{
		{Waited: 20 * time.Second}, {Waited: 10 * time.Second, GaveUp: true}, {Waited: 40 * time.Second}, {Waited: 30 * time.Second, GaveUp: true},
	})
	f := func(d time.Duration, want float64) {
		t.Helper()
		if got := s.beyond(d); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %f wait longer, want %f", d, got, want)
		}
	}
	f(9*time.Second, 1)
	f(10*time.Second, 0.75) // 3 of 4
	f(29*time.Second, 0.75)
	f(30*time.Second, 0.375) // half of those who are left then
	f(time.Hour, 0.375)
	draw := func(at time.Duration, u float64, want time.Duration) {
		t.Helper()
		if got := s.draw(at, u); got != want {
			t.Errorf("drew %v at %v by %v, want %v", got, at, u, want)
		}
	}
	draw(0, 0.2, 10*time.Second)
	draw(0, 0.3, 30*time.Second)
	draw(0, 0.7, forever)
	draw(20*time.Second, 0.4, 30*time.Second) // half of them give up then
	draw(20*time.Second, 0.6, forever)
	draw(40*time.Second, 0.1, forever)
}
