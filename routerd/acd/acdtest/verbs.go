package acdtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// verbs are the words a script line may begin with. A line's unnamed word is
// the call, agent, node or worker it is about.
var verbs = map[string]func(*script, *args) ([]string, error){
	"setup":        (*script).setup,
	"config":       (*script).config,
	"tree":         (*script).tree,
	"node-start":   (*script).nodeStart,
	"node-die":     (*script).nodeDie,
	"worker-start": (*script).workerStart,
	"worker-die":   (*script).workerDie,
	"arrive":       (*script).arrive,
	"claim":        (*script).claim,
	"progress":     (*script).progress,
	"answer":       (*script).answer,
	"fail":         (*script).fail,
	"end":          (*script).end,
	"update":       (*script).update,
	"prompt":       (*script).prompt,
	"status":       (*script).status,
	"register":     (*script).register,
	"wrap-up":      (*script).wrapUp,
	"audit":        (*script).audit,
	"hash":         (*script).hash,
	"transfer":     (*script).transfer,
	"hold":         (*script).hold,
	"resume":       (*script).resume,
	"refer":        (*script).refer,
	"dial":         (*script).dial,
	"join":         (*script).join,
	"pick-up":      (*script).pickUp,
	"activate":     (*script).activate,
	"tick":         (*script).tick,
	"repeat":       (*script).repeat,
	"call":         (*script).call,
	"show":         (*script).show,
	"facts":        (*script).facts,
	"digits":       (*script).digits,
	"tag":          (*script).tag,
	"rush":         (*script).rush,
	"callback":     (*script).callback,
	"task":         (*script).task,
	"task-cancel":  (*script).taskCancel,
	"serve":        (*script).serve,
	"confirm":      (*script).confirm,
	"restless":     (*script).restless,
	"link":         (*script).link,
	"alarm":        (*script).alarm,
	"supervise":    (*script).supervise,
	"help":         (*script).help,
	"bind":         (*script).bind,
	"retained":     (*script).retained,
}

// config: agents=a,b [auto=no] [base=N] [by=WHO] [comment=WHY] and any setting of
// queue sales and trunk sbc-a.
// Every agent serves sales; agents named in support=... serve support as well,
// and those in only-support=... only that.
func (s *script) config(a *args) ([]string, error) {
	cfg := scriptConfig(a)
	return s.propose(acd.ConfigApplied{
		Config: cfg, IfNone: a.text("if-none", "") != "",
		By: a.text("by", ""), Comment: a.text("comment", ""), Base: uint64(a.number("base", 0)),
	})
}

func scriptConfig(a *args) acd.Config {
	sales := acd.Queue{
		ID: "sales", Music: a.text("music", "music"), Strategy: a.text("strategy", ""),
		RingTimeout: a.duration("ring-timeout"), WrapUp: a.duration("wrap-up"), WrapUpMax: a.duration("wrap-up-max"), MaxWait: a.duration("max-wait"),
		MaxLength: a.number("max-length", 0), MissedLimit: a.number("missed-limit", 0), RejectDelay: a.duration("reject-delay"),
	}
	support := sales
	support.ID = "support"
	cfg := acd.Config{
		HoldMusic:   a.text("hold-music", ""),
		Trunks:      []acd.Trunk{{ID: "sbc-a", Channels: a.number("channels", 0)}, {ID: "sbc-b"}},
		MaxChannels: a.number("max-channels", 0),
		Numbers: []acd.Number{
			{Number: "+100", Greeting: a.text("greeting", "hello"), Queue: "sales"},
			{Number: "+200", Queue: "support"},
		},
		Queues: []acd.Queue{sales, support},
	}
	if drop := a.text("without-queue", ""); drop != "" {
		cfg.Queues = slices.DeleteFunc(cfg.Queues, func(q acd.Queue) bool { return string(q.ID) == drop })
		cfg.Numbers = slices.DeleteFunc(cfg.Numbers, func(n acd.Number) bool { return string(n.Queue) == drop })
	}
	auto := a.text("auto", "yes") == "yes"
	both, only := a.list("support", ""), a.list("only-support", "")
	for _, id := range a.list("agents", "") {
		agent := acd.Agent{ID: acd.AgentID(id), Queues: []acd.QueueID{"sales"}, AutoAvailable: auto}
		if slices.Contains(both, id) {
			agent.Queues = append(agent.Queues, "support")
		}
		cfg.Agents = append(cfg.Agents, agent)
	}
	for _, id := range only {
		cfg.Agents = append(cfg.Agents, acd.Agent{ID: acd.AgentID(id), Queues: []acd.QueueID{"support"}, AutoAvailable: auto})
	}
	return cfg
}

