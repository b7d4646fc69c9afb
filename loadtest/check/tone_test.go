package check

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func sine(freq, rate, n int, amplitude float64) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(amplitude * math.Sin(2*math.Pi*float64(freq)*float64(i)/float64(rate)))
	}
	return out
}

func TestToneShareFindsTheToneAndNoOther(t *testing.T) {
	f := func(samples []int16, rate, freq int, low, high float64) {
		t.Helper()
		if got := ToneShare(samples, rate, freq); got < low || got > high {
			t.Errorf("share of %d Hz is %.4f, want %g to %g", freq, got, low, high)
		}
	}
	s := sine(450, 8000, 1600, 8000)
	f(s, 8000, 450, 0.99, 1)
	f(s, 8000, 500, 0, 0.01)
	f(sine(1500, 48000, 9600, 300), 48000, 1500, 0.98, 1)
	f(make([]int16, 1600), 8000, 450, 0, 0)
	f(nil, 8000, 450, 0, 0)
	mixed := sine(450, 8000, 1600, 8000)
	for i, v := range sine(1000, 8000, 1600, 8000) {
		mixed[i] += v
	}
	f(mixed, 8000, 450, 0.45, 0.55)
	f(mixed, 8000, 1000, 0.45, 0.55)
}

func TestHeardShareCountsBlocks(t *testing.T) {
	half := append(sine(450, 8000, 8000, 8000), make([]int16, 8000)...)
	if got := HeardShare(half, 8000, 450); got != 0.5 {
		t.Errorf("a tone in half of the recording is heard in %.2f", got)
	}
}

func wav(channels int, size uint32, samples ...int16) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00")
	b = binary.LittleEndian.AppendUint16(b, uint16(channels))
	b = binary.LittleEndian.AppendUint32(b, 8000)
	b = binary.LittleEndian.AppendUint32(b, uint32(16000*channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(2*channels))
	b = append(b, "\x10\x00LIST\x03\x00\x00\x00abc\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	for _, s := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

func TestParseWAV(t *testing.T) {
	f := func(data []byte, left, right []int16, wantErr error) {
		t.Helper()
		a, err := parseWAV(data)
		if !errors.Is(err, wantErr) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if a.Rate != 8000 || len(a.Channels) != 2 {
			t.Fatalf("rate %d, %d channels", a.Rate, len(a.Channels))
		}
		for c, want := range [][]int16{left, right} {
			for i := range want {
				if a.Channels[c][i] != want[i] {
					t.Errorf("channel %d is %v, want %v", c, a.Channels[c], want)
				}
			}
		}
	}
	f(wav(2, 8, 1, -2, 3, -4), []int16{1, 3}, []int16{-2, -4}, nil)
	f(wav(2, 0, 1, -2), []int16{1}, []int16{-2}, nil)          // never closed
	f(wav(2, 0xffffffff, 1, -2), []int16{1}, []int16{-2}, nil) // streamed
	f([]byte("RIFF"), nil, nil, ErrNotWAV)
	f([]byte("RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00"), nil, nil, ErrNotWAV)
	f([]byte("OggS............"), nil, nil, ErrNotWAV)
}
