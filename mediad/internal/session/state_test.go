package session

import (
	"net/netip"
	"reflect"
	"testing"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/internal/standby"
)

func TestMarksSurviveTheWire(t *testing.T) {
	k := srtp.NewKey(srtp.AEAD128GCM)
	l := newLeg(&call{}, "1")
	l.to.Set(netip.MustParseAddrPort("192.0.2.1:4000"))
	l.toRTCP.Set(netip.MustParseAddrPort("[2001:db8::1]:4001"))
	l.player = &player{clips: []clip{{"a", make([][]byte, 70)}, {"b", make([][]byte, 70)}}, clip: 1, frame: 7}
	l.rx, _ = srtp.NewReceiver(srtp.AEAD128GCM, k)
	l.tx, _ = srtp.NewSender(srtp.AEAD128GCM, k)
	want := []srtp.Mark{{SSRC: 7, Index: 1<<40 | 5}, {SSRC: 9, Index: 3, RTCP: true}}
	for _, m := range want {
		if err := l.rx.Restore(srtp.AEAD128GCM, k, m); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := l.appendMark([]byte{}, nil)
	b, _ = newLeg(&call{}, "2").appendMark(b, nil)
	m, rest, err := parseMark(b)
	if err != nil || m.to != l.to.Addr() || m.toRTCP != l.toRTCP.Addr() || m.pos != 77 || !reflect.DeepEqual(m.rx, want) || len(m.tx) != 0 {
		t.Errorf("%v %+v", err, m)
	}
	m, rest, err = parseMark(rest)
	if err != nil || len(rest) != 0 || m.pos != noPrompt || m.to.Port() != 0 {
		t.Errorf("%v %+v", err, m)
	}
}

func FuzzParseMark(f *testing.F) {
	b, _ := newLeg(&call{}, "1").appendMark(nil, nil)
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = decodeCall(standby.Call{Key: "c", Record: []byte(`{"id":"c","legs":[{"id":"1"}]}`), Mark: b})
	})
}
