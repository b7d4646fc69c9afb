package node

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/internal/facts/totals"
	"trunkline/routerd/routeapi"
)

// Bounds of one request for totals: what is read, and what is answered.
const (
	maxTotalsTime = 400 * 24 * time.Hour
	maxFactsTime  = 31 * 24 * time.Hour // of totals from raw facts, of which there are many
	maxTotalsDiff = 20
)

// counting holds a place for each count under way: one reads many rows, and the
// calls come first.
var counting = make(chan struct{}, 2)

// totalsQuery is what a request for totals asks.
type totalsQuery struct {
	set     totals.Settings
	formula totals.Formula
	source  string
}

func readTotalsQuery(v url.Values, now acd.Time) (q totalsQuery, err error) {
	q.source = "records"
	q.formula = totals.Formulas[0]
	q.set = totals.Settings{
		Interval: totals.QuarterHour, Zone: time.UTC, To: now, From: now.Add(-24 * time.Hour),
		Threshold: totals.DefaultThreshold, Short: totals.DefaultShort,
	}
	var errs []error
	for key := range v {
		s := v.Get(key)
		switch key {
		case "interval":
			q.set.Interval, err = totals.ParseInterval(s)
		case "formula":
			q.formula, err = totals.ParseFormula(s)
		case "zone":
			if q.set.Zone, err = time.LoadLocation(s); err != nil {
				err = fmt.Errorf("zone %q: want a name like Europe/Moscow", s)
			}
		case "threshold":
			q.set.Threshold, err = patience(key, s)
		case "short":
			q.set.Short, err = patience(key, s)
		case "from", "to":
			var t time.Time
			if t, err = time.Parse(time.RFC3339Nano, s); err != nil {
				err = fmt.Errorf("%s %q: want a moment like 2026-03-01T09:00:00Z", key, s)
			} else if key == "from" {
				q.set.From = acd.Time(t.UnixNano())
			} else {
				q.set.To = min(now, acd.Time(t.UnixNano())) // what comes is not known
			}
		case "source":
			if q.source = s; s != "records" && s != "facts" && s != "both" {
				err = fmt.Errorf("source %q: want records, facts or both", s)
			}
		default:
			err = fmt.Errorf("%s: no such parameter", key)
		}
		errs, err = append(errs, err), nil
	}
	if v.Get("from") == "" && v.Get("to") != "" {
		q.set.From = q.set.To.Add(-24 * time.Hour)
	}
	switch span := q.set.To.Sub(q.set.From); {
	case errors.Join(errs...) != nil:
	case span < 0:
		errs = append(errs, errors.New("from is later than to, or than now"))
	case span > maxTotalsTime:
		errs = append(errs, fmt.Errorf("from and to are %v apart: at most %v", span, maxTotalsTime))
	case span > maxFactsTime && q.source != "records":
		errs = append(errs, fmt.Errorf("from and to are %v apart: at most %v with source=%s", span, maxFactsTime, q.source))
	}
	return q, errors.Join(errs...)
}

func patience(key, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 24*time.Hour {
		return 0, fmt.Errorf("%s %q: want a duration like 20s, at most 24h", key, s)
	}
	return d, nil
}

// serveTotals counts from this node's own file.
func (n *Node) serveTotals(w http.ResponseWriter, r *http.Request) {
	q, err := readTotalsQuery(r.URL.Query(), n.machineTime())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	select {
	case counting <- struct{}{}:
		defer func() { <-counting }()
	default:
		fail(w, http.StatusServiceUnavailable, errors.New("this router is counting for others: ask again in a moment, or another router"))
		return
	}
	var table totals.Table
	var differences []string
	if q.source != "facts" {
		table, err = totals.OfRecords(r.Context(), n.facts, q.set)
	}
	if q.source != "records" && err == nil {
		var raw totals.Table
		raw, err = totals.OfFacts(r.Context(), n.facts, q.set)
		if q.source == "facts" {
			table = raw
		} else {
			differences = totals.Compare(raw, table, maxTotalsDiff)
		}
	}
	switch {
	case errors.Is(err, facts.ErrUpgrading):
		fail(w, http.StatusServiceUnavailable, err)
	case errors.Is(err, totals.ErrTooManyRows):
		fail(w, http.StatusBadRequest, err)
	case err != nil:
		fail(w, http.StatusInternalServerError, err)
	default:
		v := totalsView(q, table)
		v.Differences = differences
		reply(w, v)
	}
}

func totalsView(q totalsQuery, t totals.Table) routeapi.Totals {
	v := routeapi.Totals{
		Interval: string(q.set.Interval), Zone: q.set.Zone.String(), From: wall(q.set.From), To: wall(q.set.To),
		Threshold: q.set.Threshold.Seconds(), Short: q.set.Short.Seconds(), Formula: string(q.formula),
		Queues: make([]routeapi.QueueTotals, 0, len(t.Queues)), Agents: make([]routeapi.AgentTotals, 0, len(t.Agents)),
	}
	for i := range t.Queues {
		x := &t.Queues[i]
		good, of := x.ServiceLevel(q.formula)
		v.Queues = append(v.Queues, routeapi.QueueTotals{
			Start: time.Unix(0, int64(x.Start)).In(q.set.Zone), Queue: x.Queue, Refused: x.Refused, Arrived: x.Arrived, Early: x.Early, Merged: x.Merged, Offered: x.Offered,
			Answered: x.Answered, Abandoned: x.Abandoned, Dropped: x.Dropped, AnsweredInTime: x.AnsweredInTime,
			AbandonedInTime: x.AbandonedInTime, AbandonedShort: x.AbandonedShort, Good: good, Of: of,
			Wait: x.Wait.Seconds(), LongestWait: x.LongestWait.Seconds(), AbandonedWait: x.AbandonedWait.Seconds(), Talk: x.Talk.Seconds(),
			Ringing: x.Ringing.Seconds(), InCall: x.InCall.Seconds(), WrapUp: x.WrapUp.Seconds(), ASA: x.ASA().Seconds(), AHT: x.AHT().Seconds(),
		})
	}
	for i := range t.Agents {
		x := &t.Agents[i]
		v.Agents = append(v.Agents, routeapi.AgentTotals{
			Start: time.Unix(0, int64(x.Start)).In(q.set.Zone), Agent: x.Agent, Handled: x.Handled, Talk: x.Talk.Seconds(),
			Available: x.Available.Seconds(), Ringing: x.Ringing.Seconds(), InCall: x.InCall.Seconds(), WrapUp: x.WrapUp.Seconds(),
			OnBreak: x.OnBreak.Seconds(), Training: x.Training.Seconds(), Occupancy: x.Occupancy(),
		})
	}
	return v
}
