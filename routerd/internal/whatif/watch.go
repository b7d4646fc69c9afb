package whatif

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// watcher reads a Day off the commands and facts of a log.
type watcher struct {
	day    *Day
	m      *acd.Machine
	tally  *tally
	cursor uint64 // facts up to this index were read

	calls    map[acd.CallID]*observed // not over yet
	over     []*observed
	contacts map[acd.AgentID]map[string]acd.Contact // by URI, as last registered
	wrapping map[acd.AgentID]*observed
	cut      map[acd.AgentID]acd.Time // when an agent ended the wrap-up
}

// observed is a call under way.
type observed struct {
	Arrival
	queued, bridged acd.Time
}

func newWatcher(m *acd.Machine, d *Day, o Options) *watcher {
	return &watcher{
		day: d, m: m, tally: newTally(o, d.Config, d.From), cursor: m.Index(), calls: map[acd.CallID]*observed{},
		contacts: map[acd.AgentID]map[string]acd.Contact{}, wrapping: map[acd.AgentID]*observed{}, cut: map[acd.AgentID]acd.Time{},
	}
}

// begin takes down what is there at the start of the day.
func (w *watcher) begin() {
	for _, a := range w.m.Agents() {
		for _, c := range a.Contacts {
			w.came(w.day.From, a.ID, c)
		}
		status := acd.AgentStatusSet{Agent: a.ID, Status: a.Status, Reason: a.Reason}
		at := w.day.From
		if busy := a.State != acd.Idle; busy && a.Status == acd.Available {
			// The call is not part of the day; its agent is, from its end on.
			w.day.Wishes = append(w.day.Wishes, Wish{at, acd.AgentStatusSet{Agent: a.ID, Status: acd.OnBreak, Reason: "in a call"}})
			w.wrapping[a.ID] = nil
		} else {
			w.day.Wishes = append(w.day.Wishes, Wish{at, status})
		}
		w.tally.agent(a.ID, a.Status, a.State, w.day.From)
	}
	for _, c := range w.m.Calls() {
		if c.Outbound || c.Bridged != 0 || c.Ended != 0 {
			continue
		}
		w.calls[c.ID] = &observed{Arrival: Arrival{
			At: w.day.From, Trunk: c.Trunk, Edge: c.Edge, From: c.From, To: c.To, Before: true,
		}, queued: c.Enqueued}
	}
}

func (w *watcher) came(at acd.Time, agent acd.AgentID, c acd.Contact) {
	if w.contacts[agent] == nil {
		w.contacts[agent] = map[string]acd.Contact{}
	}
	w.contacts[agent][c.URI] = c
	w.day.Presence = append(w.day.Presence, Presence{At: at, Agent: agent, Contact: c})
}

// command notes what no fact tells.
func (w *watcher) command(stamp int64, cmd acd.Command, res acd.Result) {
	if !res.Applied {
		return
	}
	at := acd.Time(stamp)
	switch b := cmd.Body.(type) {
	case acd.ConfigApplied:
		w.day.Changes = append(w.day.Changes, Change{at, b.Config})
	case acd.AgentStatusSet, acd.TaskCancelled:
		w.day.Wishes = append(w.day.Wishes, Wish{at, b})
	case acd.TaskCreated:
		w.day.Tasks = append(w.day.Tasks, Wish{at, b})
	case acd.WrapUpSet:
		if b.Remaining == 0 {
			w.cut[b.Agent] = at
		}
	case acd.RegistrationChanged:
		if b.Expires > 0 {
			if w.contacts[b.Agent] == nil {
				w.contacts[b.Agent] = map[string]acd.Contact{}
			}
			w.contacts[b.Agent][b.Contact.URI] = b.Contact
		}
	case acd.CallTagged:
		if c := w.calls[b.Call]; c != nil {
			c.Said = append(c.Said, Said{After: at.Sub(c.At), Card: b.Card})
		}
	case acd.DigitsCollected:
		if c := w.calls[b.Call]; c != nil && c.queued != 0 && c.bridged == 0 {
			c.Said = append(c.Said, Said{After: max(at.Sub(c.queued), 0), Digits: b.Digits})
		}
	}
}

// batch is how many entries' facts are read at once.
const batch = 512

func (w *watcher) facts(all bool) error {
	if !all && w.m.Index()-w.cursor < batch {
		return nil
	}
	for _, f := range w.m.FactsAfter(w.cursor, 0) {
		w.fact(f)
	}
	w.cursor = w.m.Index()
	return nil
}

