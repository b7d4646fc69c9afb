package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/routeapi"
)

// Bounds of a page of call records.
const (
	cdrRows    = 1000
	maxCDRRows = 5000
)

// cdrQuery is what a request for call records asks.
type cdrQuery struct {
	filter     facts.Filter
	after      facts.Place
	limit      int
	legs, full bool
}

func readCDRQuery(v url.Values) (q cdrQuery, err error) {
	q.filter = facts.Filter{Queue: v.Get("queue"), Agent: v.Get("agent"), Number: v.Get("number"), Call: v.Get("call")}
	var errs []error
	for key := range v {
		switch key {
		case "from", "to", "queue", "agent", "number", "call", "legs", "full", "limit", "after":
		default:
			errs = append(errs, fmt.Errorf("%s: no such parameter", key))
		}
	}
	at := func(key string, to *acd.Time) {
		if s := v.Get(key); s != "" {
			t, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %q: want a moment like 2026-03-01T09:00:00Z", key, s))
			}
			*to = acd.Time(t.UnixNano())
		}
	}
	flag := func(key string, to *bool) {
		if s := v.Get(key); s != "" {
			b, err := strconv.ParseBool(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %q: want true or false", key, s))
			}
			*to = b
		}
	}
	at("from", &q.filter.From)
	at("to", &q.filter.To)
	flag("legs", &q.legs)
	flag("full", &q.full)
	if q.limit = cdrRows; v.Get("limit") != "" {
		if q.limit, err = strconv.Atoi(v.Get("limit")); err != nil || q.limit < 1 || q.limit > maxCDRRows {
			errs = append(errs, fmt.Errorf("limit %q: want a number from 1 to %d", v.Get("limit"), maxCDRRows))
		}
	}
	if s := v.Get("after"); s != "" {
		if q.after, err = parsePlace(s); err != nil {
			errs = append(errs, err)
		}
	}
	return q, errors.Join(errs...)
}

// placeText is the end of a page as routeapi.CDRPage.Next names it.
func placeText(p facts.Place) string { return fmt.Sprintf("%d.%d.%d", p.Arrived, p.Index, p.N) }

func parsePlace(s string) (p facts.Place, err error) {
	part := strings.Split(s, ".")
	if len(part) == 3 {
		arrived, err1 := strconv.ParseInt(part[0], 10, 64)
		index, err2 := strconv.ParseUint(part[1], 10, 63)
		n, err3 := strconv.ParseUint(part[2], 10, 32)
		if errors.Join(err1, err2, err3) == nil {
			return facts.Place{Arrived: acd.Time(arrived), Index: index, N: uint32(n)}, nil
		}
	}
	return p, fmt.Errorf("after %q: want the page before's next", s)
}

// serveCDR answers from this node's own file, one record at a time: a page is
// never whole in memory.
func (n *Node) serveCDR(w http.ResponseWriter, r *http.Request) {
	q, err := readCDRQuery(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if q.full {
		n.log.Info("call records are read with unmasked numbers", "operator", r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	page := &cdrPage{w: w}
	var last facts.Place
	rows := 0
	// One more than asked tells whether there is another page.
	err = n.facts.Calls(r.Context(), q.filter, q.after, q.limit+1, func(c *facts.CallRecord) error {
		if rows++; rows > q.limit {
			return nil
		}
		last = facts.Place{Arrived: c.Arrived, Index: c.Index, N: c.N}
		v := callRecordView(c, q.full)
		if q.legs {
			legs, err := n.facts.Legs(r.Context(), c.Call)
			if err != nil {
				return err
			}
			for i := range legs {
				v.Legs = append(v.Legs, legRecordView(&legs[i]))
			}
		}
		return page.add(v)
	})
	switch {
	case err != nil && page.begun:
		// The status is out: a body that is cut off is all that can tell.
		n.log.Warn("call records could not be sent whole", "err", err)
		panic(http.ErrAbortHandler)
	case errors.Is(err, facts.ErrUpgrading):
		fail(w, http.StatusServiceUnavailable, err)
	case err != nil:
		fail(w, http.StatusInternalServerError, err)
	case rows > q.limit:
		page.end(placeText(last))
	default:
		page.end("")
	}
}

// cdrPage writes a routeapi.CDRPage record by record.
type cdrPage struct {
	w     http.ResponseWriter
	begun bool
}

func (p *cdrPage) add(c routeapi.CallRecord) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if !p.begun {
		p.begin()
	} else {
		io.WriteString(p.w, ",\n")
	}
	_, err = p.w.Write(b)
	return err
}

func (p *cdrPage) begin() {
	p.begun = true
	p.w.Header().Set("Content-Type", "application/json")
	io.WriteString(p.w, `{"calls":[`)
}

func (p *cdrPage) end(next string) {
	if !p.begun {
		p.begin()
	}
	io.WriteString(p.w, "]")
	if next != "" {
		fmt.Fprintf(p.w, `,"next":%q`, next)
	}
	io.WriteString(p.w, "}\n")
}

func callRecordView(c *facts.CallRecord, full bool) routeapi.CallRecord {
	v := routeapi.CallRecord{
		Index: c.Index, N: c.N, Call: c.Call, Outcome: c.Outcome, By: c.By, Cause: c.Cause, Code: c.Code, Trunk: c.Trunk, Edge: c.Edge,
		From: c.From, To: c.To, SIPID: c.SIPID, Queue: c.Queue, Agent: c.Agent, Node: c.Node, Ticket: c.Ticket, Offers: c.Offers,
		Arrived: wall(c.Arrived), Answered: wall(c.Answered), Enqueued: wall(c.Enqueued), Bridged: wall(c.Bridged), Ended: wall(c.Ended),
		Wait: c.Wait().Seconds(), Talk: c.Talk().Seconds(), Codec: c.Codec, Suite: c.Suite, Media: c.Media,
	}
	if !full {
		v.From = mask(v.From)
	}
	return v
}

func legRecordView(l *facts.LegRecord) routeapi.LegRecord {
	return routeapi.LegRecord{
		Index: l.Index, N: l.N, Leg: l.Leg, Role: l.Role, Agent: l.Agent, Cause: l.Cause, Code: l.Code,
		Started: wall(l.Started), Answered: wall(l.Answered), Ended: wall(l.Ended), Codec: l.Codec, Suite: l.Suite, Media: l.Media,
	}
}

// maskFacts hides customers' numbers in facts.
func maskFacts(list []routeapi.Fact) {
	for _, f := range list {
		for _, key := range []string{"from", "number"} {
			// Of other kinds, from is who gave a call away.
			if v := f.Attrs[key]; v != "" && (f.Kind == acd.FactCallArrived || f.Kind == acd.FactCallRefused || f.Kind == acd.FactCallEnded || isNumber(v)) {
				f.Attrs[key] = mask(v)
			}
		}
	}
}

// isNumber tells a telephone number from other texts.
func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	return len(digits) >= 5 && strings.Trim(digits, "0123456789") == ""
}
