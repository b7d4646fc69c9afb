package node

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/routerd/acd"
)

// TestACardGoesToThePhoneAsHeaders: who and why by the field's own headers, the rest
// in one; nothing in it can end a line or a quoted text.
func TestACardGoesToThePhoneAsHeaders(t *testing.T) {
	f := func(card []acd.Attr, want ...string) {
		t.Helper()
		var got []string
		for _, h := range cardHeaders(card, "trunkline") {
			got = append(got, h.Name+": "+h.Value)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%v: %q, want %q", card, got, want)
		}
	}
	f(nil)
	f([]acd.Attr{{Key: "city", Value: "Пермь"}, {Key: "name", Value: `Ann "A" \ B`}, {Key: "transfer_reason", Value: "a\r\nVia: x"}, {Key: "transferred_by", Value: "ann>;x"}},
		"Subject: a  Via: x", "Referred-By: <sip:annx@trunkline>", `X-Card: city="Пермь"; name="Ann \"A\" \\ B"`)
	f([]acd.Attr{{Key: "a b\"", Value: "\xff"}, {Key: "big", Value: strings.Repeat("x", 600)}, {Key: "transfer_reason", Value: " "}}, `X-Card: ab="?"`)
}

func TestKeysOfARuleInOrder(t *testing.T) {
	f := func(keys string, want string) {
		t.Helper()
		got := ""
		for n := uint64(1); ; n++ {
			key, pause, ok := ruleKey(keys, n)
			if !ok {
				break
			}
			got += fmt.Sprintf("%c@%v ", key, pause)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", keys, got, want)
		}
	}
	f("12#", "1@0s 2@0s #@0s ")
	f(",1,,2,", "1@500ms 2@1s ")
	f("", "")
	f(",,", "")
}
