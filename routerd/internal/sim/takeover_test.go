package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
	"trunkline/routerd/internal/sip"
)

// strike is what happens to the owner of the call at a point.
type strike uint8

const (
	spare strike = iota // only count
	kill                // SIGKILL, another life six seconds later
	stop                // SIGSTOP, SIGCONT five seconds later
)

func (k strike) String() string { return [...]string{"spared", "killed", "stopped"}[k] }

const (
	restartAfter  = 6 * time.Second
	continueAfter = 5 * time.Second
)

// played is what one run of a reference call came to.
type played struct {
	points  []string // that were passed, named
	steps   []string
	heard   []string
	digits  string
	cdrs    []string
	moved   int
	faults  []string
	failure *Failure
}

// play runs a reference call and strikes its owner at a point, counted from 1.
func play(ref reference, leads bool, k strike, at int) (p played) {
	s := newScene(ref, leads)
	s.atPoint = func(a *actor, point string) {
		p.points = append(p.points, fmt.Sprintf("%s of %s at %v", point, a.n.name, s.now))
		if point == "sent" {
			s.speaks(a)
		}
		if len(p.points) == at {
			s.strike(a.n, k, point == "sent")
			a.t.sleep(1)
		}
	}
	s.run(ref, &p)
	return p
}

// strike kills or stops a router. What it wrote before it was killed arrives if
// written says so, and else is lost with its connections.
func (s *scene) strike(r *router, k strike, written bool) {
	s.struck = r
	switch {
	case k == stop:
		s.note(r.name, "pauses", "", "", 0)
		r.pause()
		s.after(continueAfter, func() { s.woken = true; r.wake() })
		return
	case written:
		r.die("killed")
	default:
		r.crash("killed")
	}
	s.after(restartAfter, r.boot)
}

// speaks is told of every packet of a router: one that woke says nothing about a
// call that others have taken.
func (s *scene) speaks(a *actor) {
	if c := s.judge.history.calls[a.call]; s.woken && a.n == s.struck && c != nil && c.owner != a.n.owner() {
		s.fault("%s woke and sent something about the call, which is %s/%d's", a.n.name, c.owner.Node, c.owner.Incarnation)
	}
}

// run plays to the end and reads what it came to.
func (s *scene) run(ref reference, p *played) {
	defer func() {
		if v := recover(); v != nil {
			p.failure = s.failure(v)
		}
		s.end()
	}()
	for s.World.step(ref.lasts) {
	}
	s.judge.healthy()
	s.judge.drained()
	p.steps, p.heard, p.faults = s.steps, s.heard, s.faults
	p.moved = s.judge.history.moved
	p.digits, p.cdrs = s.ledger()
	p.digits += " " + s.pressed
}

// ledger reads the log: the digits that were taken and the calls that ended.
func (s *scene) ledger() (digits string, cdrs []string) {
	seen := map[proposal]bool{}
	for i, e := range s.judge.log {
		if e.noop || !s.judge.records[i].applied {
			continue
		}
		cmd, err := acdwire.DecodeCommand(e.data)
		if err != nil {
			panic(err)
		}
		res := s.judge.records[i].result
		if b, ok := cmd.Body.(acd.DigitsCollected); ok && !seen[proposal{cmd.Session, cmd.Seq}] && res.Reason != acd.ReasonStaleEpoch && res.Reason != acd.ReasonUnknownCall {
			digits += b.Digits
		}
		seen[proposal{cmd.Session, cmd.Seq}] = true
		for _, f := range s.judge.records[i].facts {
			if f.Kind == acd.FactCallEnded {
				cdrs = append(cdrs, f.Attr("outcome")+" by "+f.Attr("by")+": "+f.Attr("cause")+", held "+f.Attr("holds")+", transferred "+f.Attr("transfers"))
			}
		}
	}
	return digits, cdrs
}

// everyNth thins the points out where time is short: the race detector makes each
// run ten times as long.
func everyNth() int {
	switch {
	case raced:
		return 32
	case testing.Short():
		return 8
	}
	return 1
}

// TestTakeoverAtEveryPoint kills the owner of a call before and after every
// commit, every packet and every order, and in another run stops it there until
// others have taken the call. Whatever the point: the call comes to the end it
// would have come to, with one CDR; who is in a dialog that stays sees nothing
// that would not have come, and no request twice; no key counts twice; and who
// wakes says nothing.
func TestTakeoverAtEveryPoint(t *testing.T) {
	total := 0
	for _, ref := range references {
		for _, leads := range []bool{false, true} {
			want := play(ref, leads, spare, 0)
			if want.failure != nil || len(want.faults) > 0 || want.moved > 0 {
				t.Errorf("%s: the reference call itself fails: %v %v", ref.name, want.failure, want.faults)
				continue
			}
			t.Logf("%s, owner leads %t: %d points; %s; %s", ref.name, leads, len(want.points), strings.Join(want.steps, ", "), want.cdrs)
			for _, k := range []strike{kill, stop} {
				for at := 1 + total%everyNth(); at <= len(want.points); at += everyNth() {
					total++
					got := play(ref, leads, k, at)
					for _, fault := range differences(want, got) {
						t.Errorf("%s: %s at point %d, %s, leads %t: %s", ref.name, k, at, want.points[at-1], leads, fault)
					}
				}
			}
		}
	}
	t.Logf("%d points were tried", total)
}