func (w *watcher) fact(f acd.Fact) {
	if f.At >= w.day.To {
		return
	}
	w.tally.fact(f)
	switch f.Kind {
	case acd.FactAgentRegistered:
		w.came(f.At, f.Agent, w.contacts[f.Agent][f.Attr("uri")])
		return
	case acd.FactAgentUnregistered:
		w.day.Presence = append(w.day.Presence, Presence{At: f.At, Agent: f.Agent, Contact: acd.Contact{URI: f.Attr("uri")}, Gone: true})
		return
	case acd.FactAgentState:
		w.agentState(f)
		return
	case acd.FactCallArrived, acd.FactCallRefused:
		w.calls[f.Call] = &observed{Arrival: Arrival{
			At: f.At, Trunk: acd.TrunkID(f.Attr("trunk")), Edge: f.Attr("edge"), From: f.Attr("from"), To: f.Attr("to"),
		}}
		if f.Kind == acd.FactCallRefused {
			w.close(f.Call)
		}
		return
	case acd.FactCallGreeted:
		if d := seconds(f.Attr("duration")); d > 0 {
			w.day.Prompts[f.Attr("prompt")] = d
		}
	case acd.FactOfferAccepted:
		w.outcome(f.Agent, Outcome{seconds(f.Attr("rang")), 200})
	case acd.FactOfferTimedOut:
		w.outcome(f.Agent, Outcome{})
	case acd.FactOfferRejected:
		w.rejected(f)
	}
	if c := w.calls[f.Call]; c != nil {
		w.callFact(c, f)
	}
}

func (w *watcher) outcome(a acd.AgentID, o Outcome) {
	w.day.Offers[a] = append(w.day.Offers[a], o)
}

func (w *watcher) rejected(f acd.Fact) {
	code, err := strconv.Atoi(f.Attr("code"))
	if err != nil || code < 400 || code > 699 {
		code = 480
	}
	w.outcome(f.Agent, Outcome{time.Second, code})
}

func (w *watcher) callFact(c *observed, f acd.Fact) {
	switch f.Kind {
	case acd.FactCallAnswered:
		if f.Leg == acd.CallerLeg && !c.Before {
			c.Answer = f.At.Sub(c.At)
		}
	case acd.FactCallQueued:
		if c.queued == 0 {
			c.queued = f.At
		}
	case acd.FactCallBridged:
		if c.bridged == 0 {
			c.bridged = f.At
			c.Waited = f.At.Sub(max(c.queued, c.At))
		}
	case acd.FactCallEnded:
		gone, at := f.Attr("by") == acd.ByCaller, endedAt(f)
		switch {
		case c.bridged != 0:
			c.Talk = max(seconds(f.Attr("talk")), time.Millisecond)
			w.wrapping[f.Agent] = c
		case c.queued != 0:
			c.Waited, c.GaveUp = at.Sub(max(c.queued, c.At)), gone
		case gone:
			c.Left = max(at.Sub(c.At), time.Millisecond)
		}
		w.close(f.Call)
	}
}

func (w *watcher) close(id acd.CallID) {
	w.over = append(w.over, w.calls[id])
	delete(w.calls, id)
}

// agentState notes wrap-ups that were ended early, and when agents who were in
// a call at the day's start are through with it.
func (w *watcher) agentState(f acd.Fact) {
	if f.Attr("state") != string(acd.Idle) {
		return
	}
	c, ok := w.wrapping[f.Agent]
	if ok && c == nil {
		if status := w.tally.status(f.Agent); status == acd.Available {
			w.day.Wishes = append(w.day.Wishes, Wish{f.At, acd.AgentStatusSet{Agent: f.Agent, Status: acd.Available}})
		}
	}
	if at, cut := w.cut[f.Agent]; cut && c != nil && f.Attr("was") == string(acd.WrapUp) && f.At.Sub(at) < time.Second {
		c.WrapUp = max(w.tally.lastWrapUp(f.Agent), time.Millisecond)
	}
	delete(w.cut, f.Agent)
	delete(w.wrapping, f.Agent)
}

// end closes the books: what is still open counts as far as it was seen.
func (w *watcher) end() {
	for _, c := range w.calls { // any order: sorted below
		switch {
		case c.bridged != 0:
			c.Talk = w.day.To.Sub(c.bridged)
		case c.queued != 0:
			c.Waited = w.day.To.Sub(max(c.queued, c.At))
		}
		w.over = append(w.over, c)
	}
	for _, c := range w.over {
		w.day.Arrivals = append(w.day.Arrivals, c.Arrival)
	}
	slices.SortFunc(w.day.Arrivals, func(a, b Arrival) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Talk, b.Talk), cmp.Compare(a.Waited, b.Waited))
	})
	for _, list := range []*[]Wish{&w.day.Wishes, &w.day.Tasks} {
		slices.SortStableFunc(*list, func(a, b Wish) int { return cmp.Compare(a.At, b.At) })
	}
	slices.SortStableFunc(w.day.Presence, func(a, b Presence) int { return cmp.Compare(a.At, b.At) })
	w.day.Recorded = w.tally.report(w.day.To)
}

// endedAt is when a call was over: its fact comes once all its legs are.
func endedAt(f acd.Fact) acd.Time {
	if at, err := strconv.ParseInt(f.Attr("ended"), 10, 64); err == nil && at > 0 && acd.Time(at) <= f.At {
		return acd.Time(at)
	}
	return f.At
}

// seconds reads a fact's duration, 0 if it is none.
func seconds(text string) time.Duration {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || s < 0 || s > 1e9 {
		return 0
	}
	return time.Duration(s*1000+0.5) * time.Millisecond
}
