package acd

import (
	"strconv"
	"strings"
)

// dialRule is the first rule of the tree for a number outside, or nil.
func (m *Machine) dialRule(number string) *DialRule {
	for i := range m.config.Outbound.Rules {
		r := &m.config.Outbound.Rules[i]
		for _, prefix := range r.Numbers {
			if strings.HasPrefix(number, prefix) {
				return r
			}
		}
	}
	return nil
}

// refusesNumber is the SIP code with which a number is refused by rule; 0: it is not.
func (m *Machine) refusesNumber(number string) int {
	if r := m.dialRule(number); r != nil {
		return r.Refuse
	}
	return 0
}

// digitsFor are the keys to send once the number has answered, the card's values
// put in; what the card does not have, or what is no key there, is left out.
func (m *Machine) digitsFor(c *call, number string) string {
	r := m.dialRule(number)
	if r == nil || r.SendDigits == "" {
		return ""
	}
	parts := strings.Split(r.SendDigits, ",")
	for i, part := range parts {
		before, key, onCard := strings.Cut(part, "$")
		if !onCard {
			continue
		}
		value, _ := cardValue(c.Card, key)
		parts[i] = before + strings.Map(func(k rune) rune {
			if strings.ContainsRune(dialKeys, k) {
				return k
			}
			return -1
		}, value)
	}
	digits := strings.Join(parts, ",")
	return digits[:min(len(digits), maxSendDigits)]
}

// dialKeys are the keys of RFC 4733 section 3.2.
const dialKeys = "0123456789*#ABCD"

// maxSendDigits bounds the keys and pauses sent to one number: at 500 ms each it
// takes half a minute.
const maxSendDigits = 64

func (v *validator) dialRules(rules []DialRule, path string) {
	for i := range rules {
		r, at := &rules[i], path+"["+strconv.Itoa(i)+"]"
		if len(r.Numbers) == 0 {
			v.fault(at+".numbers", "has none")
		}
		for j, n := range r.Numbers {
			if n != "+" && !isE164(n) {
				v.fault(indexed(at+".numbers", j), "not the beginning of an E.164 number with +")
			}
		}
		if r.Refuse != 0 {
			v.within(r.Refuse, 400, 699, at+".refuse")
		}
		switch {
		case r.Refuse != 0 && r.SendDigits != "":
			v.fault(at+".send_digits", "nobody answers where the number is refused")
		case r.Refuse == 0 && r.SendDigits == "":
			v.fault(at, "says neither send_digits nor refuse")
		}
		if len(r.SendDigits) > maxSendDigits {
			v.fault(at+".send_digits", "is longer than %d", maxSendDigits)
		}
		for _, part := range strings.Split(r.SendDigits, ",") {
			keys, key, onCard := strings.Cut(part, "$")
			if strings.Trim(keys, dialKeys) != "" || onCard && key == "" {
				v.fault(at+".send_digits", "%q is no keys 0-9 * # A-D, nor $ and a key of the card", part)
			}
		}
	}
}