// TestStableCallsHearNothingOfATakeover: while a caller waits, while two parties
// talk and while one holds the other, the owner dies or is stopped and others
// take the call. For six seconds nobody hears a word, and the call goes on.
func TestStableCallsHearNothingOfATakeover(t *testing.T) {
	const quiet = 7 * time.Second
	states := []struct {
		name  string
		begin func(s *scene, still func(then func()))
	}{
		{"waits", func(s *scene, still func(then func())) {
			s.away(0)
			s.dial("+102", func(*dialog) { still(func() { s.agents[0].setStatus(acd.Available) }) })
			s.pickUp(0, func(p *dialog) { s.hangUp(p, "agent") })
		}},
		{"talks", func(s *scene, still func(then func())) {
			s.dial("+102", nil)
			s.pickUp(0, func(p *dialog) { still(func() { s.hangUp(p, "agent") }) })
		}},
		{"is held", func(s *scene, still func(then func())) {
			s.dial("+102", nil)
			s.pickUp(0, func(p *dialog) {
				s.reinvite(p, sdpOf("10.3.3.3")+"a=sendonly\r\n", func() { still(func() { s.hangUp(s.caller.d, "caller") }) })
			})
		}},
	}
	for _, state := range states {
		for _, k := range []strike{kill, stop} {
			for _, leads := range []bool{false, true} {
				ref := reference{name: state.name, lasts: 30 * time.Second}
				heard, calm := 0, false
				var s *scene
				ref.begin = func(on *scene) {
					s = on
					state.begin(s, func(then func()) {
						s.later(time.Second, func() {
							heard = len(s.heard)
							for id := range s.judge.history.calls {
								owner, _, _ := s.routers[0].machine.OwnerOf(id)
								for _, r := range s.routers {
									if r.node == owner.Node {
										s.strike(r, k, false)
									}
								}
							}
							s.later(quiet, func() {
								calm = len(s.heard) == heard && s.judge.history.moved == 1
								then()
							})
						})
					})
				}
				var p played
				s = newScene(ref, leads)
				s.atPoint = func(a *actor, point string) {
					if point == "sent" {
						s.speaks(a)
					}
				}
				s.run(ref, &p)
				if !calm || p.failure != nil || len(p.faults) > 0 || len(p.cdrs) != 1 || s.struck == nil {
					t.Errorf("a call that %s, its owner %s, leads %t: calm %t, heard %v, moved %d times, CDRs %q, %v %v",
						state.name, k, leads, calm, s.heard[heard:], p.moved, p.cdrs, p.faults, p.failure)
				}
			}
		}
	}
}

// differences lists what a takeover changed that it must not.
func differences(want, got played) (faults []string) {
	if got.failure != nil {
		return []string{got.failure.Error()}
	}
	faults = got.faults
	if !slices.Equal(want.steps, got.steps) {
		faults = append(faults, fmt.Sprintf("the story is %q, not %q", got.steps, want.steps))
	}
	if !slices.Equal(want.cdrs, got.cdrs) {
		faults = append(faults, fmt.Sprintf("CDRs are %q, not %q", got.cdrs, want.cdrs))
	}
	if want.digits != got.digits {
		faults = append(faults, fmt.Sprintf("the keys are %q, not %q", got.digits, want.digits))
	}
	return append(faults, hearsay(want.heard, got.heard)...)
}

// hearsay compares what the far ends heard. The caller's dialog is the same, but
// for repeats; no BYE comes twice in any dialog.
func hearsay(want, got []string) (faults []string) {
	of := func(heard []string, who string) (out []string) {
		for _, h := range heard {
			if strings.HasPrefix(h, who) && !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
		return out
	}
	if a, b := of(want, "c1 "), of(got, "c1 "); !slices.Equal(a, b) {
		faults = append(faults, fmt.Sprintf("the caller heard %q, not %q", b, a))
	}
	byes := map[string]string{}
	for _, h := range got {
		f := strings.Fields(h)
		if f[2] != "BYE" {
			continue
		}
		if was, ok := byes[f[1]]; ok && was != h {
			faults = append(faults, fmt.Sprintf("%s got two BYEs in %s: %s and %s", f[0], f[1], was, h))
		}
		byes[f[1]] = h
	}
	return faults
}

// TestAPhoneAnsweredUnheardRingsOnce: the phone is answered and its router dies, or
// is stopped, before it has heard that or committed it. Who takes the call over asks
// the phone, which does not ring again.
func TestAPhoneAnsweredUnheardRingsOnce(t *testing.T) {
	ref := references[1]
	tried, asked := 0, 0
	for _, leads := range []bool{false, true} {
		points := play(ref, leads, spare, 0).points
		for _, k := range []strike{kill, stop} {
			for at := 1; at <= len(points); at++ {
				s := newScene(ref, leads)
				passed, answered := 0, false
				s.atPoint = func(a *actor, point string) {
					if passed++; passed != at {
						return
					}
					for _, d := range s.phones[0].far.dialogs { // any order: a question
						answered = answered || d.leg.State() == sip.Accepted
					}
					s.strike(a.n, k, point == "sent")
					a.t.sleep(1)
				}
				var got played
				s.run(ref, &got)
				if !answered {
					continue
				}
				tried++
				asked += s.judge.asked
				rang := map[string]bool{}
				for _, h := range got.heard {
					if f := strings.Fields(h); f[0] == s.phones[0].far.name && f[2] == "INVITE" {
						rang[f[1]] = true
					}
				}
				if len(rang) != 1 || got.failure != nil {
					t.Errorf("%s at %s, leads %t: the phone rang %d times: %q %v", k, points[at-1], leads, len(rang), got.heard, got.failure)
				}
			}
		}
	}
	if tried == 0 || asked == 0 {
		t.Errorf("nothing was proved: %d points, %d phones asked", tried, asked)
	}
	t.Logf("%d points, %d phones asked", tried, asked)
}
