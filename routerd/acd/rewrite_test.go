package acd

import (
	"strings"
	"testing"
)

func TestNumbersAreRewrittenByTheFirstRuleThatMatches(t *testing.T) {
	rules := []NumberRule{
		{Match: "8800XXXXXXX"},
		{Match: "8XXXXXXXXXX", Strip: 1, Prepend: "+7"},
		{Match: "00*", Strip: 2, Prepend: "+"},
		{Match: "+*"},
		{Match: "112", Prepend: "+"},
	}
	f := func(number, want string) {
		t.Helper()
		if got := rewrite(rules, number); got != want {
			t.Errorf("%s becomes %s, want %s", number, got, want)
		}
	}
	f("84951234567", "+74951234567")
	f("88001234567", "88001234567") // an earlier rule leaves it as it is
	f("8495123456", "8495123456")   // one digit short
	f("8495123456x", "8495123456x")
	f("004930123", "+4930123")
	f("00", "+")
	f("00a", "00a")
	f("+74951234567", "+74951234567")
	f("112", "+112")
	f("1123", "1123")
	f("", "")
	f("anonymous", "anonymous")
}

func TestFaultsOfTrunks(t *testing.T) {
	f := func(tr Trunk, want string) {
		t.Helper()
		tr.ID = "a"
		err := Config{Trunks: []Trunk{tr}}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", tr, err, want)
		}
	}
	rules := func(r ...NumberRule) Trunk { return Trunk{NumbersIn: r} }
	f(Trunk{Rate: 20, Burst: 5, Weight: 3, Priority: 1, Codecs: []string{"PCMA", "opus"}}, "")
	f(rules(NumberRule{Match: "+7X*", Strip: 3, Prepend: "+8"}), "")
	f(Trunk{Channels: -1}, "trunks[0].channels: is negative")
	f(Trunk{Rate: -1}, "trunks[0].calls_per_second: is negative")
	f(Trunk{Rate: 10_001}, "trunks[0].calls_per_second: is not between 0 and 10000")
	f(Trunk{Burst: 1}, "trunks[0].burst: is for a trunk with calls_per_second")
	f(Trunk{Weight: 1001}, "trunks[0].weight")
	f(Trunk{Priority: 100}, "trunks[0].priority")
	f(Trunk{Codecs: []string{"G729"}}, `trunks[0].codecs[0]: "G729" is none of opus, PCMA, PCMU`)
	f(Trunk{Codecs: []string{"PCMA", "PCMA"}}, "codec given twice")
	f(rules(NumberRule{}), "trunks[0].numbers_in[0].match: is empty")
	f(rules(NumberRule{Match: "8*1"}), "trunks[0].numbers_in[0].match")
	f(rules(NumberRule{Match: "8+1"}), "trunks[0].numbers_in[0].match")
	f(rules(NumberRule{Match: "8*", Strip: 2}), "trunks[0].numbers_in[0].strip: is not between 0 and 1")
	f(rules(NumberRule{Match: "8*", Strip: -1}), "trunks[0].numbers_in[0].strip")
	f(rules(NumberRule{Match: "8*", Prepend: "7+"}), "trunks[0].numbers_in[0].prepend")
	f(rules(NumberRule{Match: "8*"}, NumberRule{Match: "8*"}), "match given twice")
	f(rules(make([]NumberRule, 65)...), "trunks[0].numbers_in: has more than 64 rules")
	f(Trunk{NumbersOut: []NumberRule{{Match: "x"}}}, "trunks[0].numbers_out[0].match")
}
