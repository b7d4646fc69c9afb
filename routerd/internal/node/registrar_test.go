package node

import (
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// What a REGISTER comes to: its bindings, or the refusal that fits the machine's
// reason.
func TestARegisterIsTakenWholeOrRefused(t *testing.T) {
	b := newBench(t)
	conf, _ := b.log.machine.Config()
	conf.Agents = []acd.Agent{{ID: "ann"}}
	b.apply(acd.ConfigApplied{Config: conf})
	b.n.auth = b.n.authenticator([]byte("secret"))
	f := func(what string, code int, contacts string, reg sip.Registration, nonce string, count uint32) {
		t.Helper()
		reg.User = "ann"
		got, ref := b.n.bind(reg, sip.Proof{User: "ann", Nonce: nonce, Count: count})
		if code != 0 {
			if ref == nil || ref.Code != code {
				t.Errorf("%s: %v, want %d", what, ref, code)
			} else if code == 401 && !strings.Contains(ref.Headers[0].Value, "stale=true") {
				t.Errorf("%s: the phone would ask for the password: %v", what, ref)
			}
			return
		}
		var uris []string
		for _, c := range got {
			uris = append(uris, c.URI)
		}
		if ref != nil || strings.Join(uris, " ") != contacts {
			t.Errorf("%s: %q %v, want %q", what, uris, ref, contacts)
		}
	}
	reg := func(cseq uint32, uris ...string) sip.Registration {
		r := sip.Registration{CallID: "reg", CSeq: cseq}
		for _, u := range uris {
			r.Contacts = append(r.Contacts, sip.Binding{URI: u, Expires: time.Minute})
		}
		return r
	}
	f("two contacts", 0, "sip:b sip:a", reg(1, "sip:a", "sip:b"), "n", 1)
	f("the same again", 0, "sip:b sip:a", reg(1, "sip:a", "sip:b"), "n", 1)
	f("a question", 0, "sip:b sip:a", reg(2), "n", 2)
	f("a question with a used digest", 401, "", reg(3), "n", 1)
	thief := reg(9, "sip:thief")
	thief.CallID = "stolen"
	f("a stolen digest", 401, "", thief, "n", 1)
	f("an old one", 500, "", reg(1, "sip:c", "sip:a"), "n", 3)
	f("too many", 400, "", reg(4, strings.Split(strings.Repeat("sip:x ", 11), " ")...), "n", 4)
	f("without any", 0, "", sip.Registration{CallID: "reg", CSeq: 5, RemoveAll: true}, "n", 5)
}
