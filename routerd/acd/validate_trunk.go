package acd

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of what a configuration may say of a trunk.
const (
	maxRate        = 10_000 // calls a second
	maxTrunkWeight = 1000
	maxTrunkRank   = 99
)

// trunkCodecs are the words of Trunk.Codecs.
var trunkCodecs = []string{"opus", "PCMA", "PCMU"}

func (v *validator) trunk(t *Trunk, path string) {
	if t.Channels < 0 {
		v.fault(path+".channels", "is negative")
	}
	v.within(t.Rate, 0, maxRate, path+".calls_per_second")
	v.within(t.Burst, 0, maxRate, path+".burst")
	if t.Burst > 0 && t.Rate == 0 {
		v.fault(path+".burst", "is for a trunk with calls_per_second")
	}
	v.within(t.Priority, 0, maxTrunkRank, path+".priority")
	v.within(t.Weight, 0, maxTrunkWeight, path+".weight")
	for i, c := range t.Codecs {
		at := fmt.Sprintf("%s.codecs[%d]", path, i)
		if !slices.Contains(trunkCodecs, c) {
			v.fault(at, "%q is none of %s", c, strings.Join(trunkCodecs, ", "))
		}
		if slices.Contains(t.Codecs[:i], c) {
			v.fault(at, "codec given twice")
		}
	}
	v.linkLimits(&t.Quality, path+".quality")
	v.numberRules(t.NumbersIn, path+".numbers_in")
	v.numberRules(t.NumbersOut, path+".numbers_out")
}

func (v *validator) numberRules(rules []NumberRule, path string) {
	if len(rules) > maxNumberRules {
		v.fault(path, "has more than %d rules", maxNumberRules)
	}
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", path, i)
		fixed := strings.TrimSuffix(r.Match, "*")
		plain := strings.TrimPrefix(fixed, "+")
		switch {
		case r.Match == "":
			v.fault(at+".match", "is empty")
		case len(r.Match) > maxNumber:
			v.fault(at+".match", "is longer than %d characters", maxNumber)
		case strings.Trim(plain, "0123456789X") != "":
			v.fault(at+".match", "%q is not of digits and X, with + before and * behind them", r.Match)
		}
		if r.Strip < 0 || r.Strip > len(fixed) {
			v.fault(at+".strip", "is not between 0 and %d, what match is sure of", len(fixed))
		}
		if p := strings.TrimPrefix(r.Prepend, "+"); strings.Trim(p, "0123456789") != "" || len(p) > maxNumber {
			v.fault(at+".prepend", "%q is not of digits, with + before them", r.Prepend)
		}
		if slices.ContainsFunc(rules[:i], func(o NumberRule) bool { return o.Match == r.Match }) {
			v.fault(at+".match", "match given twice")
		}
	}
}
