package acdwire

import (
	"bytes"
	"errors"
	"testing"

	"trunkline/routerd/acd"
)

// busy is a machine with a call, an agent, a worker and some history.
func busy(t testing.TB) *acd.Machine {
	t.Helper()
	m := acd.New()
	contact := acd.Contact{URI: "sip:ann@x", SIPID: "r", CSeq: 1}
	cfg := older[1][0].(acd.ConfigApplied).Config
	cfg.Agents[0].HA1SHA256, cfg.Agents[0].HA1MD5 = "", ""
	for i, body := range []acd.Body{
		acd.ConfigApplied{Config: cfg},
		acd.NodeStarted{Node: "r1"},
		samples[4],
		acd.RegistrationChanged{Agent: "ann", Contact: contact, Expires: 1e12},
		acd.CallArrived{OnCall: acd.OnCall{Call: "c1"}, Owner: acd.Owner{Node: "r1", Incarnation: 2}, Trunk: "sbc-a", From: "\xff", To: "+100"},
	} {
		if r, _ := m.Apply(uint64(i+1), acd.Command{Stamp: acd.Time(1e18), Session: "s", Seq: uint64(i), Body: body}); !r.Applied {
			t.Fatalf("%T: %s", body, r.Reason)
		}
	}
	return m
}

func encoded(t testing.TB, m *acd.Machine) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := EncodeState(&buf, m.Snapshot()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestSnapshotRestoresTheSameMachine: same hash, same facts, same bytes again.
func TestSnapshotRestoresTheSameMachine(t *testing.T) {
	m := busy(t)
	data := encoded(t, m)
	s, err := DecodeState(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	again, err := acd.Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() != m.Hash() {
		t.Error("another hash")
	}
	if !bytes.Equal(encoded(t, again), data) {
		t.Error("another snapshot")
	}
	if got, want := len(again.FactsAfter(0, 0)), len(m.FactsAfter(0, 0)); got != want || want == 0 {
		t.Errorf("%d facts, want %d", got, want)
	}
}

// TestDamagedSnapshotIsRefused: no cut and no flipped bit goes unnoticed, and
// none makes the decoder panic. Facts are covered by their count only.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	m := busy(t)
	data := encoded(t, m)
	for n := range data {
		if _, err := DecodeState(bytes.NewReader(data[:n])); !errors.Is(err, ErrMalformed) {
			t.Fatalf("first %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := DecodeState(bytes.NewReader(append(bytes.Clone(data), 0))); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte behind the end: %v", err)
	}
	facts := bytes.Index(data, []byte(acd.FactConfigApplied))
	for i := range data[:facts-32] {
		bad := bytes.Clone(data)
		bad[i] ^= 0x04
		s, err := DecodeState(bytes.NewReader(bad))
		if err == nil {
			_, err = acd.Restore(s)
		}
		if err == nil {
			t.Errorf("flipped bit in byte %d of %d (%q) went unnoticed", i, len(data), data[max(0, i-8):i+8])
		}
	}
}
