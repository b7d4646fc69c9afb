package acd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is one thing wrong with a Config.
type Fault struct {
	Path string // where, as in queues[2].max_wait
	Text string // what
}

func (f Fault) Error() string { return f.Path + ": " + f.Text }

// Bounds of what a configuration may say.
const (
	maxPriority = 9
	maxLevel    = 10
	maxTier     = 99
	maxWeight   = 1000               // an effective wait stays within int64 for weeks
	leastWindow = 12 * time.Minute   // its parts are a minute
	maxSticky   = 365                // days
	minAnnounce = 15 * time.Second   // between announcements
	maxExpire   = 7 * 24 * time.Hour // of a callback
)

// Validate returns all faults of the configuration, joined; each is a Fault.
// The machine does not apply a configuration that has any.
func (c Config) Validate() error {
	v := &validator{c: &c}
	v.trunks = names(v, "trunk", "trunks", len(c.Trunks), func(i int) TrunkID { return c.Trunks[i].ID })
	v.skills = names(v, "skill", "skills", len(c.Skills), func(i int) SkillID { return c.Skills[i] })
	v.calendars = names(v, "calendar", "calendars", len(c.Calendars), func(i int) CalendarID { return c.Calendars[i].ID })
	v.chains = names(v, "chain", "chains", len(c.Chains), func(i int) ChainID { return c.Chains[i].ID })
	v.queues = names(v, "queue", "queues", len(c.Queues), func(i int) QueueID { return c.Queues[i].ID })
	v.agents = names(v, "agent", "agents", len(c.Agents), func(i int) AgentID { return c.Agents[i].ID })
	v.outside()
	for i := range c.Calendars {
		v.calendar(&c.Calendars[i], fmt.Sprintf("calendars[%d]", i))
	}
	for i := range c.Chains {
		v.chain(&c.Chains[i], fmt.Sprintf("chains[%d]", i))
	}
	for i := range c.Queues {
		v.queue(&c.Queues[i], fmt.Sprintf("queues[%d]", i))
	}
	v.circles()
	numbers := make(map[string]bool, len(c.Numbers))
	for i := range c.Numbers {
		n, path := &c.Numbers[i], fmt.Sprintf("numbers[%d]", i)
		if !isE164(n.Number) {
			v.fault(path+".number", "not an E.164 number with +")
		}
		if numbers[n.Number] {
			v.fault(path+".number", "number given twice")
		}
		numbers[n.Number] = true
		v.number(n, path)
	}
	for i := range c.Agents {
		v.agent(&c.Agents[i], fmt.Sprintf("agents[%d]", i))
	}
	return errors.Join(v.errs...)
}

// validator collects faults and knows what there is to refer to.
type validator struct {
	c         *Config
	errs      []error
	trunks    map[TrunkID]int // index by id
	skills    map[SkillID]int
	calendars map[CalendarID]int
	chains    map[ChainID]int
	queues    map[QueueID]int
	agents    map[AgentID]int
}

func (v *validator) fault(path, format string, args ...any) {
	v.errs = append(v.errs, Fault{Path: path, Text: fmt.Sprintf(format, args...)})
}

// names finds the ids of a list that are missing or given twice. A list of
// plain ids has no id field.
func names[T ~string](v *validator, thing, list string, n int, id func(i int) T) map[T]int {
	seen := make(map[T]int, n)
	for i := range n {
		path := fmt.Sprintf("%s[%d]", list, i)
		if thing != "skill" {
			path += ".id"
		}
		name := id(i)
		_, twice := seen[name]
		switch {
		case name == "":
			v.fault(path, "id is empty")
		case twice:
			v.fault(path, "%s given twice", thing)
		default:
			seen[name] = i
		}
	}
	return seen
}

// refer finds a reference that leads nowhere; an empty one is none.
func refer[T ~string](v *validator, known map[T]int, thing string, name T, path string) {
	if _, ok := known[name]; !ok && name != "" {
		v.fault(path, "no %s %q", thing, string(name))
	}
}

