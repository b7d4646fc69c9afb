package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"trunkline/routerd/routeapi"
)

const cdrHelp = `detail records of calls that are over, as a table or CSV
Lists them in the order of their arrival, from the file of the router that answers.
-csv writes what a spreadsheet can read.`

// cdr is cdrFlags as a command.
func cdr(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	do := cdrFlags(fs)
	return func(ctx context.Context, e *env, words []string) error {
		c, err := e.client()
		if err != nil {
			return err
		}
		return do(ctx, c, e.printer(), words)
	}
}

// cdrFlags adds the flags of cdr to those of every command and returns what
// carries it out once they are parsed: it lists or exports call records, page
// by page.
func cdrFlags(fs *flag.FlagSet) func(ctx context.Context, c *client, p printer, args []string) error {
	about := fs.Output()
	var o cdrOptions
	fs.StringVar(&o.from, "from", "", "calls that arrived at or after this `MOMENT`: 2026-03-01, 2026-03-01T09:30, with a zone as in RFC 3339, or a duration ago such as 24h")
	fs.StringVar(&o.to, "to", "", "calls that arrived before this `MOMENT`")
	fs.StringVar(&o.zone, "zone", "UTC", "time `ZONE` of moments without one, and of the table")
	fs.StringVar(&o.queue, "queue", "", "calls of this `QUEUE`")
	fs.StringVar(&o.agent, "agent", "", "calls that this `AGENT` served")
	fs.StringVar(&o.number, "number", "", "calls from or to this `NUMBER`, whole")
	fs.StringVar(&o.call, "call", "", "the `CALL` with this id")
	fs.BoolVar(&o.legs, "legs", false, "one line for each leg instead of one for each call")
	fs.BoolVar(&o.full, "full", false, "numbers unmasked; the router logs who asked")
	fs.BoolVar(&o.csv, "csv", false, "write CSV (RFC 4180)")
	fs.BoolVar(&o.bom, "bom", false, "begin the CSV with a byte order mark: Excel needs it to read UTF-8")
	fs.BoolVar(&o.raw, "raw", false, "leave CSV cells as they are that a spreadsheet would take for formulas")
	fs.IntVar(&o.limit, "limit", 0, "stop after this many `CALLS`; 0: 100 in a table, all in JSON and CSV")
	return func(ctx context.Context, c *client, p printer, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("cdr: %q is not a flag: routerctl cdr -h lists them", args[0])
		}
		if err := o.run(ctx, c, p, about); err != nil {
			return fmt.Errorf("cdr: %w", err)
		}
		return nil
	}
}

// cdrOptions are the flags of cdr.
type cdrOptions struct {
	from, to, zone, queue, agent, number, call string
	legs, full, csv, bom, raw                  bool
	limit                                      int
}

// query checks the options and makes the API's query of them.
func (o *cdrOptions) query(loc *time.Location, now time.Time) (url.Values, error) {
	q := url.Values{}
	for _, v := range []struct{ key, value string }{{"queue", o.queue}, {"agent", o.agent}, {"number", o.number}, {"call", o.call}} {
		if v.value != "" {
			q.Set(v.key, v.value)
		}
	}
	for _, v := range []struct{ key, text string }{{"from", o.from}, {"to", o.to}} {
		if v.text == "" {
			continue
		}
		at, err := parseMoment(v.text, loc, now)
		if err != nil {
			return nil, fmt.Errorf("-%s: %w", v.key, err)
		}
		q.Set(v.key, at.Format(time.RFC3339Nano))
	}
	if o.legs {
		q.Set("legs", "true")
	}
	if o.full {
		q.Set("full", "true")
	}
	if o.limit < 0 {
		return nil, errors.New("-limit must not be negative")
	}
	if (o.bom || o.raw) && !o.csv {
		return nil, errors.New("-bom and -raw are for -csv")
	}
	return q, nil
}

