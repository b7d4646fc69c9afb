package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

func TestToneOfEachSideIsOnItsChannel(t *testing.T) {
	f := func(left, right string, rate int, codecs string) {
		t.Helper()
		dir := writeLog(t, merged(
			talker{leg: "1", codec: left, hz: 440, frames: 100, ssrc: 1}.packets(t, "c"),
			talker{leg: "2", codec: right, hz: 1000, frames: 100, ssrc: 2, seq: 900, ts: 77}.packets(t, "c"),
		))
		s, report := exportCall(t, "c", dir)
		if s.rate != rate || report.Rate != rate {
			t.Errorf("%s/%s: rate %d, want %d", left, right, s.rate, rate)
		}
		if report.Duration != 2*time.Second {
			t.Errorf("%s/%s: %v, want 2s", left, right, report.Duration)
		}
		if report.PacketsLeft != 100 || report.PacketsRight != 100 || report.LostLeft+report.LostRight != 0 || len(report.Gaps) > 0 {
			t.Errorf("%s/%s: %+v", left, right, report)
		}
		if report.Codec != codecs {
			t.Errorf("codec is %q, want %q", report.Codec, codecs)
		}
		l, r := s.part(s.left, 200*ms, 1900*ms), s.part(s.right, 200*ms, 1900*ms)
		if a, b := toneShare(l, rate, 440), toneShare(r, rate, 1000); a < 0.97 || b < 0.97 {
			t.Errorf("%s/%s: tones hold %.3f left, %.3f right", left, right, a, b)
		}
		if a, b := toneShare(l, rate, 1000), toneShare(r, rate, 440); a > 1e-3 || b > 1e-3 {
			t.Errorf("%s/%s: the other's tone holds %.5f left, %.5f right", left, right, a, b)
		}
	}
	f("PCMA", "PCMA", 8000, "PCMA")
	f("PCMU", "PCMA", 8000, "PCMU/PCMA")
	f("opus", "opus", 48000, "opus")
	f("PCMA", "opus", 48000, "PCMA/opus")
}

func TestChannelsAreAlignedByArrival(t *testing.T) {
	f := func(left, right string, late time.Duration) {
		t.Helper()
		dir := writeLog(t, merged(
			talker{leg: "1", codec: left, hz: 440, frames: 100, ssrc: 1}.packets(t, "c"),
			talker{leg: "2", codec: right, hz: 440, frames: 50, ssrc: 2, start: late}.packets(t, "c"),
		))
		s, report := exportCall(t, "c", dir)
		if want := max(2*time.Second, late+time.Second); report.Duration != want {
			t.Errorf("%s/%s: %v, want %v", left, right, report.Duration, want)
		}
		if got := s.onset(s.right) - s.onset(s.left); max(got-late, late-got) > 10*ms {
			t.Errorf("%s/%s: right starts %v after left, want %v", left, right, got, late)
		}
	}
	f("PCMA", "PCMA", 333*ms)
	f("PCMA", "opus", 333*ms)
	f("opus", "opus", 1007*ms)
}

// The network delays packets; only the least delayed ones tell the time.
func TestJitterMovesNoChannel(t *testing.T) {
	left := talker{leg: "1", codec: "PCMA", hz: 440, frames: 200, ssrc: 1}.packets(t, "c")
	right := talker{leg: "2", codec: "PCMA", hz: 440, frames: 200, ssrc: 2}.packets(t, "c")
	for i, p := range right {
		if i%7 != 3 {
			p.Arrival = p.Arrival.Add(time.Duration((i*37+25)%60) * ms)
		}
	}
	s, report := exportCall(t, "c", writeLog(t, merged(left, right)))
	if got := s.onset(s.right) - s.onset(s.left); got > 10*ms || got < -10*ms {
		t.Errorf("right is %v away from left", got)
	}
	if len(report.Gaps) > 0 || report.Duration > 4*time.Second+10*ms {
		t.Errorf("duration %v, gaps %v", report.Duration, report.Gaps)
	}
}