// within checks a number, between a duration, each with both ends.
func (v *validator) within(n, least, most int, path string) {
	switch {
	case n < 0 && least >= 0:
		v.fault(path, "is negative")
	case n < least || n > most:
		v.fault(path, "is not between %d and %d", least, most)
	}
}

func (v *validator) day(d time.Duration, path string) { v.between(d, 24*time.Hour, path) }

func (v *validator) between(d, most time.Duration, path string) {
	if d < 0 || d > most {
		v.fault(path, "is not between 0 and %d h", int(most/time.Hour))
	}
}

// outside checks the trunks and how numbers are called over them.
func (v *validator) outside() {
	if v.c.MaxChannels < 0 {
		v.fault("max_channels", "is negative")
	}
	for i := range v.c.Trunks {
		v.trunk(&v.c.Trunks[i], fmt.Sprintf("trunks[%d]", i))
	}
	out := &v.c.Outbound
	for i, t := range out.Trunks {
		path := fmt.Sprintf("outbound.trunks[%d]", i)
		refer(v, v.trunks, "trunk", t, path)
		if slices.Contains(out.Trunks[:i], t) {
			v.fault(path, "trunk given twice")
		}
	}
	switch {
	case out.From == "" && len(out.Trunks) > 0:
		v.fault("outbound.from", "is empty: who is called must see a number")
	case out.From != "" && !isE164(out.From):
		v.fault("outbound.from", "not an E.164 number with +")
	}
	v.day(out.RingTimeout, "outbound.ring_timeout")
	v.dialRules(out.Rules, "outbound.rules")
}

func (v *validator) calendar(c *Calendar, path string) {
	if len(c.Offsets) == 0 {
		v.fault(path+".zone", "no time zone %q", c.Zone)
	}
	for i := 1; i < len(c.Offsets); i++ {
		if c.Offsets[i].From <= c.Offsets[i-1].From {
			v.fault(path+".zone", "its changes of the clock are not in order")
			break
		}
	}
	for i, h := range c.Hours {
		at := fmt.Sprintf("%s.hours[%d]", path, i)
		if _, err := parseDays(h.Days); err != nil {
			v.fault(at+".days", "%q: %s", h.Days, err)
		}
		v.span(h.From, h.To, at)
	}
	type date struct{ closed, open bool }
	dates := make(map[string]date)
	for i, h := range c.Holidays {
		at := fmt.Sprintf("%s.holidays[%d]", path, i)
		if _, _, _, err := parseDate(h.Date); err != nil {
			v.fault(at+".date", "%q: %s", h.Date, err)
		}
		d := dates[h.Date]
		open := h.From != "" || h.To != ""
		if d.closed || d.open && !open {
			v.fault(at+".date", "date given twice, closed and open")
		}
		dates[h.Date] = date{closed: d.closed || !open, open: d.open || open}
		if open {
			v.span(h.From, h.To, at)
		}
	}
}

func (v *validator) span(from, to, path string) {
	if _, err := parseClock(from); err != nil || from == "24:00" {
		v.fault(path+".from", "%q: %s", from, errClock)
	}
	if _, err := parseClock(to); err != nil {
		v.fault(path+".to", "%q: %s", to, errClock)
	}
}

// causes are the words of ChainStep.Stop.
var causes = []string{"busy", "no-answer", "unavailable", "declined"}