func (o *cdrOptions) run(ctx context.Context, c *client, p printer, about io.Writer) error {
	loc, err := time.LoadLocation(o.zone)
	if err != nil {
		return fmt.Errorf("-zone: %w", err)
	}
	q, err := o.query(loc, time.Now())
	if err != nil {
		return err
	}
	limit := o.limit
	var out cdrWriter
	switch {
	case o.csv:
		out = newCDRSheet(p.out, o.legs, o.bom, o.raw)
	case p.json:
		out = cdrLines{json.NewEncoder(p.out)}
	default:
		if limit == 0 {
			limit = 100
		}
		out = &cdrTable{p: p, legs: o.legs, loc: loc}
	}
	more, err := eachCall(ctx, c, q, limit, out.write)
	if err := errors.Join(err, out.close()); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(about, "routerctl: there are more than %d calls: narrow the choice or raise -limit\n", limit)
	}
	return nil
}

// pagePatience is how long one page may take.
const pagePatience = 60 * time.Second

// eachCall gives f the calls that q chooses, page by page, at most limit of
// them; 0 means all. It returns whether there are more.
func eachCall(ctx context.Context, c *client, q url.Values, limit int, f func(routeapi.CallRecord) error) (more bool, err error) {
	for n := 0; ; {
		if limit > 0 {
			q.Set("limit", strconv.Itoa(min(limit-n, 1000)))
		}
		var page routeapi.CDRPage
		once, cancel := context.WithTimeout(ctx, pagePatience)
		err := c.get(once, routeapi.PathCDR+"?"+q.Encode(), &page)
		cancel()
		if err != nil {
			return false, err
		}
		for _, call := range page.Calls {
			if err := f(call); err != nil {
				return false, err
			}
		}
		n += len(page.Calls)
		if page.Next == "" || limit > 0 && n >= limit {
			return page.Next != "", nil
		}
		q.Set("after", page.Next)
	}
}

// parseMoment reads a date, a moment with or without seconds and zone, or a
// duration before now.
func parseMoment(s string, loc *time.Location, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no moment: write 2026-03-01, 2026-03-01T09:30, 2026-03-01T09:30:00+03:00 or 24h", s)
}

// cdrWriter is a form of the list.
type cdrWriter interface {
	write(routeapi.CallRecord) error
	close() error
}

// cdrLines writes one JSON object a line.
type cdrLines struct{ json *json.Encoder }

func (l cdrLines) write(c routeapi.CallRecord) error { return l.json.Encode(c) }
func (l cdrLines) close() error                      { return nil }

// cdrTable writes a table for people. Its lines are few enough to be aligned.
type cdrTable struct {
	p     printer
	legs  bool
	loc   *time.Location
	calls []routeapi.CallRecord
}

func (t *cdrTable) write(c routeapi.CallRecord) error {
	t.calls = append(t.calls, c)
	return nil
}

func (t *cdrTable) close() error {
	clock := func(at time.Time) string { return at.In(t.loc).Format("2006-01-02 15:04:05.000") }
	return t.p.table(func(w io.Writer) {
		if t.legs {
			fmt.Fprintln(w, "CALL\tLEG\tROLE\tAGENT\tSTARTED\tRANG\tUP\tCAUSE\tCODE\tCODEC\tSUITE")
			for _, c := range t.calls {
				for _, l := range c.Legs {
					rang, up := l.Ended.Sub(l.Started), time.Duration(0)
					if !l.Answered.IsZero() {
						rang, up = l.Answered.Sub(l.Started), l.Ended.Sub(l.Answered)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1fs\t%.1fs\t%s\t%s\t%s\t%s\n", c.Call, l.Leg, l.Role, dash(l.Agent), clock(l.Started),
						rang.Seconds(), up.Seconds(), l.Cause, dash(code(l.Code)), dash(l.Codec), dash(l.Suite))
				}
			}
			return
		}
		fmt.Fprintln(w, "ARRIVED\tCALL\tFROM\tTO\tQUEUE\tOUTCOME\tBY\tCAUSE\tWAIT\tTALK\tAGENT\tTRUNK\tNODE")
		for _, c := range t.calls {
			cause := c.Cause
			if c.Code != 0 {
				cause += " " + code(c.Code)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1fs\t%.1fs\t%s\t%s\t%s\n", clock(c.Arrived), c.Call, c.From, c.To, dash(c.Queue),
				c.Outcome, c.By, cause, c.Wait, c.Talk, dash(c.Agent), dash(c.Trunk), dash(c.Node))
		}
	})
}

