package acdtest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// digits CALL keys=1 [leg=1]
func (s *script) digits(a *args) ([]string, error) {
	return s.propose(acd.DigitsCollected{OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "1")), Digits: a.text("keys", "")})
}

// tag CALL with=key:value,key:value; no value removes a key. pad=N makes each
// value so long, keys=N adds so many keys.
func (s *script) tag(a *args) ([]string, error) {
	tagged := acd.CallTagged{OnCall: s.head(a), Card: a.card()}
	for i := range tagged.Card {
		tagged.Card[i].Value += strings.Repeat("x", max(0, a.number("pad", 0)-len(tagged.Card[i].Value)))
	}
	for i := range a.number("keys", 0) {
		tagged.Card = append(tagged.Card, acd.Attr{Key: fmt.Sprint("key", i), Value: "v"})
	}
	return s.propose(tagged)
}

// callback CALL [number=+7...]
func (s *script) callback(a *args) ([]string, error) {
	return s.propose(acd.CallbackRequested{OnCall: s.head(a), Number: a.text("number", "")})
}

// task ID [number=+79001] [queue=sales] [due=1h] [expire=2h] [priority=N]
// [attempts=N] [retry=D] [with=key:value,...]; due and expire count from now.
func (s *script) task(a *args) ([]string, error) {
	t := acd.TaskCreated{
		ID: acd.TaskID(a.text("", "")), Number: a.text("number", "+79001"), Queue: acd.QueueID(a.text("queue", "sales")),
		Priority: a.number("priority", 0), Attempts: a.number("attempts", 0), Retry: a.duration("retry"),
		Due: s.Clock.Add(a.duration("due")), Card: a.card(),
	}
	if d := a.duration("expire"); d != 0 {
		t.Expire = s.Clock.Add(d)
	}
	return s.propose(t)
}

func (s *script) taskCancel(a *args) ([]string, error) {
	return s.propose(acd.TaskCancelled{ID: acd.TaskID(a.text("", "")), Reason: a.text("reason", "")})
}

// card is with=key:value,key:value; no value is an empty one.
func (a *args) card() (card []acd.Attr) {
	for _, pair := range a.list("with", "") {
		key, value, _ := strings.Cut(pair, ":")
		card = append(card, acd.Attr{Key: key, Value: value})
	}
	return card
}

