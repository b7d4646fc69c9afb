//go:build ignore

// Make writes greeting.wav and music.wav beside itself: the greeting is
// spoken by espeak-ng, the music is computed here and belongs to nobody else.
//
//	go run ./mediad/prompts/make.go
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"

	"trunkline/mediad/internal/codec"
)

const (
	rate    = 16000
	welcome = "Welcome. Please hold for an operator."
)

func main() {
	dir := "mediad/prompts"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := run(dir); err != nil {
		fmt.Fprintln(os.Stderr, "make prompts:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	spoken, err := greeting()
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "greeting.wav"), spoken); err != nil {
		return err
	}
	return write(filepath.Join(dir, "music.wav"), music())
}

// greeting has espeak-ng speak at its 22.05 kHz.
func greeting() ([]int16, error) {
	out, err := exec.Command("espeak-ng", "-v", "en-gb-x-rp", "-s", "155", "-p", "42", "-a", "80", "--stdout", welcome).Output()
	if err != nil {
		return nil, fmt.Errorf("run espeak-ng (apt-get install espeak-ng): %w", err)
	}
	// On a pipe espeak-ng cannot fill in the length, so the header's figure
	// is meaningless: 44 bytes of header, then samples to the end.
	if len(out) < 46 || !bytes.Equal(out[36:40], []byte("data")) {
		return nil, fmt.Errorf("espeak-ng wrote %d bytes that are not a plain WAV file", len(out))
	}
	spokenRate := int(binary.LittleEndian.Uint32(out[24:]))
	pcm := make([]int16, (len(out)-44)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(out[44+2*i:]))
	}
	return codec.Convert(pcm, spokenRate, rate)
}

// music is four bars of slow chords, 2.4 s each, under a plucked arpeggio.
// Every sound wraps around the end, so the loop has no seam.
func music() []int16 {
	const bar = 2.4
	// MIDI notes: C major 7, A minor 7, F major 7, G with a suspended fourth.
	chords := [][]int{{48, 55, 59, 64}, {45, 52, 55, 60}, {41, 52, 57, 60}, {43, 50, 55, 60}}
	order := []int{0, 1, 2, 3, 2, 1, 3, 2}
	loop := make([]float64, int(bar*float64(len(chords))*rate))
	for b, chord := range chords {
		start := bar * float64(b)
		for _, note := range chord {
			addPad(loop, start, bar, pitch(note))
		}
		for i, n := range order {
			addPluck(loop, start+bar*float64(i)/float64(len(order)), pitch(chord[n]+12))
		}
	}
	peak := 0.0
	for _, v := range loop {
		peak = math.Max(peak, math.Abs(v))
	}
	pcm := make([]int16, len(loop))
	for i, v := range loop {
		pcm[i] = int16(math.Round(v / peak * 9000)) // soft: -11 dB of full scale
	}
	return pcm
}

func pitch(midi int) float64 { return 440 * math.Pow(2, float64(midi-69)/12) }

// addPad swells in over 0.6 s and fades into the next bar.
func addPad(loop []float64, start, length, hz float64) {
	const swell = 0.6
	for i := range int((length + swell) * rate) {
		t := float64(i) / rate
		level := math.Min(1, math.Min(t, length+swell-t)/swell)
		level *= level * (3 - 2*level)
		v := math.Sin(2*math.Pi*hz*t) + 0.3*math.Sin(4*math.Pi*hz*t+0.3*math.Sin(2*math.Pi*4*t))
		add(loop, start+t, 0.25*level*v)
	}
}

// addPluck is a string-like note: high harmonics die first.
func addPluck(loop []float64, start, hz float64) {
	for i := range int(1.8 * rate) {
		t := float64(i) / rate
		v := 0.0
		for h := 1.0; h <= 4; h++ {
			v += math.Sin(2*math.Pi*hz*h*t) / (h * h) * math.Exp(-t*(2.2+1.8*h))
		}
		add(loop, start+t, 0.8*math.Min(1, t/0.004)*v)
	}
}

func add(loop []float64, at, v float64) {
	loop[int(math.Round(at*rate))%len(loop)] += v
}

func write(path string, pcm []int16) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	e := wav.NewEncoder(f, rate, 16, 1, 1)
	buffer := &audio.IntBuffer{Format: &audio.Format{NumChannels: 1, SampleRate: rate}, SourceBitDepth: 16}
	for _, s := range pcm {
		buffer.Data = append(buffer.Data, int(s))
	}
	if err := e.Write(buffer); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	return f.Close()
}
