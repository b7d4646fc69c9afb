package session

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

var (
	scheduleSeed = flag.Uint64("schedule", 0, "seed of TestNoIndexCoversTwoPlaintexts; 0 draws one")
	schedules    = flag.Int("schedules", 3, "how many it makes of it")
)

// tap is all that ever went to one far end under its one key: no index of SRTP or
// SRTCP may stand for two packets. It takes the indices from the wire, and uses
// nothing of the code it judges.
type tap struct {
	phone   *phone
	highest map[uint32]int64 // packet index by SSRC
	seen    map[tapped]string
}

type tapped struct {
	rtcp  bool
	ssrc  uint32
	index int64
}

func newTap(p *phone) *tap { return &tap{p, map[uint32]int64{}, map[tapped]string{}} }

// drain takes what has come, and waits for no more than a frame.
func (a *tap) drain() error {
	for _, conn := range []bool{false, true} {
		c := a.phone.rtp
		if conn {
			c = a.phone.rtcp
		}
		for {
			b, ok := a.phone.read(c, time.Millisecond)
			if !ok {
				break
			}
			if err := a.take(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *tap) take(b []byte) error {
	var at tapped
	if isRTCP(b) {
		// The index is the last word for AEAD (RFC 7714 section 17), and stands
		// before the tag of ten bytes elsewhere (RFC 3711 section 3.4).
		word := b[len(b)-4:]
		if !strings.HasPrefix(string(a.phone.suite), "AEAD") {
			word = b[len(b)-14:]
		}
		at = tapped{true, binary.BigEndian.Uint32(b[4:]), int64(binary.BigEndian.Uint32(word) &^ (1 << 31))}
	} else {
		ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
		high, known := a.highest[ssrc]
		if !known {
			high = int64(seq)
		}
		index := high + int64(int16(seq-uint16(high)))
		a.highest[ssrc] = max(high, index)
		at = tapped{false, ssrc, index}
	}
	if was, ok := a.seen[at]; ok && was != string(b) {
		return fmt.Errorf("index %+v covers two plaintexts", at)
	}
	a.seen[at] = string(b)
	return nil
}

// schedule is a random life of two workers and one call with a supervisor.
type schedule struct {
	*testing.T
	rnd     *rand.Rand
	pair    *pairOf
	engines [2]*Engine
	host    int
	epoch   uint64
	asleep  func() // wakes the worker that is not the host
	phones  [3]*phone
	taps    [3]*tap
	trace   []string
}

func (s *schedule) other() int { return 1 - s.host }

func (s *schedule) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

// order gives the host a command; it may well be refused.
func (s *schedule) order(r mediaapi.Request) {
	r.CallID = "c"
	reply, wait := s.engines[s.host].Do(r)
	s.note("%s %s %s%s: %s", r.Command, r.Leg, r.Mode, r.Keys, reply.Result)
	if wait != nil && s.rnd.IntN(2) == 0 { // the other half dies with it, perhaps
		select {
		case <-wait:
		case <-time.After(standbyPatience):
		}
	}
}

// reports has a worker report to all far ends at once.
func (s *schedule) reports(e *Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		c.shard.mu.Lock()
		for _, l := range c.legs {
			if l.tx != nil {
				l.relayed = time.Time{}
				c.shard.sendReport(l, time.Now())
			}
		}
		c.shard.mu.Unlock()
	}
}

func (s *schedule) speak() {
	for range 1 + s.rnd.IntN(4) {
		for i, p := range s.phones {
			p.send(fmt.Sprint("said by ", i, " at ", p.seq))
		}
	}
	if s.rnd.IntN(2) == 0 {
		s.report(s.rnd.IntN(2))
	}
}

// report has a far end report; the worker passes that on, under the same SSRC.
func (s *schedule) report(i int) {
	b := binary.BigEndian.AppendUint32([]byte{0x80, rtcpRR, 0, 2}, s.phones[i].ssrc)
	s.phones[i].sendReport(binary.BigEndian.AppendUint32(b, s.rnd.Uint32()))
}

// copied waits until the other worker could take over.
func (s *schedule) copied() {
	s.Helper()
	until(s.T, fmt.Sprintf("%s holds a copy", names[s.other()]), func() bool {
		n, full := s.pair.stores[s.other()].Held(s.pair.addr)
		return full && n == 1
	})
}

// move has the other worker host the address, whatever becomes of this one.
func (s *schedule) move() {
	s.host, s.epoch = s.other(), s.epoch+1
	s.pair.host(s.T, s.engines[s.host], s.epoch, names[s.other()])
}

func (s *schedule) wake() {
	if s.asleep != nil {
		s.asleep()
		s.asleep = nil
	}
}

// fail breaks the host in one of the ways in which it can be lost.
func (s *schedule) fail() {
	s.wake()
	s.copied()
	if s.rnd.IntN(2) == 0 {
		s.reports(s.engines[s.host]) // after the last mark, most likely
		s.report(0)
		s.report(1)
		s.hear()
	}
	old := s.host
	switch s.rnd.IntN(3) {
	case 0:
		s.note("crash of %s", names[old])
		s.engines[old].Close()
		s.move()
		s.engines[old] = s.pair.start(old)
		s.pair.host(s.T, s.engines[s.host], s.epoch, names[old])
	case 1:
		s.note("%s hangs", names[old])
		s.asleep = sleep(s.engines[old])
		s.speak()
		if s.rnd.IntN(2) == 0 {
			overslept(s.T)
		}
		s.move()
	case 2:
		s.note("%s hands over", names[old])
		s.move()
	}
}

func (s *schedule) step() {
	e := s.engines[s.host]
	switch leg := fmt.Sprint(1 + s.rnd.IntN(2)); s.rnd.IntN(10) {
	case 0:
		s.order(mediaapi.Request{Command: mediaapi.PlayMedia, Leg: leg, Prompt: "long", Loop: true})
	case 1:
		s.order(mediaapi.Request{Command: mediaapi.PlayMedia, Leg: leg, Prompts: []string{"short", "three"}, Then: "second"})
	case 2, 9:
		s.order(mediaapi.Request{Command: mediaapi.Connect, Leg: "1", Peer: "2"})
	case 3:
		s.order(mediaapi.Request{Command: mediaapi.PlayDTMF, Leg: leg, Keys: "1", Duration: 100, Pause: 100})
	case 4:
		modes := []string{mediaapi.Listen, mediaapi.Whisper, mediaapi.Join, mediaapi.Unsupervised}
		s.order(mediaapi.Request{Command: mediaapi.Supervise, Leg: "3", Peer: leg, Mode: modes[s.rnd.IntN(len(modes))]})
	case 5:
		s.reports(e)
	case 6:
		s.wake()
	case 7:
		s.speak()
	case 8:
		s.fail()
	}
	s.speak()
}

// Whatever happens to two workers that stand by for each other, and in whatever
// order: no (key, SSRC, index) ever covers two different plaintexts, of relayed
// speech, prompts, music, mixes, keys or reports.
func TestNoIndexCoversTwoPlaintexts(t *testing.T) {
	seed := *scheduleSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-schedule %d", seed)
	for round := range *schedules {
		s := &schedule{T: t, rnd: rand.New(rand.NewPCG(seed, uint64(round))), pair: newPair(t, fmt.Sprintf("127.20.5.%d", 1+round)), epoch: 1}
		s.engines = [2]*Engine{s.pair.a, s.pair.b}
		for i, suite := range []srtp.Suite{srtp.AEAD128GCM, srtp.AESCM128SHA180, srtp.AEAD256GCM} {
			s.phones[i] = newPhone(t, suite, i != 1)
			s.phones[i].seq = 65536 - s.rnd.IntN(40)
			s.taps[i] = newTap(s.phones[i])
		}
		s.phones[0].dial(s.pair.a, "c")
		s.phones[1].ring(s.pair.a, "c", "2")
		s.phones[2].ring(s.pair.a, "c", "3")
		connect(t, s.pair.a, "c")
		s.run(80)
	}
}

func (s *schedule) run(steps int) {
	defer s.wake() // before the engines are closed, which needs their threads
	for range steps {
		s.step()
		s.hear()
	}
	for i, a := range s.taps {
		if len(a.seen) < 10 {
			s.Errorf("far end %d heard %d packets only, after %s", i, len(a.seen), strings.Join(s.trace, ", "))
		}
	}
}

// hear has all far ends take what has come.
func (s *schedule) hear() {
	for i, a := range s.taps {
		if err := a.drain(); err != nil {
			s.Fatalf("far end %d: %v, after %s", i, err, strings.Join(s.trace, ", "))
		}
	}
}

// fault is one planted into copies of source files.
type fault struct {
	name  string
	lines []faultyLine
}

// faultyLine: old is replaced by new, and must stand in the file exactly once.
type faultyLine struct{ file, old, new string }

var faults = []fault{
	{"a successor's reports skip no reserved range", []faultyLine{
		{"../srtp/stream.go", "st.index = max(m.Index+indexSkip, s.reserved)", "st.index = m.Index"},
	}},
	{"a successor takes a stream it has no mark of for a new one", []faultyLine{
		{"../srtp/stream.go", "s.reserved = uint64(lives) * indexSkip", "s.reserved = 0"},
	}},
	{"a successor goes on with the SSRC of what its predecessor made", []faultyLine{
		{"leg.go", "l.own.ssrc = rand.Uint32()", "l.own.ssrc = 4711"},
		{"player.go", "o.seq, o.ts = uint16(rand.Uint32N(1<<15)), rand.Uint32()", "o.seq, o.ts = 100, rand.Uint32()"},
	}},
}

// The test above finds what it is there to find.
func TestPlantedFaultsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this test once for each planted fault; make test runs it")
	}
	for _, f := range faults {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			dir, replace := t.TempDir(), map[string]string{}
			for i, l := range f.lines {
				path, err := filepath.Abs(l.file)
				if err != nil {
					t.Fatal(err)
				}
				src, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(string(src), l.old); n != 1 {
					t.Fatalf("this planted fault is stale: %s has its place %d times, not once:\n%s", l.file, n, l.old)
				}
				replace[path] = filepath.Join(dir, fmt.Sprint(i, ".go"))
				if err := os.WriteFile(replace[path], []byte(strings.Replace(string(src), l.old, l.new, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(file, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("go", "test", "-overlay", file, "-run", "^TestNoIndexCoversTwoPlaintexts$", "-count", "1", ".", "-args", "-schedules", "20").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "covers two plaintexts") {
				t.Fatalf("not found: %v\n%s", err, out)
			}
		})
	}
}