func code(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// cdrSheet writes CSV by RFC 4180: CRLF, quotes where needed, a header line.
type cdrSheet struct {
	csv  *csv.Writer
	legs bool
	raw  bool
	err  error
}

var (
	callSheet = []string{
		"call", "outcome", "by", "cause", "code", "trunk", "edge", "from", "to", "queue", "agent", "node", "ticket", "offers",
		"arrived", "answered", "enqueued", "bridged", "ended", "wait_seconds", "talk_seconds", "codec", "suite", "media", "sip_call_id", "index", "n",
	}
	legSheet = []string{
		"call", "leg", "role", "agent", "cause", "code", "started", "answered", "ended", "codec", "suite", "media", "index", "n",
	}
)

func newCDRSheet(out io.Writer, legs, bom, raw bool) *cdrSheet {
	s := &cdrSheet{csv: csv.NewWriter(out), legs: legs, raw: raw}
	s.csv.UseCRLF = true
	if bom {
		_, s.err = io.WriteString(out, "\uFEFF")
	}
	head := callSheet
	if legs {
		head = legSheet
	}
	s.err = errors.Join(s.err, s.csv.Write(head))
	return s
}

func (s *cdrSheet) write(c routeapi.CallRecord) error {
	if s.err != nil {
		return s.err
	}
	if !s.legs {
		return s.row([]string{
			c.Call, c.Outcome, c.By, c.Cause, code(c.Code), c.Trunk, c.Edge, c.From, c.To, c.Queue, c.Agent, c.Node,
			number(c.Ticket), strconv.Itoa(c.Offers),
			moment(c.Arrived), moment(c.Answered), moment(c.Enqueued), moment(c.Bridged), moment(c.Ended),
			span(c.Enqueued, c.Bridged, c.Ended), span(c.Bridged, c.Ended), c.Codec, c.Suite, c.Media, c.SIPID,
			strconv.FormatUint(c.Index, 10), strconv.FormatUint(uint64(c.N), 10),
		})
	}
	for _, l := range c.Legs {
		if err := s.row([]string{
			c.Call, l.Leg, l.Role, l.Agent, l.Cause, code(l.Code), moment(l.Started), moment(l.Answered), moment(l.Ended),
			l.Codec, l.Suite, l.Media, strconv.FormatUint(l.Index, 10), strconv.FormatUint(uint64(l.N), 10),
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *cdrSheet) row(cells []string) error {
	if !s.raw {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
	}
	return s.csv.Write(cells)
}

func (s *cdrSheet) close() error {
	s.csv.Flush()
	return errors.Join(s.err, s.csv.Error())
}

var plainNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)

// harmless keeps a spreadsheet from taking a cell for a formula: what a caller
// sends as a number or a Call-ID would be carried out on the reader's machine.
// Signed numbers, telephone numbers among them, stay as they are.
func harmless(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r", rune(cell[0])) || plainNumber.MatchString(cell) {
		return cell
	}
	return "'" + cell
}

// moment writes a time with all its nanoseconds, or nothing for never.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// span writes the exact seconds from a moment to the first of the others that
// came, "0" if it never came itself.
func span(from time.Time, to ...time.Time) string {
	i := slices.IndexFunc(to, func(t time.Time) bool { return !t.IsZero() })
	if from.IsZero() || i < 0 || to[i].Before(from) {
		return "0"
	}
	ns := to[i].Sub(from).Nanoseconds()
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9), "0"), ".")
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