// rush PREFIX calls=N [every=1s] [number=+100] brings so many calls into their
// queue, one after the other, and prints nothing.
func (s *script) rush(a *args) ([]string, error) {
	prefix, number := a.text("", ""), a.text("number", "+100")
	every := a.duration("every")
	for i := range a.number("calls", 1) {
		s.Clock = max(s.Clock, s.M.Now()).Add(max(every, time.Millisecond))
		id := acd.CallID(fmt.Sprint(prefix, i+1))
		on := func() acd.OnCall {
			c, _ := s.M.Call(id)
			return acd.OnCall{Call: id, Epoch: c.Epoch}
		}
		arrival := s.arrival(string(id), "r1", "sbc-a", number)
		arrival.From = fmt.Sprintf("+7900%04d", i)
		if err := s.quietly(arrival); err != nil {
			return nil, err
		}
		media := acd.Media{Address: "m1.1", Codec: "PCMA", Suite: "AEAD_AES_128_GCM"}
		if err := s.quietly(acd.LegAnswered{OnCall: on(), Leg: acd.CallerLeg, Media: media}); err != nil {
			return nil, err
		}
		c, _ := s.M.Call(id)
		if err := s.quietly(acd.PromptStarted{OnCall: on(), Leg: acd.CallerLeg, Prompt: c.Prompt.Name, Failed: true}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// serve agents=ann,bob calls=N [talk=60s] lets the agents answer whatever is
// offered to them after 2 s, talk so long and hang up, until so many
// conversations are over; talk=60s..180s spreads them evenly. It prints nothing.
func (s *script) serve(a *args) ([]string, error) {
	agents := a.list("agents", "")
	shortest, longest, spread := strings.Cut(a.text("talk", "60s"), "..")
	if !spread {
		longest = shortest
	}
	from, err := time.ParseDuration(shortest)
	if err != nil {
		return nil, err
	}
	to, err := time.ParseDuration(longest)
	if err != nil {
		return nil, err
	}
	hangUp := make(map[acd.CallID]acd.Time)
	for over, step := 0, 0; over < a.number("calls", 1); step++ {
		if step > 100_000 {
			return nil, fmt.Errorf("nothing comes to its end")
		}
		s.Clock = max(s.Clock, s.M.Now()).Add(time.Second)
		for _, c := range s.M.Calls() {
			on := acd.OnCall{Call: c.ID, Epoch: c.Epoch}
			for _, l := range c.Legs {
				ringing := l.State == acd.LegNew && l.Started.Add(2*time.Second) <= s.Clock
				switch {
				case l.Role == acd.RoleAgent && ringing && slices.Contains(agents, string(l.Agent)):
					err = s.quietly(acd.LegAnswered{OnCall: on, Leg: l.ID, Media: acd.Media{Address: "m1.1"}})
					hangUp[c.ID] = s.Clock.Add(from + (to-from)*time.Duration(step*7%11)/10)
				case c.State == acd.CallTalking && l.ID == c.Caller && hangUp[c.ID] > 0 && hangUp[c.ID] <= s.Clock:
					err = s.quietly(acd.LegEnded{OnCall: on, Leg: l.ID, Cause: "bye"})
					over++
				case l.State == acd.LegEnding || l.State == acd.LegCancelling:
					err = s.quietly(acd.LegEnded{OnCall: on, Leg: l.ID, Cause: "hangup"})
				}
				if err != nil {
					return nil, err
				}
			}
		}
		if err := s.quietly(acd.Ticked{}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// quietly proposes what must be applied.
func (s *script) quietly(body acd.Body) error {
	r, _, err := s.Propose(body)
	if err == nil && !r.Applied {
		err = fmt.Errorf("%T: %s", body, r.Reason)
	}
	return err
}

// waitingRules gives the queues of the simulation all that a wait can meet.
func waitingRules(sales, support *acd.Queue) {
	sales.AfterMaxWait, sales.WhenFull = acd.Then{Queue: "support"}, acd.Then{Prompt: "busy"}
	sales.Announce = acd.Announcing{First: 3 * time.Second, Every: 15 * time.Second, Position: true, Wait: true}
	sales.Admission = []acd.Admission{{Calls: 5, ASA: time.Minute, Then: acd.Then{Queue: "support"}}}
	sales.ExitKey, sales.Exit = "0", acd.Then{Queue: "support"}
	support.Announce = acd.Announcing{Every: 20 * time.Second, Wait: true}
	support.Empty, support.LeaveEmpty, support.WhenEmpty = "unavailable", 25*time.Second, acd.Then{Prompt: "nobody"}
	support.WhenFull, support.AfterMaxWait = acd.Then{Refuse: 486}, acd.Then{Queue: "sales"}
	support.ExitKey, support.Exit = "#", acd.Then{}
	sales.Callback = acd.Callback{Key: "5", Offer: "press-5", Promise: "we-call", Attempts: 2, Retry: 20 * time.Second, Expire: 3 * time.Minute}
	support.Callback = acd.Callback{Key: "5", Over: 30 * time.Second, Offer: "press-5", Expire: 2 * time.Minute}
	sales.WhenEmpty, sales.Empty = acd.Then{Callback: true}, "logged-out"
}

// number is a customer's: there are few, so that they call again.
func (f *FarEnd) number() string { return fmt.Sprint("+700", f.dice.Int(8, "customer")) }

// dial: a number is called. Now and then nobody says what came of it.
func (f *FarEnd) dial(e acd.Effect, o acd.Dial) {
	if f.dice.Int(2, "rings") == 0 {
		f.later(e, 2*time.Second, "dial-rings", func(on acd.OnCall) acd.Body { return acd.LegProgressed{OnCall: on, Leg: o.Leg, Code: 180} })
	}
	switch f.dice.Int(4, "customer") {
	case 0: // does not answer
	case 1:
		f.later(e, 5*time.Second, "dial-fails", func(on acd.OnCall) acd.Body {
			return acd.LegFailed{OnCall: on, Leg: o.Leg, Code: []int{486, 404, 503, 603}[f.dice.Int(4, "code")]}
		})
	default:
		f.later(e, 10*time.Second, "dial-answered", func(on acd.OnCall) acd.Body {
			for _, w := range f.M.Workers() {
				if w.Alive && w.Home != "" {
					return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: acd.Media{Address: w.Home}}
				}
			}
			return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: acd.Media{Address: "m1.1"}}
		})
		if f.dice.Int(3, "gives up") == 0 {
			f.later(e, time.Minute, "customer-bye", func(on acd.OnCall) acd.Body {
				return acd.LegEnded{OnCall: on, Leg: o.Leg, Cause: "bye"}
			})
		}
	}
}

// taskActs creates a task or cancels one.
func (f *FarEnd) taskActs() error {
	id := acd.TaskID(fmt.Sprint("t", f.dice.Int(30, "task")))
	if f.dice.Int(4, "act") == 0 {
		return f.propose("task-cancel", acd.TaskCancelled{ID: id})
	}
	due := f.M.Now().Add(time.Duration(f.dice.Int(90, "due")) * time.Second)
	return f.propose("task", acd.TaskCreated{
		ID: id, Number: f.number(), Queue: simQueues[f.dice.Int(len(simQueues), "queue")], Due: due,
		Expire: due.Add(time.Duration(f.dice.Int(180, "expire")) * time.Second), Priority: f.dice.Int(3, "priority") - 1,
		Attempts: f.dice.Int(4, "attempts"), Retry: 15 * time.Second, Card: []acd.Attr{{Key: "task", Value: string(id)}},
	})
}

// callerActs: a caller presses keys, or another system knows something.
func (f *FarEnd) callerActs() error {
	calls := f.M.Calls()
	if f.dice.Int(3, "task or call") == 0 {
		return f.taskActs()
	}
	if len(calls) == 0 {
		return f.next()
	}
	c := calls[f.dice.Int(len(calls), "call")]
	on := acd.OnCall{Call: c.ID, Epoch: c.Epoch}
	switch f.dice.Int(4, "act") {
	case 0:
		return f.propose("callback", acd.CallbackRequested{OnCall: on})
	case 1:
		return f.propose("tag", acd.CallTagged{OnCall: on, Card: []acd.Attr{{Key: []string{"vip", "city"}[f.dice.Int(2, "key")], Value: []string{"", "x"}[f.dice.Int(2, "value")]}}})
	}
	return f.propose("digits", acd.DigitsCollected{OnCall: on, Leg: c.Caller, Digits: []string{"0", "#", "5"}[f.dice.Int(3, "key")]})
}

// neverGrows: what a waiting caller was told of the wait left, and in one queue
// of its place, is never more than it was told before.
func (f *FarEnd) neverGrows() error {
	for _, c := range f.M.Calls() {
		was, ok := f.told[c.ID]
		switch {
		case c.ToldP50 < 0 || c.ToldP90 < c.ToldP50 || c.ToldPosition < 0:
			return fmt.Errorf("call %s was told %s, %s at position %d", c.ID, c.ToldP50, c.ToldP90, c.ToldPosition)
		case !ok:
		case was.ToldP50 > 0 && c.ToldP50 > was.ToldP50 || was.ToldP90 > 0 && c.ToldP90 > was.ToldP90:
			return fmt.Errorf("call %s is told %s to %s after %s to %s", c.ID, c.ToldP50, c.ToldP90, was.ToldP50, was.ToldP90)
		case was.Joined == c.Joined && was.ToldPosition > 0 && c.ToldPosition > was.ToldPosition:
			return fmt.Errorf("call %s is told position %d after %d", c.ID, c.ToldPosition, was.ToldPosition)
		}
		f.told[c.ID] = c
	}
	return nil
}

// step is what one priority is worth in a queue.
func (k *checker) step(id acd.QueueID) time.Duration {
	for _, q := range append(slices.Clone(k.s.Config.Queues), k.s.Retired...) {
		if q.ID == id && q.PriorityStep > 0 {
			return q.PriorityStep
		}
	}
	return time.Minute
}

// waiting: a queue counts its calls, knows their places by effective wait, and
// times what it promised them.
func (k *checker) waiting(m *acd.Machine) {
	lines := make(map[acd.QueueID][]*acd.Call)
	for _, c := range k.s.Calls {
		if c.State != acd.CallWaiting {
			continue
		}
		lines[c.Queue] = append(lines[c.Queue], c)
		if c.Number != "" && c.Caller == "" && !slices.ContainsFunc(k.s.Timers, func(t *acd.Timer) bool { return t.ID == string(c.ID) && t.Sub == "" }) &&
			!slices.ContainsFunc(c.Legs, func(l acd.Leg) bool { return l.Number != "" && l.State != acd.LegOver }) {
			k.fault("call %s waits without its customer and nothing ends that", c.ID)
		}
		if c.Until != 0 && !slices.ContainsFunc(k.s.Timers, func(t *acd.Timer) bool { return t.ID == string(c.ID) && t.At == c.Until }) {
			k.fault("call %s may wait until %d and nothing ends that", c.ID, c.Until)
		}
	}
	for _, q := range m.Queues() {
		line := lines[q.ID]
		if q.Waiting != len(line) {
			k.fault("queue %s counts %d calls, there are %d", q.ID, q.Waiting, len(line))
		}
		step := k.step(q.ID)
		slices.SortFunc(line, func(a, b *acd.Call) int {
			return cmp.Or(cmp.Compare(a.Enqueued.Add(-step*time.Duration(a.Priority)), b.Enqueued.Add(-step*time.Duration(b.Priority))), cmp.Compare(a.Ticket, b.Ticket))
		})
		for i, c := range line {
			position, p50, p90, known := m.Position(c.ID)
			if position != i+1 {
				k.fault("call %s is at %d of %d in %s, not at %d", c.ID, position, len(line), q.ID, i+1)
			}
			if p50 < 0 || p90 < p50 || !known && p90 != 0 {
				k.fault("call %s has an estimate of %s to %s", c.ID, p50, p90)
			}
		}
	}
}