// A few late packets at the end of a talk say nothing about when it began.
func TestLateTailMovesNoChannel(t *testing.T) {
	left := talker{leg: "1", codec: "PCMA", hz: 440, frames: 505, ssrc: 1}.packets(t, "c")
	right := talker{leg: "2", codec: "PCMA", hz: 440, frames: 505, ssrc: 2}.packets(t, "c")
	for _, p := range right[500:] { // behind the first ten seconds
		p.Arrival = p.Arrival.Add(60 * ms)
	}
	s, _ := exportCall(t, "c", writeLog(t, merged(left, right)))
	if got := s.onset(s.right) - s.onset(s.left); got > 10*ms || got < -10*ms {
		t.Errorf("right is %v away from left", got)
	}
}

func TestSequenceAndTimestampWrap(t *testing.T) {
	f := func(codec string, seq uint16, ts uint32) {
		t.Helper()
		dir := writeLog(t, talker{leg: "1", codec: codec, hz: 440, frames: 100, ssrc: 1, seq: seq, ts: ts}.packets(t, "c"))
		s, report := exportCall(t, "c", dir)
		if report.Duration != 2*time.Second || report.LostLeft != 0 || len(report.Gaps) != 0 || report.Legs[0].Streams != 1 {
			t.Errorf("%s: %+v", codec, report)
		}
		if share := toneShare(s.part(s.left, 200*ms, 1900*ms), s.rate, 440); share < 0.97 {
			t.Errorf("%s: the tone holds %.3f", codec, share)
		}
	}
	f("PCMA", math.MaxUint16-50, 0)
	f("PCMA", 0, math.MaxUint32-50*160)
	f("PCMA", math.MaxUint16-20, math.MaxUint32-70*160+13)
	f("opus", math.MaxUint16-50, math.MaxUint32-50*960)
}

func TestGapMapListsWhatIsMissing(t *testing.T) {
	f := func(codec string) {
		t.Helper()
		left := talker{leg: "1", codec: codec, hz: 440, frames: 200, ssrc: 1}.packets(t, "c")
		right := talker{leg: "2", codec: codec, hz: 1000, frames: 200, ssrc: 2}.packets(t, "c")
		s, report := exportCall(t, "c", writeLog(t, merged(
			without(left, 50, 100, 101, 102),
			without(right, sequence(150, 170)...),
		)))
		want := []Gap{
			{Side: Customer, Leg: "1", At: 1000 * ms, Duration: 20 * ms, Packets: 1, Reason: Lost},
			{Side: Customer, Leg: "1", At: 2000 * ms, Duration: 60 * ms, Packets: 3, Reason: Lost},
			{Side: Operator, Leg: "2", At: 3000 * ms, Duration: 400 * ms, Packets: 20, Reason: Lost},
		}
		if !slices.Equal(report.Gaps, want) {
			t.Errorf("%s: gaps %v, want %v", codec, report.Gaps, want)
		}
		if report.LostLeft != 4 || report.LostRight != 20 || report.PacketsLeft != 196 || report.PacketsRight != 180 {
			t.Errorf("%s: %+v", codec, report)
		}
		if report.Duration != 4*time.Second {
			t.Errorf("%s: a loss changed the length to %v", codec, report.Duration)
		}
		// A single loss is concealed by the tone, a long one falls silent, and
		// after both the sound is where it belongs.
		if p := power(s.part(s.left, 1002*ms, 1018*ms)); p < power(s.left)/10 {
			t.Errorf("%s: power %.0f in a lost packet", codec, p)
		}
		if p := power(s.part(s.right, 3250*ms, 3390*ms)); p > power(s.right)/100 {
			t.Errorf("%s: power %.0f late in a long loss", codec, p)
		}
		if share := toneShare(s.part(s.right, 3460*ms, 3900*ms), s.rate, 1000); share < 0.95 {
			t.Errorf("%s: after the loss the tone holds %.3f", codec, share)
		}
	}
	f("PCMA")
	f("opus")
}

func sequence(from, to int) (s []int) {
	for i := from; i < to; i++ {
		s = append(s, i)
	}
	return s
}

// A sender that is silent (discontinuous transmission) loses nothing: sequence
// numbers go on, timestamps leap.
func TestSilenceOfASenderIsNoLoss(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	for _, p := range packets[50:] {
		p.Timestamp += 8000
		p.Arrival = p.Arrival.Add(time.Second)
	}
	s, report := exportCall(t, "c", writeLog(t, packets))
	if report.Duration != 3*time.Second || len(report.Gaps) != 0 || report.LostLeft != 0 {
		t.Errorf("%+v", report)
	}
	if p := power(s.part(s.left, 1010*ms, 1990*ms)); p != 0 {
		t.Errorf("power %.0f in the silence", p)
	}
	if share := toneShare(s.part(s.left, 2010*ms, 2990*ms), 8000, 440); share < 0.99 {
		t.Errorf("after the silence the tone holds %.3f", share)
	}
}

