package replay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// View is a moment as people and programs read it. Lists are by id.
type View struct {
	Index   uint64       `json:"index"` // of the last entry applied
	Time    time.Time    `json:"time"`  // machine time
	Base    uint64       `json:"base_index"`
	Applied int          `json:"entries_applied"`
	Hash    string       `json:"state_hash"`
	Config  ConfigView   `json:"config"`
	Nodes   []NodeView   `json:"nodes"`
	Workers []NodeView   `json:"workers"`
	Queues  []QueueView  `json:"queues"`
	Agents  []AgentView  `json:"agents"`
	Calls   []CallView   `json:"calls"`
	Tasks   []acd.TaskID `json:"tasks"`
	Trunks  []TrunkView  `json:"trunks"`
}

// ConfigView says which configuration was in force.
type ConfigView struct {
	Version uint64    `json:"version"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Comment string    `json:"comment,omitempty"`
}

// NodeView is a router or a media worker.
type NodeView struct {
	ID    string `json:"id"`
	Alive bool   `json:"alive"`
	Life  uint64 `json:"incarnation"`
}

// QueueView is a queue.
type QueueView struct {
	ID      string  `json:"id"`
	Waiting int     `json:"waiting"`
	Oldest  float64 `json:"oldest_wait_seconds"`
	Agents  int     `json:"agents"`
	Idle    int     `json:"idle"`
}

// TrunkView is an SBC link.
type TrunkView struct {
	ID       string `json:"id"`
	Channels int    `json:"channels"`
	Used     int    `json:"used"`
}

// AgentView is an agent.
type AgentView struct {
	ID     string    `json:"id"`
	Status string    `json:"status"`
	Reason string    `json:"reason,omitempty"`
	State  string    `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Call   string    `json:"call,omitempty"`
	Phones int       `json:"phones"`
}

// CallView is an open call; the caller's number is masked but for its last digits.
type CallView struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	Node     string    `json:"node"`
	Epoch    uint64    `json:"epoch"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Queue    string    `json:"queue,omitempty"`
	Ticket   uint64    `json:"ticket,omitempty"`
	Agent    string    `json:"agent,omitempty"`
	Arrived  time.Time `json:"arrived"`
	Enqueued time.Time `json:"enqueued,omitzero"`
	Bridged  time.Time `json:"bridged,omitzero"`
	Offers   int       `json:"offers"`
}

// View shows the moment.
func (m *Moment) View() *View {
	a := m.Machine
	s := a.Snapshot()
	hash := s.Hash()
	v := &View{
		Index: a.Index(), Time: wall(a.Now()), Base: m.Base, Applied: m.Applied, Hash: hex.EncodeToString(hash[:]),
		Nodes: []NodeView{}, Workers: []NodeView{}, Queues: []QueueView{}, Agents: []AgentView{}, Calls: []CallView{}, Tasks: []acd.TaskID{}, Trunks: []TrunkView{},
	}
	if n := len(s.Configs); n > 0 {
		c := s.Configs[n-1]
		v.Config = ConfigView{c.Version, c.By, wall(c.At), c.Comment}
	}
	for _, n := range s.Nodes {
		v.Nodes = append(v.Nodes, NodeView{string(n.ID), n.Alive, n.Incarnation})
	}
	for _, w := range s.Workers {
		v.Workers = append(v.Workers, NodeView{string(w.ID), w.Alive, w.Incarnation})
	}
	for _, q := range a.Queues() {
		qv := QueueView{ID: string(q.ID), Waiting: q.Waiting, Agents: q.Agents, Idle: q.Idle}
		if q.Oldest != 0 {
			qv.Oldest = a.Now().Sub(q.Oldest).Seconds()
		}
		v.Queues = append(v.Queues, qv)
	}
	for _, t := range a.Trunks() {
		v.Trunks = append(v.Trunks, TrunkView{string(t.ID), t.Channels, t.Used})
	}
	for _, x := range a.Agents() {
		v.Agents = append(v.Agents, AgentView{string(x.ID), string(x.Status), x.Reason, string(x.State), wall(x.Since), string(x.Call), len(x.Contacts)})
	}
	for _, c := range a.Calls() {
		v.Calls = append(v.Calls, CallView{
			ID: string(c.ID), State: string(c.State), Node: string(c.Owner.Node), Epoch: c.Epoch, From: mask(c.From), To: c.To,
			Queue: string(c.Queue), Ticket: c.Ticket, Agent: string(c.Agent), Arrived: wall(c.Arrived), Enqueued: wall(c.Enqueued),
			Bridged: wall(c.Bridged), Offers: c.Offers,
		})
	}
	for _, t := range s.Tasks {
		v.Tasks = append(v.Tasks, t.ID)
	}
	return v
}

// Difference is one thing that two moments differ in.
type Difference struct {
	Path string `json:"path"`          // as in agents[ann].state
	Was  string `json:"was,omitempty"` // empty: it was not there
	Now  string `json:"now,omitempty"` // empty: it is gone
}

func (d Difference) String() string {
	switch {
	case d.Was == "":
		return fmt.Sprintf("+ %s: %s", d.Path, d.Now)
	case d.Now == "":
		return fmt.Sprintf("- %s: %s", d.Path, d.Was)
	}
	return fmt.Sprintf("~ %s: %s → %s", d.Path, d.Was, d.Now)
}

// Diff lists what was differs from now in, by path. Of what came or went whole
// there is one line.
func Diff(was, now *View) ([]Difference, error) {
	before, err := flat(was)
	if err != nil {
		return nil, err
	}
	after, err := flat(now)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	var out []Difference
	for _, path := range slices.Sorted(maps.Keys(all)) {
		w, hadIt := before[path]
		n, hasIt := after[path]
		thing, field, nested := cutThing(path)
		_, thingWas := before[thing]
		_, thingIs := after[thing]
		switch {
		case nested && field != "" && thingWas != thingIs:
			// told by the thing's own line
		case !hadIt, !hasIt, w != n && !(nested && field == ""):
			out = append(out, Difference{path, w, n})
		}
	}
	return out, nil
}

// cutThing cuts "agents[ann].state" behind the bracket.
func cutThing(path string) (thing, field string, nested bool) {
	i := strings.LastIndexByte(path, ']')
	if i < 0 {
		return path, "", false
	}
	return path[:i+1], path[i+1:], true
}

// flat maps each thing of a view and each of its values to their text.
func flat(v *View) (map[string]string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	for _, own := range []string{"base_index", "entries_applied", "state_hash"} {
		delete(tree, own) // of how it was built, not of what was
	}
	out := map[string]string{}
	flatten("", tree, out)
	return out, nil
}

func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if path != "" && strings.HasSuffix(path, "]") {
			out[path] = summary(v)
		}
		for key, value := range v {
			if key == "id" {
				continue
			}
			if path != "" {
				key = path + "." + key
			}
			flatten(key, value, out)
		}
	case []any:
		for _, item := range v {
			name := fmt.Sprint(item)
			if thing, ok := item.(map[string]any); ok {
				name = fmt.Sprint(thing["id"])
			}
			flatten(path+"["+name+"]", item, out)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}

// summary is a thing in one line, its fields by name.
func summary(thing map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(thing)) {
		if s := fmt.Sprint(thing[key]); key != "id" && s != "" && s != "0" {
			parts = append(parts, key+" "+s)
		}
	}
	return strings.Join(parts, ", ")
}

func wall(t acd.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// mask hides all but the last four digits of a caller's number.
func mask(number string) string {
	if len(number) <= 4 {
		return number
	}
	return strings.Repeat("*", len(number)-4) + number[len(number)-4:]
}
