package acd

import "fmt"

// MaxVersion is the highest version of behaviour this build knows. A change of
// what a command does to a state is a new version: the code asks
// [Machine.Version] and goes on doing the old thing until the new version is
// activated, so that the routers of a cluster can be replaced one by one and a
// log of an earlier version replays to the state it had.
const MaxVersion uint32 = 1

// UnknownVersion is a version of behaviour that is above MaxVersion. Apply
// panics with it when such a version is activated, and Restore returns it: who
// went on would diverge.
type UnknownVersion uint32

func (v UnknownVersion) Error() string {
	return fmt.Sprintf("behaviour version %d is active and this build knows up to %d: run a routerd that knows behaviour version %d",
		uint32(v), MaxVersion, uint32(v))
}

// Version is the version of behaviour in force.
func (m *Machine) Version() uint32 { return m.version }

// activated raises the version of behaviour. A router that lives and does not
// know it would stop: then nothing changes, on that router as on the others.
func (m *Machine) activated(b Activated) Result {
	if b.Version <= m.version {
		return m.noop(ReasonUnchanged)
	}
	for _, n := range m.nodes {
		if n.Alive && n.Version < b.Version {
			return m.noop(ReasonOldVersion)
		}
	}
	if b.Version > MaxVersion {
		panic(UnknownVersion(b.Version))
	}
	m.fact(Fact{Kind: FactVersionActivated}).uint("version", uint64(b.Version)).uint("was", uint64(m.version))
	m.version = b.Version
	return Result{Applied: true}
}