// Digits share the audio's sequence numbers and are neither lost nor stored.
func TestDigitsAreNoLossAndNotStored(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	for _, p := range packets[40:50] {
		p.Codec, p.Payload, p.Timestamp = "telephone-event", []byte{5, 10, 0, 160}, packets[40].Timestamp
	}
	dir := writeLog(t, packets)
	s, report := exportCall(t, "c", dir)
	if report.LostLeft != 0 || len(report.Gaps) != 0 || report.Duration != 2*time.Second {
		t.Errorf("%+v", report)
	}
	if p := power(s.part(s.left, 810*ms, 990*ms)); p != 0 {
		t.Errorf("power %.0f during the digit", p)
	}
	rec, err := readRecording(context.Background(), Sources{Dirs: []string{dir}}, testMaster, "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rec.sources[0] {
		if p.codec == codecEvent && len(p.payload) > 0 {
			t.Fatalf("a digit was stored: %x", p.payload)
		}
	}
}

// A standby takes a call over: two logs, the same packets for a moment, and a
// clock that is not quite the same.
func TestTakeoverBecomesOneRecording(t *testing.T) {
	f := func(name string, skew time.Duration) {
		t.Helper()
		left := talker{leg: "1", codec: "PCMA", hz: 440, frames: 300, ssrc: 1, seq: 65500}.packets(t, "c")
		right := talker{leg: "2", codec: "PCMA", hz: 1000, frames: 300, ssrc: 2, start: 7 * ms}.packets(t, "c")
		// The first worker dies at 3 s; the second is there from 2.9 s on, but
		// for ten packets of the right that nobody has.
		first := writeLog(t, merged(left[:150], right[:150]))
		var late []*Packet
		for _, p := range merged(left[145:], right[160:]) {
			q := *p
			q.Arrival = q.Arrival.Add(skew)
			late = append(late, &q)
		}
		second := writeLog(t, late)
		s, report := exportCall(t, "c", second, first)
		if want := 6*time.Second + 7*ms; report.Duration != want {
			t.Errorf("%s: %v, want %v", name, report.Duration, want)
		}
		if report.Duplicates != 5 || report.PacketsLeft != 300 || report.PacketsRight != 290 {
			t.Errorf("%s: %d duplicates, %d left, %d right", name, report.Duplicates, report.PacketsLeft, report.PacketsRight)
		}
		want := []Gap{{Side: Operator, Leg: "2", At: 3007 * ms, Duration: 200 * ms, Packets: 10, Reason: Lost}}
		if !slices.Equal(report.Gaps, want) {
			t.Errorf("%s: gaps %v, want %v", name, report.Gaps, want)
		}
		if share := toneShare(s.left, 8000, 440); share < 0.99 {
			t.Errorf("%s: the tone holds %.3f", name, share)
		}
	}
	f("same clock", 0)
	f("30 ms ahead", 30*ms)
	f("2 s behind", -2*time.Second)
	f("an hour ahead", time.Hour)
}

