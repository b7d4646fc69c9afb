package node

import (
	"fmt"
	"slices"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// trunkHeader names the trunk a call comes by, or is to be placed over.
const trunkHeader = "X-Trunkline-Trunk"

// dial calls a number over the customer's trunks: the first of them by each
// edge, then the next. Which edge goes first differs from call to call.
func (a *actor) dial(id acd.EffectID, o acd.Dial) {
	ways, trunks := a.n.trunkWays(id, o)
	r := ring{id: id, ways: ways, dial: o, asked: []string{o.Number}}
	a.setUp(o.Leg, r, "no trunk", allowedOnAll(a.codecsFor(), trunks))
}

// trunkWays are the ways to a number in the order in which they are tried, and
// the trunks they go over. A way that is known to be down is left out while there
// is another: asked for all the same, it would cost 2 s of silence.
func (n *Node) trunkWays(id acd.EffectID, o acd.Dial) (ways []way, trunks []acd.Trunk) {
	edges := n.conf.SIP.Outbound
	var down []way
	n.view(func(m *acd.Machine) {
		for _, name := range o.Trunks {
			t, ok := m.Trunk(name)
			if !ok { // a later configuration has it no more
				t = acd.Trunk{ID: name}
			}
			trunks = append(trunks, t)
			for _, from := range n.edges.order(edges, id.Index) {
				w := n.trunkWay(&t, o, from)
				if m.LinkState(name, edges[from]) == acd.LinkDown {
					down = append(down, w)
				} else {
					ways = append(ways, w)
				}
			}
		}
	})
	if len(ways) == 0 {
		return down, trunks
	}
	return ways, trunks
}

// trunkWay is the way over a trunk by one of the edges, with numbers as its SBC
// wants them.
func (n *Node) trunkWay(t *acd.Trunk, o acd.Dial, edge int) way {
	host, edges := n.conf.ClusterHost, n.conf.SIP.Outbound
	number, ours := userPart(t.Outward(o.Number)), fmt.Sprintf("<sip:%s@%s>", userPart(t.Outward(o.From)), host)
	w := way{
		trunk: t.ID, uri: fmt.Sprintf("sip:%s@%s;user=phone", number, host), to: fmt.Sprintf("<sip:%s@%s>", number, host), from: ours,
		headers: []sip.Header{{Name: trunkHeader, Value: string(t.ID)}},
	}
	switch o.Caller {
	case "":
	case sip.Anonymous: // RFC 3323 section 4.1.1.3; the carrier still learns who pays
		w.from = `"Anonymous" <sip:anonymous@anonymous.invalid>`
		w.headers = append(w.headers, sip.Header{Name: "Privacy", Value: "id"})
	default:
		w.from = fmt.Sprintf("<sip:%s@%s>", userPart(t.Outward(o.Caller)), host)
		ours = w.from
	}
	w.headers = append(w.headers, sip.Header{Name: "P-Asserted-Identity", Value: ours})
	var diverted []string
	for _, d := range o.Diverted {
		diverted = append(diverted, userPart(t.Outward(d)))
	}
	w.headers = append(w.headers, sip.ForwardedHeaders(number, diverted, host)...)
	for i := range edges { // the others, where this one refuses the connection
		w.hops = append(w.hops, sip.Hop{Network: "tcp", Addr: edges[(edge+i)%len(edges)]})
	}
	return w
}

// trunkFailed tells whether a trunk's SBC has refused for its own sake: the next
// trunk may do better. Silence and 503 may be the edge's or the way's.
func trunkFailed(code int) bool { return code >= 500 && code < 600 && code != 503 }

// trunkOf is the trunk over which a dialled leg's INVITE went, empty for others
// and once the leg was taken over.
func (a *actor) trunkOf(id acd.LegID) acd.TrunkID {
	if r, ok := a.rings[id]; ok && r.next > 0 {
		return r.ways[r.next-1].trunk
	}
	return ""
}

// allowedOn are the codecs taken on a leg, the preferred first: this router's, or
// those of them that its trunk allows.
func (a *actor) allowedOn(id acd.LegID) []string {
	codecs := a.n.codecs()
	a.n.view(func(m *acd.Machine) {
		l := legOf(m, a.call, id)
		if l.Trunk == "" {
			return
		}
		if t, _ := m.Trunk(l.Trunk); len(t.Codecs) > 0 {
			codecs = slices.DeleteFunc(slices.Clone(t.Codecs), func(c string) bool { return !slices.Contains(codecs, c) })
		}
	})
	return codecs
}

// allowedOnAll are those of the codecs that every trunk allows; if there is none,
// those of the first: the INVITE is the same for all.
func allowedOnAll(codecs []string, trunks []acd.Trunk) []string {
	allow := func(t acd.Trunk, codecs []string) []string {
		if len(t.Codecs) == 0 {
			return codecs
		}
		return slices.DeleteFunc(slices.Clone(codecs), func(c string) bool { return !slices.Contains(t.Codecs, c) })
	}
	for i := len(trunks); i > 0; i-- {
		out := codecs
		for _, t := range trunks[:i] {
			out = allow(t, out)
		}
		if len(out) > 0 {
			return out
		}
	}
	return codecs
}
