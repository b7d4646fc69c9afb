package codec

import (
	"errors"
	"math"
	"testing"
)

// sine returns n samples of a tone.
func sine(rate int, hz, amplitude float64, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

func power(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum / float64(max(1, len(pcm)))
}

// toneShare is the part of the power that lies at hz (Goertzel).
func toneShare(pcm []int16, rate int, hz float64) float64 {
	w := 2 * math.Pi * hz / float64(rate)
	var s1, s2 float64
	for _, s := range pcm {
		s1, s2 = float64(s)+2*math.Cos(w)*s1-s2, s1
	}
	n := float64(len(pcm))
	return (s1*s1 + s2*s2 - 2*math.Cos(w)*s1*s2) * 2 / (n * n) / math.Max(1, power(pcm))
}

func roundTrip(t *testing.T, name string, rate int, pcm []int16, lose func(frame int) bool) []int16 {
	t.Helper()
	e, err := NewEncoder(name, rate)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecoder(name, rate)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := encodeFrames(e, pcm)
	if err != nil {
		t.Fatal(err)
	}
	var out []int16
	for i, frame := range frames {
		if lose(i) {
			var next []byte
			if i+1 < len(frames) && !lose(i+1) {
				next = frames[i+1]
			}
			out, err = d.Conceal(out, rate/50, next)
		} else {
			out, err = d.Decode(out, frame)
		}
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	return out
}

func TestTonesSurviveEveryCodec(t *testing.T) {
	f := func(name string, rate int, hz, want float64) {
		t.Helper()
		pcm := sine(rate, hz, 10000, rate)
		out := roundTrip(t, name, rate, pcm, func(int) bool { return false })
		if len(out) != len(pcm) {
			t.Fatalf("%s at %d: %d samples came back of %d", name, rate, len(out), len(pcm))
		}
		out = out[rate/5:]
		if r := toneShare(out, rate, hz); r < want {
			t.Errorf("%s at %d: %.0f Hz holds %.4f of the power, want >= %.2f", name, rate, hz, r, want)
		}
		if got := power(out) / power(pcm); got < 0.8 || got > 1.25 {
			t.Errorf("%s at %d: power changed by %.2f", name, rate, got)
		}
	}
	f(PCMA, 8000, 440, 0.999)
	f(PCMU, 8000, 440, 0.999)
	f("pcma", 8000, 3000, 0.999)
	f(Opus, 8000, 440, 0.98)
	f(Opus, 16000, 440, 0.98)
	f(Opus, 24000, 440, 0.98)
	f(Opus, 48000, 440, 0.98)
	f("OPUS", 48000, 1000, 0.98)
}

func TestOpusConcealsAndRecovers(t *testing.T) {
	pcm := sine(48000, 440, 10000, 48000)
	lost := func(i int) bool { return i == 20 || i == 30 || i == 31 }
	out := roundTrip(t, Opus, 48000, pcm, lost)
	if len(out) != len(pcm) {
		t.Fatalf("%d samples came back of %d", len(out), len(pcm))
	}
	for i := range 50 {
		if !lost(i) {
			continue
		}
		frame, least := out[i*960:(i+1)*960], 0.1
		if lost(i - 1) {
			least = 0.02 // libopus fades a longer loss
		}
		if p := power(frame) / power(pcm); p < least {
			t.Errorf("lost frame %d has %.3f of the tone's power", i, p)
		}
	}
}

// FEC must be used, not only present: with it, a word said once in a lost
// frame is heard. Speech-like noise bursts make a frame unlike its neighbours.
func TestOpusFECRestoresALostBurst(t *testing.T) {
	const rate = 16000
	pcm := make([]int16, rate)
	for i := range pcm {
		// Voiced speech: harmonics of 120 Hz, loud only in frame 24.
		for h := 1.0; h < 20; h++ {
			pcm[i] += int16(600 / h * math.Sin(2*math.Pi*120*h*float64(i)/rate))
		}
		if f := i / 320; f == 24 {
			pcm[i] *= 8
		}
	}
	e, err := NewEncoder(Opus, rate)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := encodeFrames(e, pcm)
	if err != nil {
		t.Fatal(err)
	}
	frame24 := func(decode func(*Decoder) ([]int16, error)) []int16 {
		d, err := NewDecoder(Opus, rate)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames[:24] {
			if _, err := d.Decode(nil, f); err != nil {
				t.Fatal(err)
			}
		}
		out, err := decode(d)
		if err != nil || len(out) != 320 {
			t.Fatalf("%d samples, %v", len(out), err)
		}
		return out
	}
	clean := frame24(func(d *Decoder) ([]int16, error) { return d.Decode(nil, frames[24]) })
	plain := frame24(func(d *Decoder) ([]int16, error) { return d.Conceal(nil, 320, nil) })
	recovered := frame24(func(d *Decoder) ([]int16, error) { return d.Conceal(nil, 320, frames[25]) })
	if p, r := likeness(plain, clean), likeness(recovered, clean); r < 0.8 || power(recovered) < 4*power(plain) {
		t.Errorf("likeness to the lost burst %.2f with FEC, %.2f without; power %.0f and %.0f", r, p, power(recovered), power(plain))
	}
}

// likeness is the normalised correlation of two pieces of sound.
func likeness(a, b []int16) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum / float64(len(a)) / math.Sqrt(power(a)*power(b)+1)
}

func TestEmptyOpusPayloadIsComfortNoise(t *testing.T) {
	d, err := NewDecoder(Opus, 48000)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Decode(nil, nil)
	if err != nil || len(out) != 960 {
		t.Errorf("got %d samples, %v; want 960", len(out), err)
	}
}

func TestMalformedOpusIsAnError(t *testing.T) {
	d, err := NewDecoder(Opus, 48000)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := d.Decode(nil, []byte{0xFF, 0xFF, 0xFF}); err == nil {
		t.Errorf("decoded %d samples of a malformed packet", len(out))
	}
	e, err := NewEncoder(Opus, 8000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Encode(nil, make([]int16, 240)); err == nil {
		t.Error("30 ms were coded as one Opus frame")
	}
}

func FuzzOpusDecode(f *testing.F) {
	e, err := NewEncoder(Opus, 48000)
	if err != nil {
		f.Fatal(err)
	}
	payload, err := e.Encode(nil, sine(48000, 440, 10000, 960))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add([]byte{0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, payload []byte) {
		d, err := NewDecoder(Opus, 48000)
		if err != nil {
			t.Fatal(err)
		}
		out, err := d.Decode(nil, payload)
		if err == nil && len(out) > 5760 {
			t.Fatalf("%d samples from one packet", len(out))
		}
		if out, err = d.Conceal(nil, 960, payload); err == nil && len(out) != 960 {
			t.Fatalf("%d samples concealed, want 960", len(out))
		}
	})
}

func TestUnknownCodecsAndRatesAreRefused(t *testing.T) {
	if _, err := NewEncoder("G729", 8000); !errors.Is(err, ErrUnknown) {
		t.Errorf("G729: %v", err)
	}
	if _, err := NewDecoder(PCMA, 16000); err == nil {
		t.Error("PCMA at 16 kHz was accepted")
	}
	if _, err := NewTranscoder(PCMA, "G729"); !errors.Is(err, ErrUnknown) {
		t.Errorf("PCMA to G729: %v", err)
	}
}

func TestTranscodingKeepsTheTone(t *testing.T) {
	f := func(from, to string) {
		t.Helper()
		rate := ClockRate(from)
		e, err := NewEncoder(from, rate)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := encodeFrames(e, sine(rate, 440, 10000, rate))
		if err != nil {
			t.Fatal(err)
		}
		tr, err := NewTranscoder(from, to)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder(to, ClockRate(to))
		if err != nil {
			t.Fatal(err)
		}
		var out []int16
		for i, frame := range frames {
			if i == 25 {
				err = tr.Conceal(FrameTicks(from), frames[i+1])
			} else {
				err = tr.Play(frame)
			}
			if err != nil || !tr.Ready() {
				t.Fatalf("%s to %s, frame %d: %v", from, to, i, err)
			}
			payload, err := tr.Frame(nil)
			if err != nil || tr.Ready() {
				t.Fatalf("%s to %s, frame %d: %v", from, to, i, err)
			}
			if out, err = d.Decode(out, payload); err != nil {
				t.Fatal(err)
			}
		}
		if want := ClockRate(to); len(out) != want {
			t.Errorf("%s to %s: %d samples, want %d", from, to, len(out), want)
		}
		if r := toneShare(out[len(out)/5:], ClockRate(to), 440); r < 0.95 {
			t.Errorf("%s to %s: the tone holds %.3f", from, to, r)
		}
	}
	for _, from := range Names() {
		for _, to := range Names() {
			f(from, to)
		}
	}
}

// Payloads of other lengths come out as 20 ms each, with none of the time lost.
func TestTranscodingRepacketises(t *testing.T) {
	for _, ms := range []int{10, 30, 40, 60} {
		tr, err := NewTranscoder(PCMA, Opus)
		if err != nil {
			t.Fatal(err)
		}
		frames := 0
		for range 600 / ms {
			if err := tr.Play(make([]byte, 8*ms)); err != nil {
				t.Fatal(err)
			}
			for tr.Ready() {
				payload, err := tr.Frame(nil)
				if err != nil || PayloadTicks(Opus, payload) != 960 {
					t.Fatalf("%d ms: a payload of %d ticks, %v", ms, PayloadTicks(Opus, payload), err)
				}
				frames++
			}
		}
		if frames != 30 {
			t.Errorf("%d ms: %d frames of 600 ms", ms, frames)
		}
	}
}

// What one law's octet means and what the table makes of it differ by no more than
// the other law's step there; there and back changes little.
func TestTablesTurnOneLawIntoTheOther(t *testing.T) {
	f := func(from, to string) {
		t.Helper()
		table := Table(from, to)
		a, err := NewDecoder(from, 8000)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewDecoder(to, 8000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 256 {
			x, _ := a.Decode(nil, []byte{byte(i)})
			y, _ := b.Decode(nil, []byte{table[i]})
			if diff := math.Abs(float64(x[0]) - float64(y[0])); diff > 16+math.Abs(float64(x[0]))/16 {
				t.Errorf("%s %02x is %d, %s %02x is %d", from, i, x[0], to, table[i], y[0])
			}
		}
	}
	f(PCMA, PCMU)
	f("pcmu", "pcma")
	if Table(PCMA, PCMA) != nil || Table(PCMA, Opus) != nil {
		t.Error("a table where there is none")
	}
}

func TestTranscodingDoesNotAllocate(t *testing.T) {
	for _, dir := range [][2]string{{PCMA, Opus}, {Opus, PCMU}} {
		tr, payload := transcoder(t, dir[0], dir[1])
		buffer := make([]byte, 0, 1500)
		n := 0
		if allocs := testing.AllocsPerRun(100, func() {
			if n++; n%10 == 0 {
				_ = tr.Conceal(FrameTicks(dir[0]), payload)
			} else {
				_ = tr.Play(payload)
			}
			if _, err := tr.Frame(buffer); err != nil {
				t.Fatal(err)
			}
		}); allocs > 0 {
			t.Errorf("%v: %.1f allocations per packet", dir, allocs)
		}
	}
}

// transcoder is one with a payload for it.
func transcoder(t testing.TB, from, to string) (*Transcoder, []byte) {
	t.Helper()
	tr, err := NewTranscoder(from, to)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(from, 8000)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := e.Encode(nil, sine(8000, 440, 10000, 160))
	if err != nil {
		t.Fatal(err)
	}
	return tr, payload
}

// BenchmarkTranscode is what 20 ms of one direction cost.
func BenchmarkTranscode(b *testing.B) {
	for _, dir := range [][2]string{{PCMA, Opus}, {Opus, PCMA}} {
		b.Run(dir[0]+"-"+dir[1], func(b *testing.B) {
			tr, payload := transcoder(b, dir[0], dir[1])
			buffer := make([]byte, 0, 1500)
			for b.Loop() {
				if err := tr.Play(payload); err != nil {
					b.Fatal(err)
				}
				if _, err := tr.Frame(buffer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("PCMA-PCMU", func(b *testing.B) {
		table, payload := Table(PCMA, PCMU), make([]byte, 160)
		for b.Loop() {
			for i, v := range payload {
				payload[i] = table[v]
			}
		}
	})
}
