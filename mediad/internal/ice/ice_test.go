package ice

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/stun/v3"

	"trunkline/mediad/internal/sdp"
)

var from = netip.MustParseAddrPort("192.0.2.7:4000")

func check(t testing.TB, username, pwd string, more ...stun.Setter) []byte {
	t.Helper()
	set := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(username)}, more...)
	m, err := stun.Build(append(set, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

func attribute(a stun.AttrType) stun.Setter {
	return stun.RawAttribute{Type: a, Value: make([]byte, 8)}
}

// The answer proves that we know the password, and says where the check came
// from.
func TestCheckIsAnswered(t *testing.T) {
	ours := New()
	request := check(t, ours.Ufrag+":peer", ours.Pwd, stun.RawAttribute{Type: stun.AttrUseCandidate})
	answer, nominated, err := Answer(request, from, ours, "peer")
	if err != nil || !nominated {
		t.Fatal(err, nominated)
	}
	m := &stun.Message{Raw: answer}
	var at stun.XORMappedAddress
	if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess || !bytes.Equal(m.TransactionID[:], request[8:20]) {
		t.Error(err, m)
	}
	if err := m.Check(stun.NewShortTermIntegrity(ours.Pwd), stun.Fingerprint); err != nil {
		t.Error(err)
	}
	if err := at.GetFrom(m); err != nil || at.String() != from.String() {
		t.Error(err, at)
	}
	if _, nominated, err := Answer(check(t, ours.Ufrag+":x", ours.Pwd), from, ours, ""); err != nil || nominated {
		t.Errorf("before the peer's name is known: %v", err)
	}
	answer, nominated, err = Answer(check(t, ours.Ufrag+":peer", ours.Pwd, attribute(stun.AttrICEControlled)), from, ours, "peer")
	if m = (&stun.Message{Raw: answer}); err != nil || nominated || m.Decode() != nil || m.Type != stun.BindingError {
		t.Errorf("a controlled peer: %v %v", err, m)
	}
}

// Whoever does not know the credentials gets no answer at all.
func TestStrangersGetNoAnswer(t *testing.T) {
	ours := New()
	f := func(what string, b []byte) {
		t.Helper()
		if answer, _, err := Answer(b, from, ours, "peer"); !errors.Is(err, ErrRefused) || answer != nil {
			t.Errorf("%s: %x, %v", what, answer, err)
		}
	}
	good := check(t, ours.Ufrag+":peer", ours.Pwd)
	f("password", check(t, ours.Ufrag+":peer", "another password altogether"))
	f("our name", check(t, "nobody:peer", ours.Pwd))
	f("the peer's name", check(t, ours.Ufrag+":other", ours.Pwd))
	f("no name", check(t, ours.Ufrag, ours.Pwd))
	f("one octet changed", append(append([]byte{}, good[:30]...), append([]byte{good[30] ^ 1}, good[31:]...)...))
	f("cut off", good[:len(good)-1])
	f("no integrity", func() []byte {
		m, _ := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ours.Ufrag+":peer"), stun.Fingerprint)
		return m.Raw
	}())
	f("an indication", func() []byte {
		m, _ := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.NewUsername(ours.Ufrag+":peer"),
			stun.NewShortTermIntegrity(ours.Pwd), stun.Fingerprint)
		return m.Raw
	}())
	f("large", check(t, ours.Ufrag+":peer", ours.Pwd, stun.RawAttribute{Type: stun.AttrSoftware, Value: []byte(strings.Repeat("x", 600))}))
	f("nothing", nil)
}

func TestCredentialsAreNewEachTime(t *testing.T) {
	a, b := New(), New()
	if a == b || len(a.Ufrag) < 4 || len(a.Pwd) < 22 {
		t.Errorf("%v %v", a, b)
	}
}

// FuzzAnswer: anybody may send anything to a leg's port.
func FuzzAnswer(f *testing.F) {
	ours := sdp.ICE{Ufrag: "abcd", Pwd: strings.Repeat("p", 22)}
	f.Add(check(f, "abcd:peer", ours.Pwd))
	f.Add(check(f, "abcd:peer", ours.Pwd, attribute(stun.AttrICEControlling), stun.RawAttribute{Type: stun.AttrUseCandidate}))
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42})
	f.Fuzz(func(t *testing.T, b []byte) {
		was := bytes.Clone(b)
		if answer, _, err := Answer(b, from, ours, "peer"); (err == nil) != (answer != nil) {
			t.Errorf("%x: %x, %v", b, answer, err)
		}
		if !bytes.Equal(was, b) {
			t.Errorf("%x was changed", was)
		}
	})
}
