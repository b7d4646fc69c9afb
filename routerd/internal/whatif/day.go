// Package whatif replays what happened on a day, or any stretch of the log,
// against the same state machine with another configuration, and tells what
// would have become of the queues: service level, speed of answer, abandonment,
// occupancy.
//
// What happened is read from the log by applying it (Read): who called when, how
// long the caller talked or was willing to wait, which agents were there and how
// they took their calls. The simulation (Day.Simulate) is a discrete-event one
// around acd.Machine, on one goroutine, with the day's own clock. It is
// deterministic: what was not observed is drawn from a seed and from nothing
// else, by call, so that two configurations meet the same callers.
//
// # What is observed and what is modelled
//
//   - Arrivals, callers' and called numbers, cards, digits: as they were.
//   - Patience: a caller who gave up waited as long as that. Of one who was
//     served only a lower bound is known: the rest is drawn from the
//     Kaplan-Meier estimate of the number's callers, given that bound. A caller
//     who outlives the longest observation stays.
//   - Talk: as it was; of calls that were not served, a served call's of the same
//     number.
//   - Wrap-up: the configuration's, ended early where the agent ended it early.
//   - Agents' presence and status: as they were, but for breaks that the machine
//     itself gives (RONA). Their taking of offers: drawn from what each of them
//     did with offers that day, of those who had none from everybody's.
//   - Numbers that are called (callbacks, tasks, chains): answered after 8 s.
//   - Routers and media workers: one that does not fail.
//
// A call counts where it was queued first, and only if it arrived within the
// stretch.
package whatif

import (
	"fmt"
	"time"

	"trunkline/raftstore/archive"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/replay"
)

// Day is what was observed.
type Day struct {
	From, To acd.Time
	Config   acd.Config // in force at From
	// Changes of the configuration within the day, as they were applied.
	Changes []Change

	Arrivals []Arrival // by time
	Presence []Presence
	Wishes   []Wish
	Tasks    []Wish                    // created and cancelled, see acd.TaskCreated
	Prompts  map[string]time.Duration  // how long each greeting lasts
	Offers   map[acd.AgentID][]Outcome // what each agent did with them
	Recorded *Report

	all []Outcome // of all agents
}

// Change is a configuration that was applied.
type Change struct {
	At     acd.Time
	Config acd.Config
}

// Arrival is one call that came in.
type Arrival struct {
	At       acd.Time
	Trunk    acd.TrunkID
	Edge     string
	From, To string
	Answer   time.Duration // from the INVITE to our 200
	Left     time.Duration // hung up before any queue, since arrival; 0: did not
	Waited   time.Duration // in line, until served or gone; 0: never was
	GaveUp   bool          // ended the wait: Waited is the patience, and not only a bound of it
	Talk     time.Duration // 0: was not served
	WrapUp   time.Duration // after which the agent ended it early; 0: did not
	Before   bool          // was there at From already: occupies, but does not count
	Said     []Said
}

// Said is what was learned of a call or dialled in it: at an offset since it
// arrived, or, for digits, since it was queued.
type Said struct {
	After  time.Duration
	Card   []acd.Attr
	Digits string
}

// Presence is a phone of an agent that came or went.
type Presence struct {
	At      acd.Time
	Agent   acd.AgentID
	Contact acd.Contact
	Gone    bool
}

// Wish is a command that is given again at its time.
type Wish struct {
	At   acd.Time
	Body acd.Body
}

// Outcome is what an agent did with an offer.
type Outcome struct {
	After time.Duration
	Code  int // 200 answered, 0 let it ring, else refused
}

// Read observes a stretch of the log, [from, to).
func Read(f replay.Files, from, to time.Time, o Options) (*Day, error) {
	if !from.Before(to) {
		return nil, fmt.Errorf("whatif: %s is not before %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	start, err := f.At(replay.Target{Time: from})
	if err != nil {
		return nil, err
	}
	return Observe(start.Machine, acd.Time(from.UnixNano()), acd.Time(to.UnixNano()), o, func(take func(archive.Record) error) error {
		last, err := archive.IndexAt(f.Archive, to.UnixNano()-1)
		if err != nil {
			return err
		}
		if last <= start.Machine.Index() {
			return nil
		}
		return archive.Read(f.Archive, start.Machine.Index()+1, last, take)
	})
}

// Observe is Read with the machine as it was at from, which it takes over, and
// a function that hands it the entries that followed.
func Observe(m *acd.Machine, from, to acd.Time, o Options, entries func(take func(archive.Record) error) error) (*Day, error) {
	cfg, ok := m.Config()
	if !ok {
		return nil, fmt.Errorf("whatif: no configuration was in force at %s", wall(from))
	}
	w := newWatcher(m, &Day{From: from, To: to, Config: cfg, Prompts: map[string]time.Duration{}, Offers: map[acd.AgentID][]Outcome{}}, o)
	w.begin()
	err := entries(func(r archive.Record) error {
		cmd, res, _, err := replay.Apply(m, r)
		if err != nil {
			return err
		}
		w.command(r.Stamp, cmd, res)
		return w.facts(false)
	})
	if err != nil {
		return nil, err
	}
	if err := w.facts(true); err != nil {
		return nil, err
	}
	w.end()
	return w.day, nil
}

func wall(t acd.Time) string { return time.Unix(0, int64(t)).UTC().Format("2006-01-02 15:04:05 UTC") }
