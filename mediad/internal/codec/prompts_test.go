package codec

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wavFile is a WAV file with the given header fields and 16-bit samples.
func wavFile(format, channels, rate, bits int, samples []int16) []byte {
	var b bytes.Buffer
	data := 2 * len(samples)
	b.WriteString("RIFF")
	binary.Write(&b, binary.LittleEndian, uint32(36+data))
	b.WriteString("WAVEfmt ")
	binary.Write(&b, binary.LittleEndian, []uint32{16})
	binary.Write(&b, binary.LittleEndian, []uint16{uint16(format), uint16(channels)})
	binary.Write(&b, binary.LittleEndian, []uint32{uint32(rate), uint32(rate * channels * bits / 8)})
	binary.Write(&b, binary.LittleEndian, []uint16{uint16(channels * bits / 8), uint16(bits)})
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, uint32(data))
	binary.Write(&b, binary.LittleEndian, samples)
	return b.Bytes()
}

func promptDir(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPromptsPlayInEveryCodec(t *testing.T) {
	stereo := make([]int16, 0, 32000)
	for _, s := range sine(16000, 440, 10000, 16000-100) {
		stereo = append(stereo, s, s)
	}
	dir := promptDir(t, map[string][]byte{
		"mono8.wav":    wavFile(1, 1, 8000, 16, sine(8000, 440, 10000, 8000)),
		"stereo16.wav": wavFile(1, 2, 16000, 16, stereo),
		"mono24.wav":   wavFile(1, 1, 24000, 16, sine(24000, 440, 10000, 24000)),
		"mono48.wav":   wavFile(1, 1, 48000, 16, sine(48000, 440, 10000, 48000)),
		"README.md":    []byte("not a sound"),
	})
	prompts, err := LoadPrompts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(prompts.Names(), " "); got != "mono24 mono48 mono8 stereo16" {
		t.Errorf("names are %q", got)
	}
	for _, name := range prompts.Names() {
		for _, codec := range Names() {
			frames, duration, ok := prompts.Frames(name, strings.ToLower(codec))
			if !ok || duration != time.Second || len(frames) != 50 {
				t.Errorf("%s in %s: %d frames, %v, %v; want 50 in 1s", name, codec, len(frames), duration, ok)
				continue
			}
			d, err := NewDecoder(codec, ClockRate(codec))
			if err != nil {
				t.Fatal(err)
			}
			var out []int16
			for _, frame := range frames {
				if out, err = d.Decode(out, frame); err != nil {
					t.Fatal(err)
				}
			}
			if r := toneShare(out[len(out)/4:len(out)*3/4], ClockRate(codec), 440); r < 0.97 {
				t.Errorf("%s in %s: the tone holds %.3f", name, codec, r)
			}
		}
	}
	if _, _, ok := prompts.Frames("absent", PCMA); ok {
		t.Error("an absent prompt was found")
	}
	if _, _, ok := prompts.Frames("mono8", "G729"); ok {
		t.Error("a prompt in an unknown codec was found")
	}
}

func TestFaultyPromptsAreNamedWithTheReason(t *testing.T) {
	good := wavFile(1, 1, 8000, 16, sine(8000, 440, 10000, 800))
	f := func(file []byte, reason string) {
		t.Helper()
		_, err := LoadPrompts(promptDir(t, map[string][]byte{"good.wav": good, "bad.wav": file}))
		if err == nil || !strings.Contains(err.Error(), "bad.wav") || !strings.Contains(err.Error(), reason) {
			t.Errorf("error is %v, want one naming bad.wav and %q", err, reason)
		}
	}
	f(nil, "not a WAV file")
	f([]byte("RIFF0000WAVE this is no sound"), "not a WAV file")
	f(wavFile(1, 1, 44100, 16, sine(44100, 440, 10000, 441)), "44100 Hz")
	f(wavFile(3, 1, 8000, 32, make([]int16, 800)), "only 16-bit PCM")
	f(wavFile(1, 1, 8000, 8, make([]int16, 800)), "only 16-bit PCM")
	f(wavFile(1, 6, 8000, 16, make([]int16, 600)), "6 channels")
	f(wavFile(1, 1, 8000, 16, nil), "no samples")
	f(good[:len(good)-100], "truncated")

	_, err := LoadPrompts(promptDir(t, map[string][]byte{"a.wav": nil, "b.wav": nil}))
	if err == nil || !strings.Contains(err.Error(), "a.wav") || !strings.Contains(err.Error(), "b.wav") {
		t.Errorf("error is %v, want both files named", err)
	}
	if _, err := LoadPrompts(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent folder was accepted")
	}
}

// The shipped prompts load, last as long as their README says and are heard.
func TestShippedPrompts(t *testing.T) {
	prompts, err := LoadPrompts("../../prompts")
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, least, most time.Duration) {
		t.Helper()
		_, duration, ok := prompts.Frames(name, PCMA)
		if !ok || duration < least || duration > most {
			t.Errorf("%s: %v, %v; want %v to %v", name, duration, ok, least, most)
		}
		info, err := os.Stat(filepath.Join("../../prompts", name+".wav"))
		if err != nil || info.Size() > 400<<10 {
			t.Errorf("%s: %v, %v; want at most 400 KiB", name, info.Size(), err)
		}
	}
	f("greeting", 1500*time.Millisecond, 3*time.Second)
	f("music", 8*time.Second, 10*time.Second)
}