// setup: what config takes, plus nodes=r1,r2 and workers=m1,m2. Starts all of
// them, registers every agent, one second apart, and prints nothing.
func (s *script) setup(a *args) ([]string, error) {
	return s.start(a, acd.ConfigApplied{Config: scriptConfig(a)})
}

func workerStarted(id string, life int) acd.WorkerStarted {
	return acd.WorkerStarted{
		Worker: acd.WorkerID(id), Incarnation: uint64(life), Control: id + ":2225", Replication: id + ":2226",
		Addresses: []string{id + ".1", id + ".2"},
	}
}

func registration(agent, uri string, cseq uint32, expires time.Duration) acd.RegistrationChanged {
	return acd.RegistrationChanged{
		Agent: acd.AgentID(agent), Expires: expires,
		Contact: acd.Contact{URI: "sip:" + agent + "@" + uri, SIPID: "reg-" + agent + "-" + uri, CSeq: cseq},
	}
}

// node-start NODE [version=N]
func (s *script) nodeStart(a *args) ([]string, error) {
	n := a.text("", "")
	return s.propose(acd.NodeStarted{Node: acd.NodeID(n), SIP: n + ":5060", Peer: n + ":8443", Version: uint32(a.number("version", 0))})
}

// node-die NODE [life=N]: the current life unless another is named.
func (s *script) nodeDie(a *args) ([]string, error) {
	o := s.owner(a.text("", ""))
	o.Incarnation = uint64(a.number("life", int(o.Incarnation)))
	return s.propose(acd.NodeDied{Owner: o})
}

func (s *script) owner(node string) acd.Owner {
	for _, n := range s.M.Nodes() {
		if string(n.ID) == node {
			return acd.Owner{Node: n.ID, Incarnation: n.Incarnation}
		}
	}
	return acd.Owner{Node: acd.NodeID(node)}
}

func (s *script) workerStart(a *args) ([]string, error) {
	return s.propose(workerStarted(a.text("", ""), a.number("life", 1)))
}

func (s *script) workerDie(a *args) ([]string, error) {
	return s.propose(acd.WorkerDied{Worker: acd.WorkerID(a.text("", "")), Incarnation: uint64(a.number("life", 1))})
}

// arrive CALL [owner=r1] [trunk=sbc-a] [to=+100] [from=+79001] [diverting=+300 diversion=WHY]
func (s *script) arrive(a *args) ([]string, error) {
	id := a.text("", "")
	arrival := s.arrival(id, a.text("owner", "r1"), a.text("trunk", "sbc-a"), a.text("to", "+100"))
	arrival.From = a.text("from", arrival.From)
	arrival.Diverting, arrival.Diversion = a.text("diverting", ""), a.text("diversion", "")
	return s.propose(arrival)
}

func (s *script) arrival(id, owner, trunk, to string) acd.CallArrived {
	return acd.CallArrived{
		OnCall: acd.OnCall{Call: acd.CallID(id), Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: []byte("invite " + id)}}},
		Owner:  s.owner(owner), Trunk: acd.TrunkID(trunk), Edge: "edge-1", From: "+79001", To: to, SIPID: id + "@sbc",
	}
}

// head is the call a line is about, under its current epoch unless epoch=N.
func (s *script) head(a *args) acd.OnCall {
	id := acd.CallID(a.text("", ""))
	c, _ := s.M.Call(id)
	h := acd.OnCall{Call: id, Epoch: uint64(a.number("epoch", int(c.Epoch)))}
	if rec := a.text("record", ""); rec != "" {
		h.Records = []acd.LegRecord{{Leg: acd.LegID(a.text("leg", "1")), Record: []byte(rec)}}
	}
	if prompt := a.text("playing", ""); prompt != "" {
		h.Playing = []acd.Playing{{Leg: acd.CallerLeg, Prompt: prompt}}
	}
	return h
}

func (s *script) claim(a *args) ([]string, error) {
	return s.propose(acd.CallClaimed{OnCall: s.head(a), Owner: s.owner(a.text("owner", ""))})
}

func (s *script) progress(a *args) ([]string, error) {
	return s.propose(acd.LegProgressed{
		OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "2")), Code: a.number("code", 180), Trunk: acd.TrunkID(a.text("trunk", "")),
	})
}

// answer CALL [leg=1] [media=m1.1] [trunk=T]
func (s *script) answer(a *args) ([]string, error) {
	media := acd.Media{Address: a.text("media", "m1.1"), Codec: "PCMA", Suite: "AEAD_AES_128_GCM"}
	return s.propose(acd.LegAnswered{OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "1")), Media: media, Trunk: acd.TrunkID(a.text("trunk", "")),
		Unheard: a.text("unheard", "") == "yes"})
}

