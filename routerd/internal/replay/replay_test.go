package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/archive"
	"trunkline/raftstore/raftstoretest"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// router applies the log to a machine and notes each state's hash.
type router struct {
	t      *testing.T
	m      *acd.Machine
	hashes map[uint64][32]byte
	stamps map[uint64]int64
}

func (r *router) Apply(index uint64, stamp int64, data []byte) []byte {
	cmd, err := acdwire.DecodeCommand(data)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	cmd.Stamp = acd.Time(stamp)
	r.m.Apply(index, cmd)
	r.hashes[index], r.stamps[index] = r.m.Hash(), stamp
	return nil
}

func (r *router) Snapshot() (func(io.Writer) error, error) {
	s := r.m.Snapshot()
	return func(w io.Writer) error { s.Sort(); return acdwire.EncodeState(w, s) }, nil
}

func (r *router) Restore(io.Reader) error { return errors.New("nothing to restore here") }

// site is one router with an archive and what was backed up half way.
type site struct {
	*testing.T
	*router
	files   Files
	indexes []uint64 // of all entries
	half    uint64   // of the backup
}

func newSite(t *testing.T) *site {
	t.Helper()
	r := &router{t: t, m: acd.New(), hashes: map[uint64][32]byte{}, stamps: map[uint64]int64{}}
	c := raftstoretest.New(t, 1, func(string) raftstore.StateMachine { return r })
	node := c.Nodes[0]
	node.Config.Archive = &archive.Options{Reserve: 1}
	c.StartAll()
	s := &site{T: t, router: r, files: Files{Backup: filepath.Join(t.TempDir(), "backup"), Archive: raftstore.ArchiveDir(node.Dir)}}
	propose := func(body acd.Body) {
		t.Helper()
		data, err := acdwire.EncodeCommand(acd.Command{Session: "s", Seq: uint64(len(s.indexes) + 1), Floor: uint64(len(s.indexes) + 1), Body: body})
		if err != nil {
			t.Fatal(err)
		}
		_, index, err := node.Store.Propose(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		s.indexes = append(s.indexes, index)
	}
	propose(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a"}}, Numbers: []acd.Number{{Number: "+100", Queue: "sales"}}, Queues: []acd.Queue{{ID: "sales"}},
		Agents: []acd.Agent{{ID: "ann", Queues: []acd.QueueID{"sales"}}, {ID: "bob", Queues: []acd.QueueID{"sales"}}},
	}, By: "ops", Comment: "first"})
	propose(acd.NodeStarted{Node: "r1"})
	owner := acd.Owner{Node: "r1", Incarnation: s.indexes[1]}
	propose(acd.WorkerStarted{Worker: "m1", Incarnation: 1, Addresses: []string{"m1.1"}})
	for i := range 20 {
		call := acd.CallID(fmt.Sprint("c", i))
		propose(acd.CallArrived{OnCall: acd.OnCall{Call: call}, Owner: owner, Trunk: "sbc-a", From: "+79991234567", To: "+100"})
		epoch := s.indexes[len(s.indexes)-1]
		propose(acd.LegAnswered{OnCall: acd.OnCall{Call: call, Epoch: epoch}, Leg: acd.CallerLeg, Media: acd.Media{Address: "m1.1"}})
		switch i {
		case 9:
			f, err := os.Create(s.files.Backup)
			if err != nil {
				t.Fatal(err)
			}
			info, err := node.Store.Backup(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			s.half = info.Index
		case 15:
			propose(acd.AgentStatusSet{Agent: "ann", Status: acd.OnBreak, Reason: "lunch"})
		}
	}
	if err := node.Store.SyncArchive(); err != nil {
		t.Fatal(err)
	}
	c.Kill(node)
	return s
}

func (s *site) rebuilt(f Files, to Target, want uint64) *Moment {
	s.Helper()
	m, err := f.At(to)
	if err != nil {
		s.Errorf("%s: %v", to, err)
		return nil
	}
	if m.Machine.Index() != want || m.Machine.Hash() != s.hashes[want] {
		s.Errorf("%s: rebuilt index %d, want %d with the router's hash", to, m.Machine.Index(), want)
	}
	return m
}

// Whatever it is built from, a moment is what the router's was: same hash.
func TestAMomentIsRebuiltAsItWas(t *testing.T) {
	s := newSite(t)
	both, onlyArchive, onlyBackup := s.files, Files{Archive: s.files.Archive}, Files{Backup: s.files.Backup}
	for _, index := range s.indexes {
		s.rebuilt(onlyArchive, Target{Index: index}, index)
		m := s.rebuilt(both, Target{Index: index}, index)
		if fromBackup := m != nil && m.Base == s.half; fromBackup != (index >= s.half) {
			t.Errorf("index %d was built from %d, the backup is of %d", index, m.Base, s.half)
		}
		at := time.Unix(0, s.stamps[index])
		s.rebuilt(both, Target{Time: at}, index)
		s.rebuilt(onlyArchive, Target{Time: at.Add(time.Nanosecond)}, index)
	}
	s.rebuilt(onlyBackup, Target{Index: s.half}, s.half)
	s.rebuilt(onlyBackup, Target{Time: time.Now()}, s.half)

	f := func(want string, files Files, to Target) {
		t.Helper()
		if _, err := files.At(to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
	f("an archive is needed", onlyBackup, Target{Index: s.half + 1})
	f("is of index", onlyBackup, Target{Index: s.half - 1})
	f("ends here", both, Target{Index: s.indexes[len(s.indexes)-1] + 1})
	f("neither a backup nor a snapshot is that old", onlyArchive, Target{Time: time.Unix(0, 1)})
}

// Two moments differ in what happened between them and in nothing else.
func TestDiffOfTwoMoments(t *testing.T) {
	s := newSite(t)
	i := slices.Index(s.indexes, s.half)
	view := func(index uint64) *View {
		m := s.rebuilt(s.files, Target{Index: index}, index)
		if m == nil {
			t.FailNow()
		}
		return m.View()
	}
	if same, err := Diff(view(s.half), view(s.half)); err != nil || len(same) != 0 {
		t.Errorf("a moment differs from itself: %v, %v", same, err)
	}
	list, err := Diff(view(s.indexes[i]), view(s.indexes[i+2]))
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, d := range list {
		text = append(text, d.String())
	}
	all := strings.Join(text, "\n")
	for _, want := range []string{"+ calls[c10]: ", "queue sales", "~ queues[sales].waiting: 10 → 11", "~ index: "} {
		if !strings.Contains(all, want) {
			t.Errorf("want %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "calls[c10].") || strings.Contains(all, "ann") || strings.Contains(all, "+79991234567") {
		t.Errorf("too much is told:\n%s", all)
	}
	list, err = Diff(view(s.indexes[0]), view(s.indexes[len(s.indexes)-1]))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(list, Difference{"agents[ann].reason", "", "lunch"}) {
		t.Errorf("ann's break is not told: %v", list)
	}
}

func TestADamagedBackupIsNotUsed(t *testing.T) {
	s := newSite(t)
	raw, err := os.ReadFile(s.files.Backup)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(s.files.Backup, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.files.At(Target{Index: s.half}); err == nil || !strings.Contains(err.Error(), s.files.Backup) {
		t.Errorf("got %v", err)
	}
}
