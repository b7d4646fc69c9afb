package acd

import (
	"errors"
	"testing"
)

// TestUnknownVersionStopsTheMachine: a build that does not know the version that
// is activated says which one is needed, and so does one that is given a state of
// it. One that does know it behaves so from there on.
func TestUnknownVersionStopsTheMachine(t *testing.T) {
	m := New()
	m.Apply(1, Command{Body: NodeStarted{Node: "r1", Version: MaxVersion + 1}})
	func() {
		defer func() {
			if v, ok := recover().(UnknownVersion); !ok || uint32(v) != MaxVersion+1 {
				t.Errorf("panic with %v", v)
			}
		}()
		m.Apply(2, Command{Body: Activated{Version: MaxVersion + 1}})
	}()
	s := m.Snapshot()
	s.Version = MaxVersion + 1
	var unknown UnknownVersion
	if _, err := Restore(s); !errors.As(err, &unknown) {
		t.Errorf("restored: %v", err)
	}

	m = New()
	m.version = MaxVersion - 1 // as an earlier build began
	m.Apply(1, Command{Body: NodeStarted{Node: "r1", Version: MaxVersion}})
	if r, _ := m.Apply(2, Command{Body: Activated{Version: MaxVersion}}); !r.Applied || m.Version() != MaxVersion {
		t.Errorf("%+v, version %d", r, m.Version())
	}
	if s := m.Snapshot(); s.Version != MaxVersion {
		t.Errorf("the snapshot has version %d", s.Version)
	}
}

// TestOldRouterBeginsNoLife: a router that does not know the version in force
// must not act, and is told so.
func TestOldRouterBeginsNoLife(t *testing.T) {
	m := New()
	m.version = 3
	if r, _ := m.Apply(1, Command{Body: NodeStarted{Node: "r1", Version: 2}}); r.Applied || r.Reason != ReasonOldVersion || len(m.Nodes()) != 0 {
		t.Errorf("%+v %+v", r, m.Nodes())
	}
	if r, _ := m.Apply(2, Command{Body: NodeStarted{Node: "r1", Version: 3}}); !r.Applied {
		t.Errorf("%+v", r)
	}
}

// TestConfigsAreBounded: by number and by size, the newest always being there.
func TestConfigsAreBounded(t *testing.T) {
	m := New()
	apply := func(size int) {
		t.Helper()
		r, _ := m.Apply(m.index+1, Command{Body: ConfigApplied{Source: make([]byte, size)}})
		if !r.Applied || r.Version != m.configVersion() {
			t.Fatalf("%+v", r)
		}
	}
	f := func(n int, first uint64) {
		t.Helper()
		if list := m.Configs(); len(list) != n || list[0].Version != first {
			t.Errorf("%d versions from %d on, want %d from %d on", len(list), list[0].Version, n, first)
		}
	}
	for range maxConfigs + 5 {
		apply(10)
	}
	f(maxConfigs, 6)
	apply(maxConfigBytes / 2)
	f(maxConfigs, 7)
	apply(maxConfigBytes / 2)
	f(2, 26)
	apply(2 * maxConfigBytes)
	f(1, 28)
	apply(10)
	f(1, 29)
}
