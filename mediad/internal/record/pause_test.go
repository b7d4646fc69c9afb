package record

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// pausedCall records packets of a call that is paused between two of them, as
// a worker does: what comes in the pause is not appended.
func pausedCall(t *testing.T, l *Log, packets []*Packet, pause, resume time.Duration) {
	t.Helper()
	for _, p := range packets {
		at := p.Arrival.Sub(testStart)
		if at >= pause && at < resume {
			continue
		}
		appendAll(t, l, []*Packet{p})
	}
	note := func(kind markKind, at time.Duration) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mark(mark{call: "c", kind: kind, at: testStart.Add(at).UnixNano()})
	}
	note(markPause, pause)
	if resume < time.Hour {
		note(markResume, resume)
	}
	closeLog(t, l)
}

func bothSides(t *testing.T, frames int) []*Packet {
	return merged(
		talker{leg: "1", codec: "PCMA", hz: 440, frames: frames, ssrc: 1}.packets(t, "c"),
		talker{leg: "2", codec: "PCMA", hz: 1000, start: 7 * ms, frames: frames, ssrc: 2}.packets(t, "c"),
	)
}

// A pause is told as one: nothing of it counts as lost, it is silent, and what
// follows is where it belongs.
func TestAPauseIsAGapOfItsOwnKind(t *testing.T) {
	dir := t.TempDir()
	pausedCall(t, openLog(t, dir, Config{}), bothSides(t, 300), 2000*ms, 4000*ms)
	s, report := exportCall(t, "c", dir)
	if report.LostLeft+report.LostRight != 0 || report.PacketsLeft != 200 || report.Duration != 6*time.Second+7*ms {
		t.Errorf("%+v", report)
	}
	want := []Gap{
		{Side: Customer, Leg: "1", At: 2000 * ms, Duration: 2000 * ms, Packets: 100, Reason: Paused},
		{Side: Operator, Leg: "2", At: 2007 * ms, Duration: 2000 * ms, Packets: 100, Reason: Paused},
	}
	if !slices.Equal(report.Gaps, want) {
		t.Errorf("gaps %v, want %v", report.Gaps, want)
	}
	if len(report.Pauses) != 1 || report.Pauses[0] != (Pause{At: 2000 * ms, Duration: 2000 * ms}) {
		t.Errorf("pauses %v", report.Pauses)
	}
	if p := power(s.part(s.left, 2300*ms, 3990*ms)); p > 0 {
		t.Errorf("power %.0f in the pause", p)
	}
	if share := toneShare(s.part(s.right, 4050*ms, 5900*ms), s.rate, 1000); share < 0.99 {
		t.Errorf("after the pause the tone holds %.3f", share)
	}
	text, err := json.Marshal(report)
	if err != nil || !strings.Contains(string(text), `"pauses":[{"at_seconds":2,"duration_seconds":2}]`) {
		t.Errorf("%s, %v", text, err)
	}
}

// Packets are lost just before, in and just after a pause: each is told apart.
func TestLossesBesideAPauseAreLosses(t *testing.T) {
	f := func(pauses []span, gap span, want ...piece) {
		t.Helper()
		if got := gap.cut(pauses); !slices.Equal(got, want) {
			t.Errorf("%v cut by %v: %v, want %v", gap, pauses, got, want)
		}
	}
	sec := int64(time.Second)
	at := func(from, to int64) span { return span{from * sec, to * sec} }
	f(nil, at(1, 2), piece{at(1, 2), false})
	f([]span{at(3, 4)}, at(1, 2), piece{at(1, 2), false})
	f([]span{at(1, 2)}, at(1, 2), piece{at(1, 2), true})
	f([]span{at(2, 3)}, at(1, 4), piece{at(1, 2), false}, piece{at(2, 3), true}, piece{at(3, 4), false})
	f([]span{at(1, 2), at(3, 4)}, at(1, 4), piece{at(1, 2), true}, piece{at(2, 3), false}, piece{at(3, 4), true})
	f([]span{{sec, 2 * sec}}, span{sec - 50e6, 2*sec + 50e6}, piece{span{sec - 50e6, 2*sec + 50e6}, true})
	f([]span{at(1, 9)}, at(2, 3), piece{at(2, 3), true})

	dir := t.TempDir()
	lossy := slices.DeleteFunc(bothSides(t, 300), func(p *Packet) bool {
		at := p.Arrival.Sub(testStart)
		return at >= 1000*ms && at < 2000*ms
	})
	pausedCall(t, openLog(t, dir, Config{}), lossy, 2000*ms, 4000*ms)
	_, report := exportCall(t, "c", dir)
	if report.LostLeft != 50 || len(report.Gaps) != 4 || report.Gaps[0].Reason != Lost || report.Gaps[0].Packets != 50 ||
		report.Gaps[2].Reason != Paused || report.Gaps[2].Packets != 100 {
		t.Errorf("%+v", report)
	}
}

