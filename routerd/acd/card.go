package acd

import (
	"cmp"
	"slices"
)

// Bounds of a call's card.
const (
	maxCard     = 32  // keys
	maxCardText = 256 // bytes of a key or a value
)

// Keys that a call which was diverted brings along.
const (
	cardDiverting = "diverting_number"
	cardDiversion = "diversion_reason"
)

// divertedCard notes on a call's card from where it was diverted to us.
func divertedCard(card []Attr, b CallArrived) []Attr {
	changes := []Attr{{cardDiverting, b.Diverting}, {cardDiversion, b.Diversion}}
	if b.Diverting == "" || len(card) > maxCard-len(changes) || badCard(changes) != "" {
		return card
	}
	return withCard(card, changes)
}

func byKey(a Attr, key string) int { return cmp.Compare(a.Key, key) }

func cardValue(card []Attr, key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(card, key, byKey)
	if !ok {
		return "", false
	}
	return card[i].Value, true
}

// withCard returns the card with the changes; the old one is shared with orders
// and snapshots and stays as it is.
func withCard(card, changes []Attr) []Attr {
	if len(changes) == 0 {
		return card
	}
	out := append(make([]Attr, 0, len(card)+len(changes)), card...)
	for _, a := range changes {
		i, known := slices.BinarySearchFunc(out, a.Key, byKey)
		switch {
		case known && a.Value == "":
			out = slices.Delete(out, i, i+1)
		case known:
			out[i].Value = a.Value
		case a.Value != "":
			out = slices.Insert(out, i, a)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// badCard tells what is wrong with what is to be put on a card, or "".
func badCard(changes []Attr) string {
	for _, a := range changes {
		if a.Key == "" {
			return ReasonBadCard
		}
		if len(a.Key) > maxCardText || len(a.Value) > maxCardText {
			return ReasonCardTooBig
		}
	}
	return ""
}

// callTagged: the card is for the rules, when the call is routed, and for the
// agent's screen, when a phone is next rung.
func (m *Machine) callTagged(c *call, b CallTagged) Result {
	if c.State == CallEnding {
		return m.noop(ReasonUnexpected)
	}
	if reason := badCard(b.Card); reason != "" {
		return m.noop(reason)
	}
	card := withCard(c.Card, b.Card)
	if len(card) > maxCard {
		return m.noop(ReasonCardTooBig)
	}
	if slices.Equal(card, c.Card) {
		return m.noop(ReasonUnchanged)
	}
	c.Card = card
	w := m.fact(Fact{Kind: FactCallTagged, Call: c.ID})
	for _, a := range b.Card {
		w.text(a.Key, a.Value)
	}
	return Result{Applied: true}
}

// cardOf is the card of a call that arrives: what the number puts there and what
// is known of its caller, by the tasks and callbacks for that number (N11). What
// the number says goes before, and a card that is full takes no more.
func (m *Machine) cardOf(n *Number, from string) []Attr {
	card := withCard(nil, n.Card)
	cu := m.customers[from]
	if cu == nil {
		return card
	}
	add := func(known []Attr) {
		for _, a := range known {
			if _, said := cardValue(card, a.Key); !said && len(card) < maxCard {
				card = withCard(card, []Attr{a})
			}
		}
	}
	for _, id := range cu.calls {
		add(m.calls[id].Card)
	}
	for _, id := range cu.tasks {
		add(m.tasks[id].Card)
	}
	return card
}
