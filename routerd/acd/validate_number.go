package acd

import (
	"fmt"
	"slices"
	"strings"
)

func (v *validator) number(n *Number, path string) {
	decided := slices.ContainsFunc(n.Rules, func(r Rule) bool {
		return (r.Queue != "" || r.Chain != "") && r.When.always()
	})
	switch {
	case n.Queue != "" && n.Chain != "":
		v.fault(path+".chain", "queue and chain are both given")
	case n.Queue == "" && n.Chain == "" && !decided:
		v.fault(path+".queue", "neither queue nor chain is given, nor a rule without a condition that does")
	}
	refer(v, v.queues, "queue", n.Queue, path+".queue")
	refer(v, v.chains, "chain", n.Chain, path+".chain")
	v.within(n.Priority, -maxPriority, maxPriority, path+".priority")
	v.needs(n.Needs, path+".needs")
	if len(n.Card) > maxCard {
		v.fault(path+".card", "has more than %d keys", maxCard)
	}
	for i, a := range n.Card {
		at := fmt.Sprintf("%s.card[%d]", path, i)
		if a.Key == "" {
			v.fault(at+".key", "is empty")
		}
		if len(a.Key) > maxCardText || len(a.Value) > maxCardText {
			v.fault(at, "is longer than %d bytes", maxCardText)
		}
		if slices.ContainsFunc(n.Card[:i], func(o Attr) bool { return o.Key == a.Key }) {
			v.fault(at+".key", "key given twice")
		}
	}
	for i := range n.Rules {
		v.rule(&n.Rules[i], fmt.Sprintf("%s.rules[%d]", path, i))
	}
}

func (v *validator) rule(r *Rule, path string) {
	v.when(&r.When, path+".when")
	routes := r.Queue != "" || r.Chain != "" || r.Priority != 0 || len(r.Needs) > 0
	switch {
	case r.Refuse != 0 && (routes || r.Greeting != ""):
		v.fault(path+".refuse", "a call that is refused is neither greeted nor routed")
	case r.Refuse != 0 && r.When.Card != "":
		v.fault(path+".when.card", "a call is refused before its card is known")
	case r.Refuse == 0 && !routes && r.Greeting == "":
		v.fault(path, "says nothing")
	}
	v.code(r.Refuse, path+".refuse")
	if r.Queue != "" && r.Chain != "" {
		v.fault(path+".chain", "queue and chain are both given")
	}
	refer(v, v.queues, "queue", r.Queue, path+".queue")
	refer(v, v.chains, "chain", r.Chain, path+".chain")
	v.within(r.Priority, -maxPriority, maxPriority, path+".priority")
	v.needs(r.Needs, path+".needs")
}

func (v *validator) when(w *When, path string) {
	v.during(w.Open, w.Closed, path)
	for i, prefix := range w.Callers {
		if rest := strings.TrimPrefix(prefix, "+"); rest == "" || strings.Trim(rest, "0123456789") != "" {
			v.fault(fmt.Sprintf("%s.callers[%d]", path, i), "%q is not the beginning of a number", prefix)
		}
	}
	v.deny(len(w.Values) > 0 && w.Card == "", path+".values", "no key of the card is given")
	refer(v, v.queues, "queue", w.Queue, path+".queue")
	v.within(w.Calls, 0, 1<<20, path+".calls")
	v.day(w.EWT, path+".ewt")
	limits := w.Calls != 0 || w.EWT != 0
	v.deny(limits && w.Queue == "", path+".queue", "is empty: of which queue?")
	v.deny(!limits && w.Queue != "", path+".queue", "neither calls nor ewt of it is given")
}

// always tells that nothing is asked.
func (w *When) always() bool {
	return w.Open == "" && w.Closed == "" && len(w.Callers) == 0 && w.Card == "" && w.Queue == ""
}
