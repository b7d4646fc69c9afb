package check

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// Audio is 16-bit PCM, one slice per channel.
type Audio struct {
	Rate     int
	Channels [][]int16
}

// Seconds is the length.
func (a Audio) Seconds() float64 {
	if a.Rate == 0 || len(a.Channels) == 0 {
		return 0
	}
	return float64(len(a.Channels[0])) / float64(a.Rate)
}

// ErrNotWAV says a file is not 16-bit PCM in RIFF.
var ErrNotWAV = errors.New("not a 16-bit PCM WAV file")

// ReadWAV reads a 16-bit PCM WAV. A data chunk whose length was never filled
// in, as in a file still being written, is read to the end of the file.
func ReadWAV(path string) (Audio, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Audio{}, err
	}
	a, err := parseWAV(data)
	if err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

func parseWAV(data []byte) (Audio, error) {
	var a Audio
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WAVE" {
		return a, ErrNotWAV
	}
	channels := 0
	for rest := data[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if id == "data" {
			if channels == 0 {
				return a, ErrNotWAV
			}
			if size == 0 || size > len(rest) {
				size = len(rest)
			}
			return deinterleave(a.Rate, channels, rest[:size]), nil
		}
		if size > len(rest) {
			return a, ErrNotWAV
		}
		if id == "fmt " {
			if size < 16 || binary.LittleEndian.Uint16(rest[14:]) != 16 {
				return a, ErrNotWAV
			}
			channels = int(binary.LittleEndian.Uint16(rest[2:]))
			a.Rate = int(binary.LittleEndian.Uint32(rest[4:]))
		}
		rest = rest[min(len(rest), size+size&1):]
	}
	return a, ErrNotWAV
}

func deinterleave(rate, channels int, data []byte) Audio {
	n := len(data) / (2 * channels)
	a := Audio{Rate: rate, Channels: make([][]int16, channels)}
	for c := range a.Channels {
		a.Channels[c] = make([]int16, n)
		for i := range n {
			a.Channels[c][i] = int16(binary.LittleEndian.Uint16(data[2*(i*channels+c):]))
		}
	}
	return a
}

// HeardShare is the share of 200 ms blocks in which freq holds more than half
// of the energy.
func HeardShare(samples []int16, rate, freq int) float64 {
	size := rate / 5
	if size == 0 || len(samples) < size {
		return 0
	}
	heard, blocks := 0, 0
	for ; len(samples) >= size; samples = samples[size:] {
		blocks++
		if ToneShare(samples[:size], rate, freq) > 0.5 {
			heard++
		}
	}
	return float64(heard) / float64(blocks)
}
