package codec

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-audio/wav"
)

// A prompt is held in memory in every codec; this bounds one file: 10 minutes
// of 48 kHz stereo.
const maxPromptFile = 120 << 20

// Prompts are the sounds a worker can play, each encoded once per codec. They
// do not change after LoadPrompts and may be read by any number of goroutines.
type Prompts struct {
	sounds map[string]map[string][][]byte // name, codec, 20 ms frames
}

// LoadPrompts reads every *.wav of dir; a prompt's name is its file name
// without the ending. It takes 16-bit PCM, mono or stereo (mixed down), at 8,
// 16, 24 or 48 kHz. All faulty files are reported together, each by name.
func LoadPrompts(dir string) (*Prompts, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read prompts: %w", err)
	}
	p := &Prompts{sounds: make(map[string]map[string][][]byte)}
	var faults []error
	for _, entry := range entries {
		name, isWAV := strings.CutSuffix(entry.Name(), ".wav")
		if !isWAV || entry.IsDir() {
			continue
		}
		pcm, rate, err := readWAV(filepath.Join(dir, entry.Name()))
		if err == nil {
			p.sounds[name], err = encodeAll(pcm, rate)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("prompt %s: %w", entry.Name(), err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// Frames returns the 20 ms payloads of a prompt in a codec, its duration (a
// whole number of frames), and whether there is such a prompt and codec. The
// frames are shared: they must not be changed.
func (p *Prompts) Frames(name, codec string) ([][]byte, time.Duration, bool) {
	c, ok := Canonical(codec)
	if !ok {
		return nil, 0, false
	}
	frames, ok := p.sounds[name][c]
	return frames, time.Duration(len(frames)) * FrameDuration, ok
}

// Names lists the prompts in order.
func (p *Prompts) Names() []string {
	var names []string
	for name := range p.sounds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func encodeAll(pcm []int16, rate int) (map[string][][]byte, error) {
	frames := make(map[string][][]byte)
	for _, name := range Names() {
		encoderRate := ClockRate(name)
		converted, err := Convert(pcm, rate, encoderRate)
		if err != nil {
			return nil, err
		}
		encoder, err := NewEncoder(name, encoderRate)
		if err != nil {
			return nil, err
		}
		if name == Opus {
			if encoder.opus, err = newOpusEncoder(encoderRate, promptComplexity); err != nil {
				return nil, err
			}
		}
		if frames[name], err = encodeFrames(encoder, converted); err != nil {
			return nil, err
		}
	}
	return frames, nil
}

// encodeFrames cuts pcm into 20 ms and fills the last frame with silence.
func encodeFrames(e *Encoder, pcm []int16) ([][]byte, error) {
	size := e.Rate() / 50
	if rest := len(pcm) % size; rest > 0 {
		pcm = append(pcm, make([]int16, size-rest)...)
	}
	var frames [][]byte
	for frame := range slices.Chunk(pcm, size) {
		payload, err := e.Encode(nil, frame)
		if err != nil {
			return nil, err
		}
		frames = append(frames, slices.Clip(payload))
	}
	return frames, nil
}

// readWAV returns the file as mono PCM and its rate in Hz.
func readWAV(path string) ([]int16, int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.Size() > maxPromptFile {
		return nil, 0, fmt.Errorf("%d bytes: the limit is %d", info.Size(), maxPromptFile)
	}
	d := wav.NewDecoder(f)
	// A file too short for a header leaves the decoder at its end, not in error.
	if d.ReadInfo(); d.Err() != nil || d.WavAudioFormat == 0 {
		return nil, 0, fmt.Errorf("not a WAV file: %w", cmp.Or(d.Err(), io.ErrUnexpectedEOF))
	}
	channels, rate := int(d.NumChans), int(d.SampleRate)
	const formatPCM = 1
	switch {
	case d.WavAudioFormat != formatPCM || d.BitDepth != 16:
		return nil, 0, fmt.Errorf("format %d with %d bits: only 16-bit PCM is taken", d.WavAudioFormat, d.BitDepth)
	case channels != 1 && channels != 2:
		return nil, 0, fmt.Errorf("%d channels: only mono and stereo are taken", channels)
	case rate != 8000 && rate != 16000 && rate != 24000 && rate != 48000:
		return nil, 0, fmt.Errorf("%d Hz: only 8000, 16000, 24000 and 48000 are taken", rate)
	}
	buffer, err := d.FullPCMBuffer()
	if err != nil {
		return nil, 0, fmt.Errorf("read samples: %w", err)
	}
	if len(buffer.Data) == 0 {
		return nil, 0, errors.New("no samples")
	}
	if got, want := 2*len(buffer.Data), int(d.PCMLen()); got < want-1 {
		return nil, 0, fmt.Errorf("truncated: %d of %d bytes of samples", got, want)
	}
	pcm := make([]int16, len(buffer.Data)/channels)
	for i := range pcm {
		sum := 0
		for _, s := range buffer.Data[i*channels : (i+1)*channels] {
			sum += s
		}
		pcm[i] = int16(sum / channels)
	}
	return pcm, rate, nil
}
