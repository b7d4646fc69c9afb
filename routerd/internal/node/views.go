package node

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

func (n *Node) status() routeapi.Status {
	leader, _ := n.store.Leader()
	s := routeapi.Status{Node: n.conf.Node, Ready: n.Ready() == nil, Leader: leader, Term: n.store.Stats().Term, Incarnation: n.incarnation.Load()}
	own := n.owner()
	n.stateMu.RLock()
	defer n.stateMu.RUnlock()
	s.Applied = n.applied
	hash := n.machine.Hash()
	s.Hash = hex.EncodeToString(hash[:])
	for _, c := range n.machine.Calls() {
		s.Calls++
		if c.Owner == own {
			s.OwnCalls++
		}
		if c.State == acd.CallWaiting {
			s.Waiting++
		}
	}
	return s
}

func (n *Node) calls() []routeapi.Call {
	out := []routeapi.Call{}
	n.view(func(m *acd.Machine) {
		hosts := map[string]acd.WorkerID{}
		for _, h := range m.MediaHosts() {
			hosts[h.Address] = h.Worker
		}
		for _, c := range m.Calls() {
			v := callView(c, hosts)
			if position, p50, p90, known := m.Position(c.ID); position > 0 {
				v.Position, v.Wait = position, waitView(p50, p90, known)
			}
			out = append(out, v)
		}
	})
	return out
}

func callView(c acd.Call, hosts map[string]acd.WorkerID) routeapi.Call {
	v := routeapi.Call{
		ID: string(c.ID), SIPID: c.SIPID, State: string(c.State), Node: string(c.Owner.Node), Epoch: c.Epoch,
		Trunk: string(c.Trunk), Edge: c.Edge, From: mask(c.From), To: c.To, Queue: string(c.Queue), Ticket: c.Ticket, Agent: string(c.Agent),
		Arrived: wall(c.Arrived), Enqueued: wall(c.Enqueued), Answered: wall(c.Bridged),
		Priority: c.Priority, Card: cardView(c.Card), Outbound: c.Outbound, Callback: c.Callback, Task: string(c.Task), Attempts: c.Attempts, Chain: string(c.Chain),
	}
	if c.Chain != "" {
		v.Step = c.Step + 1
	}
	if len(c.Media) > 0 {
		v.Media = c.Media[len(c.Media)-1]
		v.Worker = string(hosts[v.Media])
	}
	if s := c.Supervision; s.Agent != "" {
		v.Supervisor, v.Supervision = string(s.Agent), string(s.Mode)
	}
	for _, l := range c.Legs {
		if l.Role == acd.RoleCaller {
			v.Codec, v.Suite = l.Media.Codec, l.Media.Suite
		}
		if l.Role == acd.RoleAgent && v.Agent == "" && (l.State == acd.LegNew || l.State == acd.LegRinging) {
			v.Agent = string(l.Agent) // under offer
		}
		v.Legs = append(v.Legs, routeapi.Leg{ID: string(l.ID), Role: string(l.Role), State: string(l.State), Agent: string(l.Agent), Codec: l.Media.Codec, Suite: l.Media.Suite,
			Held: wall(l.Held), Holds: l.Holds, HeldFor: l.HeldFor.Seconds()})
	}
	return v
}

func (n *Node) agents() []routeapi.Agent {
	out := []routeapi.Agent{}
	n.view(func(m *acd.Machine) {
		for _, a := range m.Agents() {
			v := routeapi.Agent{ID: string(a.ID), Name: a.Name, Status: string(a.Status), State: string(a.State), Reason: a.Reason,
				Call: string(a.Call), Missed: a.Missed, Contacts: []string{}, Queues: []string{},
				Pending: string(a.Pending), PendingReason: a.PendingReason, WrapUpEnds: wall(a.WrapUpEnds),
				Help: wall(a.Help), HelpReason: a.HelpReason}
			for _, c := range a.Contacts {
				v.Contacts = append(v.Contacts, c.URI)
			}
			for _, q := range a.Queues {
				v.Queues = append(v.Queues, string(q))
			}
			out = append(out, v)
		}
	})
	return out
}

func (n *Node) cluster() routeapi.Cluster {
	leader, _ := n.store.Leader()
	out := routeapi.Cluster{Leader: leader, Nodes: []routeapi.Node{}, Workers: []routeapi.Worker{}, Media: []routeapi.MediaHost{}, Trunks: []routeapi.Trunk{}}
	seen := map[string]bool{}
	load := map[string]routeapi.Worker{}
	for _, m := range n.gossip.Members() {
		seen[m.Name] = true
		if meta, ok := workerMeta(m); ok {
			load[m.Name] = routeapi.Worker{Sessions: meta.Sessions, FreePorts: meta.FreePorts}
		}
	}
	voters := map[string]bool{}
	for _, p := range n.store.Stats().Peers {
		voters[p.ID] = p.Voter
	}
	n.view(func(m *acd.Machine) {
		out.Version = m.Version()
		owned := map[acd.NodeID]int{}
		for _, c := range m.Calls() {
			owned[c.Owner.Node]++
		}
		for _, r := range m.Nodes() {
			out.Nodes = append(out.Nodes, routeapi.Node{ID: string(r.ID), Alive: r.Alive, Voter: voters[string(r.ID)], Incarnation: r.Incarnation, Calls: owned[r.ID], SIP: r.SIP,
				Version: r.Version, Agreed: r.Agreed, Diverged: r.Diverged})
		}
		for _, w := range m.Workers() {
			v := load[string(w.ID)]
			v.ID, v.Alive, v.Incarnation = string(w.ID), w.Alive, w.Incarnation
			out.Workers = append(out.Workers, v)
		}
		out.Trunks = trunkViews(m)
		for _, h := range m.MediaHosts() {
			out.Media = append(out.Media, routeapi.MediaHost{Address: h.Address, Worker: string(h.Worker), Standby: string(h.Standby), Epoch: h.Epoch, Calls: h.Calls})
		}
	})
	return out
}

func (n *Node) trunks() (out []routeapi.Trunk) {
	n.view(func(m *acd.Machine) { out = trunkViews(m) })
	n.speech.mu.Lock()
	defer n.speech.mu.Unlock()
	for _, r := range n.speech.readings {
		at := slices.IndexFunc(out, func(t routeapi.Trunk) bool { return t.ID == string(r.Trunk) })
		if at < 0 {
			continue
		}
		out[at].MeasuredCalls = r.Calls
		for _, m := range r.Measures {
			out[at].Measured = append(out[at].Measured, routeapi.TrunkMeasure{Kind: string(m.Kind), Direction: string(m.Direction), Value: m.Value})
		}
	}
	return out
}

func trunkViews(m *acd.Machine) []routeapi.Trunk {
	out := []routeapi.Trunk{}
	for _, t := range m.Trunks() {
		v := routeapi.Trunk{ID: string(t.ID), Channels: t.Channels, Used: t.Used, Rate: t.Rate, State: string(t.State)}
		for _, l := range t.Links {
			v.Links = append(v.Links, routeapi.TrunkLink{Edge: l.Edge, State: string(l.State), Since: wall(l.Since), Cause: l.Cause})
		}
		for _, x := range t.Alarms {
			v.Alarms = append(v.Alarms, routeapi.TrunkAlarm{Kind: string(x.Kind), Direction: string(x.Direction), Since: wall(x.Since), Value: x.Value, Limit: x.Limit})
		}
		out = append(out, v)
	}
	return out
}

// wall shows machine time as a date; machine time starts at one.
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