func (v *validator) chain(c *Chain, path string) {
	if len(c.Steps) == 0 {
		v.fault(path+".steps", "has none")
	}
	for i, s := range c.Steps {
		at := fmt.Sprintf("%s.steps[%d]", path, i)
		switch {
		case s.Agent == "" && s.Number == "":
			v.fault(at, "neither agent nor number is given")
		case s.Agent != "" && s.Number != "":
			v.fault(at, "agent and number are both given")
		case s.Agent != "" && !strings.HasPrefix(s.Agent, "$"):
			refer(v, v.agents, "agent", AgentID(s.Agent), at+".agent")
		case s.Number != "" && !strings.HasPrefix(s.Number, "$") && !isE164(s.Number):
			v.fault(at+".number", "not an E.164 number with +, nor $ and a key of the card")
		}
		if s.Agent == "$" || s.Number == "$" {
			v.fault(at, "$ without a key of the card")
		}
		if s.Number != "" && len(v.c.Outbound.Trunks) == 0 {
			v.fault(at+".number", "outbound.trunks is empty: nothing can be called")
		}
		if s.Wait > 0 && s.Agent == "" {
			v.fault(at+".wait", "is for agents")
		}
		v.day(s.Ring, at+".ring")
		v.day(s.Wait, at+".wait")
		for j, stop := range s.Stop {
			if !slices.Contains(causes, stop) {
				v.fault(fmt.Sprintf("%s.stop[%d]", at, j), "%q is none of %s", stop, strings.Join(causes, ", "))
			}
		}
	}
	v.then(&c.Then, nil, path+".then")
}

func (v *validator) needs(needs []Skill, path string) {
	for i, n := range needs {
		at := fmt.Sprintf("%s[%d]", path, i)
		if n.Skill == "" {
			v.fault(at+".skill", "is empty")
		}
		refer(v, v.skills, "skill", n.Skill, at+".skill")
		if slices.ContainsFunc(needs[:i], func(s Skill) bool { return s.Skill == n.Skill }) {
			v.fault(at+".skill", "skill given twice")
		}
		v.within(n.Level, 0, maxLevel, at+".level")
	}
}

func (v *validator) agent(a *Agent, path string) {
	for i, q := range a.Queues {
		at := fmt.Sprintf("%s.queues[%d]", path, i)
		if _, ok := v.queues[q]; !ok {
			v.fault(at, "no queue %q", q)
		}
		if slices.Contains(a.Queues[:i], q) {
			v.fault(at, "queue given twice")
		}
	}
	for i, s := range a.Seats {
		at := fmt.Sprintf("%s.seats[%d]", path, i)
		if _, ok := v.queues[s.Queue]; !ok {
			v.fault(at+".queue", "no queue %q", s.Queue)
		}
		if slices.ContainsFunc(a.Seats[:i], func(o Seat) bool { return o.Queue == s.Queue }) {
			v.fault(at+".queue", "queue given twice")
		}
		v.within(s.Tier, 0, maxTier, at+".tier")
		v.within(s.Position, 0, 1<<20, at+".position")
		v.within(s.Priority, -maxPriority, maxPriority, at+".priority")
	}
	v.needs(a.Skills, path+".skills")
	v.permit(&a.Transfer, path+".transfer")
	v.permit(&a.Dial, path+".dial")
	v.permit(&a.PickUp, path+".pick_up")
	v.deny(len(a.PickUp.Numbers) > 0, path+".pick_up.numbers", "nobody's phone outside can be picked up")
	v.permit(&a.Supervise, path+".supervise")
	if len(a.Supervise.Chains)+len(a.Supervise.Numbers) > 0 {
		v.fault(path+".supervise", "is of agents or queues: chains and numbers have no conversations")
	}
	if !isDigest(a.HA1SHA256, 64) {
		v.fault(path+".ha1_sha256", "not 64 hex digits")
	}
	if !isDigest(a.HA1MD5, 32) {
		v.fault(path+".ha1_md5", "not 32 hex digits")
	}
}

// isE164 accepts + and up to 15 digits (ITU-T E.164 section 6.1).
func isE164(s string) bool {
	rest, plus := strings.CutPrefix(s, "+")
	return plus && rest != "" && len(rest) <= 15 && strings.Trim(rest, "0123456789") == ""
}

// isDigest accepts lower- or upper-case hex of the length, or nothing.
func isDigest(s string, length int) bool {
	return s == "" || len(s) == length && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