// The call ends in the pause: no gap of a leg shows it, the list of pauses does.
func TestAPauseWithoutEndIsListed(t *testing.T) {
	dir := t.TempDir()
	pausedCall(t, openLog(t, dir, Config{}), bothSides(t, 200), 2000*ms, time.Hour)
	_, report := exportCall(t, "c", dir)
	if len(report.Pauses) != 1 || report.Pauses[0].At != 2000*ms || !report.Pauses[0].Open || len(report.Gaps) != 0 {
		t.Errorf("%+v", report)
	}
}

// The worker dies in the pause and its disk with it: the successor's log knows
// of it, and the gap is no loss.
func TestAPauseAcrossATakeover(t *testing.T) {
	packets := bothSides(t, 300)
	before, after := t.TempDir(), t.TempDir()
	l := openLog(t, before, Config{})
	appendAll(t, l, packets[:200])
	closeLog(t, l)
	l = openLog(t, after, Config{})
	if err := l.Start("c", ""); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.mark(mark{call: "c", kind: markResume, at: testStart.Add(4000 * ms).UnixNano()})
	l.mu.Unlock()
	syncLog(t, l)
	appendAll(t, l, packets[400:])
	closeLog(t, l)
	_, report := exportCall(t, "c", before, after)
	if report.LostLeft+report.LostRight != 0 || len(report.Gaps) != 2 || report.Gaps[1].Reason != Paused {
		t.Errorf("%+v", report)
	}
}

// What was said in the pause is nowhere in the log, decrypted as a whole; the
// notes are there, in whatever segment was open, and Stop right after Pause
// loses neither.
func TestNothingOfAPauseIsInTheLog(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{SegmentBytes: 2000})
	say := func(text string, n int) {
		for range n {
			l.Append(&Packet{Call: "c", Leg: "1", Codec: "PCMA", Arrival: time.Now(), Payload: []byte(text)})
		}
	}
	if err := l.Start("c", "sales"); err != nil {
		t.Fatal(err)
	}
	say("before", 30)
	l.Pause("c") // whoever appends has ceased
	l.Resume("c")
	say("after", 30)
	l.Pause("c")
	l.Stop("c")
	say("4111 1111", 30)
	closeLog(t, l)
	rec, err := readRecording(context.Background(), Sources{Dirs: []string{dir}}, testMaster, "c")
	if err != nil {
		t.Fatal(err)
	}
	var notes []byte
	said := map[string]int{}
	for _, p := range rec.sources[0] {
		if p.isNote() {
			notes = append(notes, p.codec)
			continue
		}
		said[string(p.payload)]++
	}
	if !bytes.Equal(notes, []byte{notePaused, noteResumed, notePaused}) || said["before"] != 30 || said["after"] != 30 || len(said) != 2 {
		t.Errorf("notes %v, said %v", notes, said)
	}
	if s := l.Stats(); s.NotStarted != 30 {
		t.Errorf("%+v", s)
	}
}

// A call that goes to another queue has its next packets under another key.
func TestALabelBelongsToWhatIsRecordedUnderIt(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 60, ssrc: 1}.packets(t, "c")
	for i, label := range []string{"sales", "billing", strings.Repeat("x", maxLabel)} {
		if err := l.Start("c", label); err != nil {
			t.Fatal(err)
		}
		for _, p := range packets[i*20 : i*20+20] {
			l.Append(p)
		}
	}
	closeLog(t, l)
	table, err := ReadTable(segmentFiles(t, dir, keysSuffix)[0])
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, k := range table.Calls {
		labels = append(labels, k.Label)
	}
	if !slices.Equal(labels, []string{"sales", "billing", strings.Repeat("x", maxLabel)}) {
		t.Errorf("labels %q", labels)
	}
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 60 || report.Segments != 1 {
		t.Errorf("%+v", report)
	}
}
