package lab

import (
	"strings"
	"testing"
)

// tellLoad writes a loss into the topmost Via of a request that asks for it, so
// that its answers bear it.
func (m *message) tellLoad(loss string) {
	if loss == "" || !m.isRequest() {
		return
	}
	for i, h := range m.headers {
		if strings.EqualFold(h[0], "Via") {
			if asks, ok := strings.CutSuffix(h[1], ";oc"); ok {
				m.headers[i][1] = asks + ";oc=" + loss + ";oc-validity=500"
			}
			return
		}
	}
}

// load lets a router tell its load from now on; empty: nothing.
func (s *standin) load(loss string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loss = loss
}

// A router that refuses calls because it is overloaded is passed over for them and
// goes on being the one its open calls' requests are brought to.
func TestAnOverloadedRouterIsPassedOverAndNotTakenForDead(t *testing.T) {
	n := startEdges(t)
	n.routers[0].refuse("INVITE", "503 Overloaded", [2]string{"X-Trunkline-Overload", "yes"}, [2]string{"Retry-After", "3"})
	for i := range 12 {
		if _, _, ok, _ := n.invite(t, []string{SBCA, SBCB}[i%2]); strings.Contains(ok.get("Contact"), "n=r1") {
			t.Errorf("call %d was answered by the router that refuses", i)
		}
	}
	for _, edge := range []string{Edge1, Edge2} {
		active, err := n.Active(t.Context(), edge)
		if err != nil {
			t.Fatal(err)
		}
		if !active["r1"] {
			t.Errorf("%s takes the overloaded router for dead: %v", edge, active)
		}
	}
}

// A router tells its load to edges that ask, and they keep calls away; where all
// are loaded a call still comes through, for it may be one that is always served.
func TestEdgesKeepCallsFromLoadedRouters(t *testing.T) {
	n := startEdges(t)
	n.routers[0].load("100")
	heard := map[string]bool{} // edges that were told by r1
	for i := range 60 {
		_, _, _, g := n.invite(t, []string{SBCA, SBCB}[i%2])
		if g.router != "r1" {
			continue
		}
		edge := g.get("X-Trunkline-Edge")
		if heard[edge] {
			t.Errorf("%s brought a call to a router that had told it to bring none", edge)
		}
		heard[edge] = true
	}
	if len(heard) == 0 {
		t.Fatal("no call came to r1, so nothing is proved")
	}
	if text := n.metrics(t, Edge1) + n.metrics(t, Edge2); !strings.Contains(text, `edge_failovers_total{cause="overload"}`) {
		t.Error("no metric says that a router was passed over")
	}
	for _, r := range n.routers {
		r.load("100")
	}
	for i := range 8 {
		n.invite(t, []string{SBCA, SBCB}[i%2])
	}
}