func (s *script) fail(a *args) ([]string, error) {
	return s.propose(acd.LegFailed{OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "2")), Code: a.number("code", 486), Reason: a.text("reason", "")})
}

func (s *script) end(a *args) ([]string, error) {
	return s.propose(acd.LegEnded{OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "1")), Cause: a.text("cause", "bye")})
}

func (s *script) update(a *args) ([]string, error) {
	return s.propose(acd.LegUpdated{OnCall: s.head(a)})
}

// prompt CALL [leg=1] [name=hello] [lasts=3s] [failed=yes]
func (s *script) prompt(a *args) ([]string, error) {
	return s.propose(acd.PromptStarted{
		OnCall: s.head(a), Leg: acd.LegID(a.text("leg", string(acd.CallerLeg))), Prompt: a.text("name", "hello"),
		Duration: a.duration("lasts"), Failed: a.text("failed", "") == "yes",
	})
}

func (s *script) status(a *args) ([]string, error) {
	return s.propose(acd.AgentStatusSet{Agent: acd.AgentID(a.text("", "")), Status: acd.AgentStatus(a.text("to", "")), Reason: a.text("reason", "")})
}

// register AGENT [uri=phone] [cseq=1] [expires=60s] [instance=x reg-id=1] [all=yes]
func (s *script) register(a *args) ([]string, error) {
	r := registration(a.text("", ""), a.text("uri", "phone"), uint32(a.number("cseq", 1)), a.duration("expires"))
	r.Contact.Instance, r.Contact.RegID = a.text("instance", ""), a.number("reg-id", 0)
	if id := a.text("sip-id", ""); id != "" {
		r.Contact.SIPID = id
	}
	if a.text("all", "") == "yes" {
		r.Contact.URI = ""
	}
	return s.propose(r)
}

// tick lets time pass to the next deadline, or as far as after= says.
func (s *script) tick(a *args) ([]string, error) {
	var lines []string
	if a.text("after", "") == "" {
		at, ok := s.M.NextDeadline()
		if !ok {
			return nil, fmt.Errorf("no deadline to wait for")
		}
		s.Clock = at
		lines = append(lines, "at "+moment(at))
	}
	printed, err := s.propose(acd.Ticked{})
	return append(lines, printed...), err
}

// repeat proposes the last command again, as when its answer was lost.
func (s *script) repeat(*args) ([]string, error) {
	result, effects, err := s.Repeat()
	return append(printResult(result), printEffects(effects)...), err
}

// call CALL to=arriving|greeting|waiting|ringing|talking [owner=r1] [number=+100]
// [from=+79001] [media=m1.1] brings a call that far and prints its line. What else the
// commands caused is not printed: other scripts show it.
func (s *script) call(a *args) ([]string, error) {
	id, to := a.text("", ""), a.text("to", "talking")
	media := acd.Media{Address: a.text("media", "m1.1"), Codec: "PCMA", Suite: "AEAD_AES_128_GCM"}
	arrival := s.arrival(id, a.text("owner", "r1"), a.text("trunk", "sbc-a"), a.text("number", "+100"))
	arrival.From = a.text("from", arrival.From)
	head := func() acd.OnCall {
		c, _ := s.M.Call(acd.CallID(id))
		return acd.OnCall{Call: acd.CallID(id), Epoch: c.Epoch}
	}
	offered := func() acd.LegID {
		c, _ := s.M.Call(acd.CallID(id))
		if live := offersOf(&c); len(live) > 0 {
			return live[0].ID
		}
		return ""
	}
	steps := []struct {
		reached string
		body    func() acd.Body
	}{
		{"arriving", func() acd.Body { return arrival }},
		{"greeting", func() acd.Body { return acd.LegAnswered{OnCall: head(), Leg: acd.CallerLeg, Media: media} }},
		{"waiting", func() acd.Body {
			c, _ := s.M.Call(acd.CallID(id))
			return acd.PromptStarted{OnCall: head(), Leg: acd.CallerLeg, Prompt: c.Prompt.Name, Failed: true}
		}},
		{"waiting", func() acd.Body {
			return acd.PromptStarted{OnCall: head(), Leg: acd.CallerLeg, Prompt: "music"}
		}},
		{"ringing", func() acd.Body {
			return acd.LegProgressed{OnCall: head(), Leg: offered(), Code: 180}
		}},
		{"talking", func() acd.Body {
			return acd.LegAnswered{OnCall: head(), Leg: offered(), Media: media}
		}},
	}
	last := slices.IndexFunc(steps, func(st struct {
		reached string
		body    func() acd.Body
	}) bool {
		return st.reached == to
	})
	if last < 0 {
		return nil, fmt.Errorf("no state %q", to)
	}
	if to == "waiting" {
		last++ // and the music plays
	}
	for _, st := range steps[:last+1] {
		r, _, err := s.Propose(st.body())
		if err == nil && !r.Applied && !(st.reached == "waiting" && (r.Reason == acd.ReasonUnexpected || r.Reason == acd.ReasonUnchanged)) {
			err = fmt.Errorf("%s: %s", st.reached, r.Reason)
		}
		if err != nil {
			return nil, err
		}
	}
	c, _ := s.M.Call(acd.CallID(id))
	return []string{printCall(c)}, nil
}

