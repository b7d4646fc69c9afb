package acd

import (
	"slices"
	"strings"
)

// permits tells whether the target is among what is permitted.
func (p *Permit) permits(to Target) bool {
	switch {
	case to.Agent != "":
		return p.Agents
	case to.Queue != "":
		return slices.Contains(p.Queues, to.Queue)
	case to.Chain != "":
		return slices.Contains(p.Chains, to.Chain)
	}
	return slices.ContainsFunc(p.Numbers, func(prefix string) bool { return strings.HasPrefix(to.Number, prefix) })
}

func (p *Permit) empty() bool {
	return !p.Agents && len(p.Queues)+len(p.Chains)+len(p.Numbers) == 0
}

// digest adds nothing for an empty one: trees from before there were permits keep
// their hash.
func (p *Permit) digest(d *digest, of string) {
	if p.empty() {
		return
	}
	d.text(of)
	d.flag(p.Agents)
	d.list(len(p.Queues), func(i int) { d.text(string(p.Queues[i])) })
	d.list(len(p.Chains), func(i int) { d.text(string(p.Chains[i])) })
	d.texts(p.Numbers)
}

func (v *validator) permit(p *Permit, path string) {
	for i, q := range p.Queues {
		refer(v, v.queues, "queue", q, indexed(path+".queues", i))
	}
	for i, c := range p.Chains {
		refer(v, v.chains, "chain", c, indexed(path+".chains", i))
	}
	for i, n := range p.Numbers {
		if n != "+" && !isE164(n) {
			v.fault(indexed(path+".numbers", i), "not the beginning of an E.164 number with +")
		}
	}
	if len(p.Numbers) > 0 && len(v.c.Outbound.Trunks) == 0 {
		v.fault(path+".numbers", "outbound.trunks is empty: nothing can be called")
	}
}

func indexed(path string, i int) string { return path + "[" + itoa(i) + "]" }
