package lab

import (
	"fmt"
	"slices"
)

// host is a component of the plan and its own address.
type host struct {
	Name string
	IP   string
}

// plan says which components the lab has and where. Everything is on the
// loopback network, so nothing of the machine has to be configured:
//
//	127.10.1.x SBC simulators   127.10.2.x edges
//	127.10.3.x routers          127.10.4.x workers, media on .x1 and .x2
//	127.10.5.x phones           127.10.6.x callers         127.10.7.x SIPp
type plan struct {
	SBCs, Edges, Routers, Workers []host

	// What the caller plays: workers, and the addresses heard as edges.
	played []host
	Heard  []host
}

func newPlan(routers, workers int) plan {
	p := plan{
		SBCs:  []host{{SBCA, "127.10.1.1"}, {SBCB, "127.10.1.2"}},
		Edges: []host{{Edge1, "127.10.2.1"}, {Edge2, "127.10.2.2"}},
	}
	p.Heard = p.Edges
	for i := 1; i <= routers; i++ {
		p.Routers = append(p.Routers, host{fmt.Sprintf("r%d", i), fmt.Sprintf("127.10.3.%d", i)})
	}
	for i := 1; i <= workers; i++ {
		p.Workers = append(p.Workers, host{fmt.Sprintf("m%d", i), fmt.Sprintf("127.10.4.%d", i)})
	}
	return p
}

// alone is the plan without all that the caller plays.
func (p plan) alone(edges []string) plan {
	p.played, p.Workers, p.Edges, p.SBCs, p.Heard = p.Workers[:1], nil, nil, nil, nil
	for _, e := range edges {
		p.Heard = append(p.Heard, host{"", e})
	}
	return p
}

// hosts lists all in starting order: workers before the routers that choose
// them, edges before the SBCs that ping them.
func (p plan) hosts() []host {
	var all []host
	for _, kind := range [][]host{p.Workers, p.Routers, p.Edges, p.SBCs} {
		all = append(all, kind...)
	}
	return all
}

func (p plan) is(kind []host, name string) bool {
	return slices.ContainsFunc(kind, func(h host) bool { return h.Name == name })
}

// media is a worker's media addresses: m2 at 127.10.4.2 has 127.10.4.21 and .22.
func (p plan) media(w host) []string { return []string{w.IP + "1", w.IP + "2"} }

// gossip is where routers and workers find each other.
func (p plan) gossip() []string {
	var at []string
	for _, kind := range [][]host{p.Routers, p.Workers, p.played} {
		for _, h := range kind {
			at = append(at, fmt.Sprintf("%s:%d", h.IP, PortGossip))
		}
	}
	return at
}

// routerPorts are the SIP ports of each router. One connection is served by
// one process of Kamailio, so edges hold several to each router.
var routerPorts = []int{5060, 5061, 5062, 5063}
