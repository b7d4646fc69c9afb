package demo

import (
	"testing"

	"trunkline/loadtest/endpoint"
)

func TestTheOrdersCoverEveryCombinationThroughBothSBCs(t *testing.T) {
	type key struct {
		sbc   string
		codec endpoint.Codec
		suite endpoint.Suite
	}
	seen, bySBC := map[key]bool{}, map[string]int{}
	for i, o := range orders() {
		seen[key{o.sbc, o.codec, o.suite}] = true
		bySBC[o.sbc]++
		if o.sbc != sbcs[i%2] {
			t.Errorf("call %d goes through %s: the SBCs do not alternate", i+1, o.sbc)
		}
	}
	if len(orders()) != 10 || bySBC[sbcs[0]] != 5 {
		t.Errorf("%d calls, %v", len(orders()), bySBC)
	}
	if len(seen) != 8 {
		t.Errorf("%d of 8 combinations of SBC, codec and suite: %v", len(seen), seen)
	}
}

func TestNoTwoPartiesShareATone(t *testing.T) {
	seen := map[int]bool{}
	for _, f := range allTones() {
		if seen[f] || f%50 != 0 || f <= 0 || f >= 3400 {
			t.Errorf("tone of %d Hz is taken, not a multiple of 50, or outside telephone band", f)
		}
		seen[f] = true
	}
	if len(seen) != len(orders())+len(desks)+1 {
		t.Errorf("%d tones for %d parties", len(seen), len(orders())+len(desks)+1)
	}
}

func TestTheRoutingIsValid(t *testing.T) {
	c := routing()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.Agents) != len(desks)+1 {
		t.Errorf("%d agents for %d desks and a softphone", len(c.Agents), len(desks))
	}
	for _, a := range c.Agents {
		if (string(a.ID) == softphoneUser) != (a.HA1SHA256 == "") {
			t.Errorf("%s: only the softphone's account may lack SHA-256", a.ID)
		}
	}
}
