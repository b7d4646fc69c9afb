package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// The leader asks each trunk's SBC by each edge whether it is there: one voice,
// so that nobody contradicts it, and whoever leads next begins with what is
// committed. A way that this router alone can't reach is a mistake of at most one
// leadership, and a call finds it out: where all ways are down they are tried.
const (
	probeEvery   = 2 * time.Second // of a way that is up
	probeSoon    = time.Second     // of any other
	probeTimeout = 2 * time.Second
	probeStep    = 200 * time.Millisecond
)

var (
	probesSent  = metrics.NewCounter("routerd_trunk_probes_total")
	probesLost  = metrics.NewCounter("routerd_trunk_probes_lost_total")
	probeAnswer = metrics.NewHistogram("routerd_trunk_probe_seconds")
)

// health judges a way by what came of asking, and does so slowly enough that one
// lost packet means nothing and quickly enough for an alarm within 30 s.
type health struct {
	state    acd.LinkState // empty: never asked
	lost     int           // in a row
	answered int           // in a row
}

// note takes one outcome. Up: the first loss makes it suspect, the third in a row
// down. Suspect: two answers make it up; down: three.
func (h *health) note(ok bool) {
	if ok {
		h.answered, h.lost = h.answered+1, 0
	} else {
		h.answered, h.lost = 0, h.lost+1
	}
	switch {
	case !ok && h.lost >= 3:
		h.state = acd.LinkDown
	case !ok && h.state != acd.LinkDown:
		h.state = acd.LinkSuspect
	case ok && (h.state == "" || h.state == acd.LinkSuspect && h.answered >= 2 || h.answered >= 3):
		h.state = acd.LinkUp
	}
}

// link is the way to a trunk by an edge.
type link struct {
	trunk acd.TrunkID
	edge  string
}

// asked is a way that is asked about.
type asked struct {
	link
	health
	cause  string // of the last loss
	callID string // of the question under way; empty: none
	sent   time.Time
	next   time.Time
	told   time.Time // when its state was last proposed
}

// probeResult is what came of a question; code 0: it could not be sent.
type probeResult struct {
	callID string
	code   int
}

// probeTrunks asks while this node leads, until ctx ends.
func (n *Node) probeTrunks(ctx context.Context) {
	tick := time.NewTicker(probeStep)
	defer tick.Stop()
	var probes []*asked
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-n.probed:
			for _, p := range probes {
				if p.callID == r.callID {
					n.judge(p, r.code)
				}
			}
			continue
		case <-tick.C:
		}
		if _, self := n.store.Leader(); !self || n.incarnation.Load() == 0 {
			probes = nil
			continue
		}
		probes = n.links(probes)
		for _, p := range probes {
			switch now := time.Now(); {
			case p.callID != "" && now.Sub(p.sent) > probeTimeout:
				n.judge(p, 408)
			case p.callID == "" && now.After(p.next):
				n.ask(p)
			}
			n.tellState(ctx, p)
		}
	}
}

// links are the ways there are now: those of before go on, new ones begin with
// what is committed, and what is committed of an edge that is no more is taken back.
func (n *Node) links(before []*asked) []*asked {
	var now []*asked
	var gone []link
	n.view(func(m *acd.Machine) {
		for _, t := range m.Trunks() {
			for _, edge := range n.conf.SIP.Outbound {
				l := link{t.ID, edge}
				if at := slices.IndexFunc(before, func(p *asked) bool { return p.link == l }); at >= 0 {
					now = append(now, before[at])
					continue
				}
				p := &asked{link: l}
				for _, known := range t.Links {
					if known.Edge == edge {
						p.state = known.State
					}
				}
				now = append(now, p)
			}
			for _, known := range t.Links {
				if !slices.Contains(n.conf.SIP.Outbound, known.Edge) {
					gone = append(gone, link{t.ID, known.Edge})
				}
			}
		}
	})
	if before == nil { // once a leadership
		for _, l := range gone {
			n.async(func() { n.tell(n.life, acd.TrunkStateChanged{Trunk: l.trunk, Edge: l.edge}) })
		}
	}
	return now
}

// ask sends one OPTIONS the way a call would go.
func (n *Node) ask(p *asked) {
	p.sent = time.Now()
	p.callID = "probe-" + sip.NewTag(n.conf.Node, string(p.trunk), p.edge, strconv.FormatInt(p.sent.UnixNano(), 36)) + "@" + n.conf.ClusterHost
	host := n.conf.ClusterHost
	local := n.local("probe", sip.NewTag(p.callID))
	packet := sip.NewOptions(local, sip.ClientParams{
		CallID: p.callID, Branch: sip.NewBranch(p.callID, p.edge), URI: "sip:" + host, From: "<sip:" + n.conf.Node + "@" + host + ">", To: "<sip:" + host + ">",
		Headers: []sip.Header{{Name: trunkHeader, Value: string(p.trunk)}}, Hops: []sip.Hop{{Network: "tcp", Addr: p.edge}},
	})
	probesSent.Inc()
	id := p.callID
	n.sendPacket(packet, func(error) { n.probeDone(probeResult{callID: id}) })
}

// probeDone brings an outcome to the loop. If that is not there to take it, time
// tells the same.
func (n *Node) probeDone(r probeResult) {
	select {
	case n.probed <- r:
	default:
	}
}

// probeAnswered takes the answer to a question of this node's.
func (n *Node) probeAnswered(msg sip.Message) bool {
	res, ok := msg.(*sip.Response)
	if !ok {
		return false
	}
	if _, method := res.CSeq(); method != "OPTIONS" {
		return false
	}
	if res.Code >= 200 {
		n.probeDone(probeResult{res.CallID(), res.Code})
	}
	return true
}

func (n *Node) judge(p *asked, code int) {
	ok := takesCalls(code)
	if ok {
		probeAnswer.UpdateDuration(p.sent)
	} else {
		probesLost.Inc()
		switch code {
		case 0:
			p.cause = "edge unreachable"
		case 408:
			p.cause = "no answer"
		default:
			p.cause = fmt.Sprintf("answered %d", code)
		}
	}
	p.note(ok)
	p.callID = ""
	p.next = p.sent.Add(probeSoon)
	if p.state == acd.LinkUp {
		p.next = p.sent.Add(probeEvery)
	}
}

// takesCalls tells an answer of an SBC that is there: whatever it thinks of
// OPTIONS. An edge answers 503 where it has no SBC that is, and 4xx of these where
// it can't pass the question on.
func takesCalls(code int) bool {
	switch code {
	case 403, 408, 430, 478, 483:
		return false
	}
	return code >= 200 && code < 500 || code == 501
}

// tellState commits what the log does not know yet.
func (n *Node) tellState(ctx context.Context, p *asked) {
	if p.state == "" || time.Since(p.told) < time.Second {
		return
	}
	known := acd.LinkState("")
	n.view(func(m *acd.Machine) {
		for _, t := range m.Trunks() {
			for _, l := range t.Links {
				if t.ID == p.trunk && l.Edge == p.edge {
					known = l.State
				}
			}
		}
	})
	if known == p.state {
		return
	}
	p.told = time.Now()
	change := acd.TrunkStateChanged{Trunk: p.trunk, Edge: p.edge, State: p.state}
	if p.state != acd.LinkUp {
		change.Cause = p.cause
	}
	if p.state == acd.LinkDown || known == acd.LinkDown {
		n.log.Warn("a trunk's way has another state", "trunk", p.trunk, "edge", p.edge, "state", p.state, "was", cmp.Or(known, "unknown"), "err", p.cause)
	}
	n.async(func() { n.tell(ctx, change) })
}