// show calls|agents|queues|media|nodes|configs|no-ops|trunks|timers
func (s *script) show(a *args) ([]string, error) {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch what := a.text("", ""); what {
	case "calls":
		for _, c := range s.M.Calls() {
			add("%s", printCall(c))
		}
	case "agents":
		for _, agent := range s.M.Agents() {
			add("%s", printAgent(agent))
		}
	case "queues":
		for _, q := range s.M.Queues() {
			line := fmt.Sprintf("queue %s waiting=%d oldest=%s agents=%d idle=%d", q.ID, q.Waiting, moment(q.Oldest), q.Agents, q.Idle)
			if q.Retired {
				line += " retired"
			}
			add("%s", line)
		}
	case "waits":
		for _, w := range s.M.Waits() {
			add("%s", printWait(w))
		}
	case "tasks":
		for _, t := range s.M.Tasks() {
			add("task %s %s number=%s queue=%s due=%s expire=%s call=%s", t.ID, t.State, t.Number, t.Queue, moment(t.Due), moment(t.Expire), t.Call)
		}
	case "cards":
		for _, c := range s.M.Calls() {
			line := "card of " + string(c.ID)
			for _, attr := range c.Card {
				line += fmt.Sprintf(" %s=%q", attr.Key, attr.Value)
			}
			add("%s", line)
		}
	case "line":
		for _, c := range s.M.Calls() {
			if position, p50, p90, known := s.M.Position(c.ID); position > 0 {
				add("%s ticket=%d in %s position=%d p50=%s p90=%s known=%t", c.ID, c.Ticket, c.Queue, position, span(p50), span(p90), known)
			}
		}
	case "media":
		for _, h := range s.M.MediaHosts() {
			add("media %s on %s standby=%s epoch=%d calls=%d", h.Address, h.Worker, h.Standby, h.Epoch, h.Calls)
		}
	case "nodes":
		for _, n := range s.M.Nodes() {
			line := fmt.Sprintf("node %s/%d alive=%t", n.ID, n.Incarnation, n.Alive)
			if n.Agreed+n.Diverged > 0 {
				line += fmt.Sprintf(" agreed=%d diverged=%d", n.Agreed, n.Diverged)
			}
			add("%s", line)
		}
	case "configs":
		for _, v := range s.M.Configs() {
			add("version %d by %q: %q", v.Version, v.By, v.Comment)
		}
	case "trunks":
		for _, t := range s.M.Trunks() {
			line := fmt.Sprintf("trunk %s used=%d of %d", t.ID, t.Used, t.Channels)
			if len(t.Links) > 0 {
				line += " " + string(t.State)
			}
			for _, l := range t.Links {
				line += fmt.Sprintf(" %s:%s", l.Edge, l.State)
			}
			for _, x := range t.Alarms {
				line += fmt.Sprintf(" alarm:%s:%s=%d", x.Kind, x.Direction, x.Value)
			}
			add("%s", line)
		}
	case "no-ops":
		for _, n := range s.M.NoOps() {
			add("%s %d", n.Reason, n.N)
		}
	case "timers":
		st := s.M.Snapshot()
		st.Sort()
		for _, t := range st.Timers {
			add("timer %d %s at %s", t.Kind, strings.TrimSpace(t.ID+" "+t.Sub), moment(t.At))
		}
	default:
		return nil, fmt.Errorf("nothing to show called %q", what)
	}
	if len(lines) == 0 {
		lines = []string{"none"}
	}
	return lines, nil
}

// facts [CALL] [agent=A] [kind=prefix]
func (s *script) facts(a *args) ([]string, error) {
	call, agent, kind := a.text("", ""), a.text("agent", ""), a.text("kind", "")
	var lines []string
	for _, f := range s.M.FactsAfter(0, 0) {
		if (call == "" || string(f.Call) == call) && (agent == "" || string(f.Agent) == agent) && strings.HasPrefix(f.Kind, kind) {
			lines = append(lines, printFact(f))
		}
	}
	return lines, nil
}