// The phone restarts its timestamps just as another worker takes the call
// over. That is no difference between the workers' clocks.
func TestNewTimestampsAtTakeoverAreNoClockSkew(t *testing.T) {
	first := writeLog(t, talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c"))
	second := writeLog(t, talker{leg: "1", codec: "PCMA", hz: 1000, frames: 100, ssrc: 1, seq: 100, ts: 1 << 30, start: 2 * time.Second}.packets(t, "c"))
	s, report := exportCall(t, "c", first, second)
	if d := report.Duration - 4*time.Second; d > ms || d < -ms {
		t.Errorf("%v, want 4s", report.Duration)
	}
	if share := toneShare(s.part(s.left, 2100*ms, 3900*ms), 8000, 1000); share < 0.99 {
		t.Errorf("the second tone holds %.3f in its place", share)
	}
}

// A phone's clock drifts over a long call before the takeover. That is no
// difference between the workers' clocks either.
func TestDriftIsNoClockSkew(t *testing.T) {
	for _, ppm := range []float64{300, -300} {
		var all []packet
		for _, p := range (talker{leg: "1", codec: "PCMA", hz: 440, frames: 20000, ssrc: 1, ppm: ppm}).packets(t, "c") {
			all = append(all, packet{leg: p.Leg, codec: codecPCMA, arrival: p.Arrival.UnixNano(), timestamp: p.Timestamp, ssrc: p.SSRC, seq: p.Seq})
		}
		const skew = 40 * ms
		later := slices.Clone(all[19900:])
		for i := range later {
			later[i].arrival += int64(skew)
		}
		if got := time.Duration(clockSkew(all[:19890], later)); max(got-skew, skew-got) > 3*ms {
			t.Errorf("at %v ppm: skew %v, want %v", ppm, got, skew)
		}
	}
}

// Operators follow one another (transfer) and overlap (consultation): all are
// on the right.
func TestOperatorsMixOnTheRight(t *testing.T) {
	dir := writeLog(t, merged(
		talker{leg: "1", codec: "PCMA", hz: 440, frames: 300, ssrc: 1}.packets(t, "c"),
		talker{leg: "2", codec: "PCMA", hz: 1000, frames: 150, ssrc: 2}.packets(t, "c"),
		talker{leg: "3", codec: "PCMU", hz: 1700, frames: 200, ssrc: 3, start: 2 * time.Second}.packets(t, "c"),
	))
	s, report := exportCall(t, "c", dir)
	f := func(from, to time.Duration, hz float64, least, most float64) {
		t.Helper()
		if share := toneShare(s.part(s.right, from, to), 8000, hz); share < least || share > most {
			t.Errorf("%v to %v: %.0f Hz holds %.3f, want %.2f to %.2f", from, to, hz, share, least, most)
		}
	}
	f(100*ms, 1900*ms, 1000, 0.99, 1)
	f(2100*ms, 2900*ms, 1000, 0.45, 0.55)
	f(2100*ms, 2900*ms, 1700, 0.45, 0.55)
	f(3100*ms, 5900*ms, 1700, 0.99, 1)
	if len(report.Legs) != 3 || report.PacketsRight != 350 || report.Codec != "PCMA/PCMA+PCMU" || len(report.Gaps) != 0 {
		t.Errorf("%+v", report)
	}
}

// After a re-INVITE a phone may go on with another codec, new timestamps, or a
// new SSRC. Arrival says where that belongs.
func TestSenderThatBeginsAnewStaysInPlace(t *testing.T) {
	f := func(name string, second talker, gap time.Duration) {
		t.Helper()
		second.leg, second.hz, second.frames = "1", 1000, 100
		second.start = 2*time.Second + gap
		s, report := exportCall(t, "c", writeLog(t, merged(
			talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c"), second.packets(t, "c"))))
		if got, want := report.Duration, 4*time.Second+gap; max(got-want, want-got) > ms {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if share := toneShare(s.part(s.left, 2*time.Second+gap+100*ms, 4*time.Second+gap-100*ms), s.rate, 1000); share < 0.97 {
			t.Errorf("%s: the second tone holds %.3f in its place", name, share)
		}
		if share := toneShare(s.part(s.left, 100*ms, 1900*ms), s.rate, 440); share < 0.97 {
			t.Errorf("%s: the first tone holds %.3f in its place", name, share)
		}
		want := 0
		if gap >= 40*ms {
			want = 1
		}
		if len(report.Gaps) != want || (want == 1 && (report.Gaps[0].Packets != 0 || max(report.Gaps[0].Duration-gap, gap-report.Gaps[0].Duration) > ms)) {
			t.Errorf("%s: gaps %v", name, report.Gaps)
		}
	}
	f("new SSRC", talker{codec: "PCMA", ssrc: 9}, 0)
	f("new SSRC after a pause", talker{codec: "PCMA", ssrc: 9}, 500*ms)
	f("new codec", talker{codec: "opus", ssrc: 1, seq: 100, ts: 100 * 160}, 0)
	f("G.711 to G.711", talker{codec: "PCMU", ssrc: 1, seq: 100, ts: 100 * 160}, 0)
	f("new timestamps", talker{codec: "PCMA", ssrc: 1, seq: 100, ts: 1 << 30}, 0)
	f("new timestamps, back", talker{codec: "PCMA", ssrc: 1, seq: 100, ts: 1 << 31}, 0)
}

// The network stops for three seconds and then delivers everything at once:
// nothing is lost and nothing moves.
func TestStallAndBurstMoveNothing(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 400, ssrc: 1}.packets(t, "c")
	release := packets[250].Arrival
	for _, p := range packets[100:250] {
		p.Arrival = release
	}
	_, report := exportCall(t, "c", writeLog(t, packets))
	if report.Duration != 8*time.Second || report.Legs[0].Streams != 1 || len(report.Gaps) != 0 {
		t.Errorf("%+v", report)
	}
}

func TestReorderedPacketsPlayInOrder(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	for i := 10; i < 90; i += 3 {
		packets[i].Seq, packets[i+1].Seq = packets[i+1].Seq, packets[i].Seq
		packets[i].Timestamp, packets[i+1].Timestamp = packets[i+1].Timestamp, packets[i].Timestamp
		packets[i].Payload, packets[i+1].Payload = packets[i+1].Payload, packets[i].Payload
	}
	s, report := exportCall(t, "c", writeLog(t, packets))
	if share := toneShare(s.left, 8000, 440); share < 0.99 || report.LostLeft != 0 || report.Duration != 2*time.Second {
		t.Errorf("the tone holds %.3f; %+v", share, report)
	}
}

// Two phones whose clocks are 200 ppm apart stay together for ten minutes.
func TestDriftingClocksStayAligned(t *testing.T) {
	const frames = 30000
	left := talker{leg: "1", codec: "PCMA", hz: 440, frames: frames, ssrc: 1, ppm: 100}.packets(t, "c")
	right := talker{leg: "2", codec: "PCMA", hz: 440, frames: frames, ssrc: 2, ppm: -100}.packets(t, "c")
	for i := range frames { // jitter of up to 30 ms
		left[i].Arrival = left[i].Arrival.Add(time.Duration(i*7919%30) * ms)
		right[i].Arrival = right[i].Arrival.Add(time.Duration(i*104729%30) * ms)
	}
	// A click on either side near the end, and when it was sent by our clock.
	click := func(packets []*Packet, i int, ppm float64) (sent time.Duration) {
		for _, p := range packets {
			p.Payload = bytes.Repeat([]byte{0xD5}, 160) // silence
		}
		packets[i].Payload = bytes.Repeat([]byte{0xAA, 0x2A}, 80) // full scale
		return time.Duration(float64(time.Duration(i)*20*ms) / (1 + ppm/1e6))
	}
	sentLeft, sentRight := click(left, 29500, 100), click(right, 29400, -100)
	all := append(append([]*Packet{}, left...), right...)
	slices.SortStableFunc(all, func(a, b *Packet) int { return a.Arrival.Compare(b.Arrival) })
	s, report := exportCall(t, "c", writeLog(t, all))
	if d := s.onset(s.left) - sentLeft; d > 3*ms || d < -3*ms {
		t.Errorf("click on the left is off by %v", d)
	}
	if d := s.onset(s.right) - sentRight; d > 3*ms || d < -3*ms {
		t.Errorf("click on the right is off by %v", d)
	}
	// The file lasts as long as the slower phone talked by our clock.
	if d := report.Duration - 10*time.Minute - 60*ms; d > ms || d < -ms {
		t.Errorf("duration is off by %v", d)
	}
	if l, r := report.Legs[0].DriftPPM, report.Legs[1].DriftPPM; math.Abs(l+100) > 5 || math.Abs(r-100) > 5 {
		t.Errorf("drift of left %.1f ppm and right %.1f ppm, want -100 and 100", l, r)
	}
}

// An hour of two phones whose clocks are 100 ppm off to either side: the file is as
// long as the talk, to 20 ms, and at its end both are heard where they were said.
func TestAnHourIsAsLongAsTheTalk(t *testing.T) {
	const frames = 180000
	dir := t.TempDir()
	l := openLog(t, dir, Config{QueueBytes: 64 << 20})
	if err := l.Start("c", ""); err != nil {
		t.Fatal(err)
	}
	legs := []talker{
		{leg: "1", codec: "PCMA", hz: 400, frames: 50, ssrc: 1, ppm: 100},
		{leg: "2", codec: "PCMA", hz: 1000, frames: 50, ssrc: 2, ppm: -100},
	}
	for _, k := range legs {
		second := k.packets(t, "c") // whole periods of both tones: it may be repeated
		sent := int(frames * (1 + k.ppm/1e6))
		for i := range sent {
			p := *second[i%50]
			p.Seq, p.Timestamp = uint16(i), uint32(i)*160
			p.Arrival = testStart.Add(time.Duration(float64(i) * float64(20*ms) / (1 + k.ppm/1e6)))
			if back := sent - 1 - i; back < 100 && back%10 >= 5 { // a beat of 100 ms in the last two seconds
				p.Payload = bytes.Repeat([]byte{0xD5}, 160)
			}
			for !l.Append(&p) {
				syncLog(t, l)
			}
		}
	}
	closeLog(t, l)
	s, report := exportCall(t, "c", dir)
	if off := report.Duration - time.Hour; off < -20*ms || off > 20*ms {
		t.Errorf("it is %v long", report.Duration)
	}
	if report.LostLeft+report.LostRight != 0 {
		t.Errorf("%d and %d lost", report.LostLeft, report.LostRight)
	}
	for _, leg := range report.Legs {
		want := map[string]float64{"1": 100, "2": -100}[leg.Leg]
		if math.Abs(-leg.DriftPPM-want) > 2 {
			t.Errorf("leg %s: drift %v, sent with %v", leg.Leg, leg.DriftPPM, want)
		}
	}
	// Both beats end with the hour.
	for name, pcm := range map[string][]int16{"left": s.left, "right": s.right} {
		end := time.Duration(0)
		for at := len(pcm) - 1; at > 0; at-- {
			if pcm[at] > 1000 || pcm[at] < -1000 {
				end = time.Duration(at) * time.Second / time.Duration(s.rate)
				break
			}
		}
		if off := end - time.Hour; off < -25*ms || off > 25*ms {
			t.Errorf("%s is heard until %v", name, end)
		}
	}
}

// A sender that repeats time it has sent already does not push the rest back.
func TestOverlappingPayloadsAreCut(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	for i := 10; i < 80; i += 10 {
		packets[i].Payload = slices.Concat(packets[i].Payload, packets[i+1].Payload)
	}
	s, report := exportCall(t, "c", writeLog(t, packets))
	if share := toneShare(s.left, 8000, 440); share < 0.999 || report.Duration != 2*time.Second || len(report.Gaps) != 0 {
		t.Errorf("the tone holds %.4f; %+v", share, report)
	}
}

func TestUndecodablePayloadsAreCountedAndConcealed(t *testing.T) {
	packets := talker{leg: "1", codec: "opus", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	packets[30].Payload = []byte{0xFF, 0xFF, 0xFF}
	_, report := exportCall(t, "c", writeLog(t, packets))
	if report.Undecodable != 1 || report.Duration != 2*time.Second {
		t.Errorf("%+v", report)
	}
}

func TestUnknownCallHasNoRecording(t *testing.T) {
	dir := writeLog(t, talker{leg: "1", codec: "PCMA", hz: 440, frames: 10, ssrc: 1}.packets(t, "c"))
	if err := exportError(t, testMaster, "other", dir); !errors.Is(err, ErrNoRecording) {
		t.Errorf("error is %v", err)
	}
	if err := exportError(t, testMaster, "c", dir, dir+"/absent"); err == nil {
		t.Error("an absent folder was accepted")
	}
}

func TestReportIsReadableJSON(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	_, report := exportCall(t, "c", writeLog(t, without(packets, 50)))
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"call":"c"`, `"duration_seconds":2,`, `"rate_hz":8000`, `"codec":"PCMA"`, `"packets_left":99`, `"lost_left":1`,
		`"gaps":[{"side":"left","leg":"1","at_seconds":1,"duration_seconds":0.02,"packets":1,"reason":"lost"}],"pauses":[]`,
		`"legs":[{"leg":"1","side":"left","codec":"PCMA","packets":99,"lost":1,"streams":1,"drift_ppm":0}]`,
	} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("JSON lacks %s: %s", want, b)
		}
	}
}
