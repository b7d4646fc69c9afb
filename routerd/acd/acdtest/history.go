package acdtest

import (
	"fmt"
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// history checks the promises that show in the facts: one CDR per call, and
// tickets that grow.
func (f *FarEnd) history() error {
	if err := f.neverGrows(); err != nil {
		return err
	}
	facts := f.M.FactsAfter(f.seen, 0)
	f.seen = f.index
	for _, fact := range facts {
		switch fact.Kind {
		case acd.FactCallEnded:
			f.ended[fact.Call]++
			if f.ended[fact.Call] > 1 {
				return fmt.Errorf("call %s has two CDRs", fact.Call)
			}
		case acd.FactCallMerged:
			if ticket, err := strconv.ParseUint(fact.Attr("ticket"), 10, 64); err == nil {
				f.tickets[acd.CallID(fact.Attr("into"))] = ticket
			}
		case acd.FactCallQueued, acd.FactCallHunting:
			ticket, err := strconv.ParseUint(fact.Attr("ticket"), 10, 64)
			if had, ok := f.tickets[fact.Call]; ok {
				if ticket != had {
					return fmt.Errorf("call %s has ticket %q, had %d", fact.Call, fact.Attr("ticket"), had)
				}
				continue
			}
			if err != nil || ticket <= f.newest {
				return fmt.Errorf("call %s has ticket %q after %d", fact.Call, fact.Attr("ticket"), f.newest)
			}
			f.newest, f.tickets[fact.Call] = ticket, ticket
		}
	}
	return nil
}

// drain heals the cluster and lets everything end. A conversation whose BYE was
// lost has no timer here (the SIP session timer is its owner's), so it is
// reported expired.
func (f *FarEnd) drain() error {
	f.Quiet = true
	for _, n := range f.M.Nodes() {
		if !n.Alive {
			if err := f.propose("start", acd.NodeStarted{Node: n.ID}); err != nil {
				return err
			}
		}
	}
	until := f.M.Now().Add(40 * time.Minute) // rules may move a call ten times
	for f.M.Now() < until && (f.M.OpenCalls() > 0 || len(f.M.Tasks()) > 0) {
		if err := f.next(); err != nil {
			return err
		}
		for _, c := range f.M.Calls() {
			if len(f.queue) > 0 || c.State != acd.CallTalking {
				continue
			}
			on := acd.OnCall{Call: c.ID, Epoch: c.Epoch}
			if err := f.propose("expired", acd.LegEnded{OnCall: on, Leg: c.Caller, Cause: "expired"}); err != nil {
				return err
			}
		}
	}
	until = f.M.Now().Add(time.Minute) // wrap-up, watchdogs
	for f.M.Now() < until {
		if err := f.next(); err != nil {
			return err
		}
	}
	return f.Settled()
}

// Settled fails unless everything has come to its end: no call is open, no
// agent is held, and every call that arrived has one CDR.
func (f *FarEnd) Settled() error {
	if calls := f.M.Calls(); len(calls) > 0 {
		return fmt.Errorf("%d calls never ended, first %s", len(calls), printCall(calls[0]))
	}
	for _, a := range f.M.Agents() {
		if a.State != acd.Idle || a.Draining != 0 {
			return fmt.Errorf("stuck: %s", printAgent(a))
		}
	}
	if tasks := f.M.Tasks(); len(tasks) > 0 {
		return fmt.Errorf("%d tasks never ended, first %+v", len(tasks), tasks[0])
	}
	for _, h := range f.M.MediaHosts() {
		if h.Calls != 0 {
			return fmt.Errorf("media address %s still counts %d calls", h.Address, h.Calls)
		}
	}
	accepted := make(map[acd.CallID]bool)
	for _, fact := range f.M.FactsAfter(0, 0) {
		if fact.Kind == acd.FactCallArrived || fact.Kind == acd.FactTaskDue {
			accepted[fact.Call] = true
		}
	}
	for id := range accepted {
		if f.ended[id] != 1 {
			return fmt.Errorf("call %s has %d CDRs", id, f.ended[id])
		}
	}
	return nil
}
