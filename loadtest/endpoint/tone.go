package endpoint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/hraban/opus"
)

// frame durations: 20 ms at each codec's clock (T3).
const (
	framesPerSecond = 50
	pcmaFrame       = 8000 / framesPerSecond
	opusFrame       = 48000 / framesPerSecond
)

func (c Codec) frame() int {
	if c == Opus {
		return opusFrame
	}
	return pcmaFrame
}

// sineFrame is 20 ms of a sine. A frequency that is a multiple of 50 Hz
// repeats without a seam.
func sineFrame(freq, rate int) []int16 {
	out := make([]int16, rate/framesPerSecond)
	for i := range out {
		out[i] = int16(8000 * math.Sin(2*math.Pi*float64(freq)*float64(i)/float64(rate)))
	}
	return out
}

// source is a tone's payloads, made once and repeated.
type source struct {
	codec  Codec
	id     uint16
	frames [][]byte
}

// newSource encodes a tone. freq must be a multiple of 50 Hz.
func newSource(c Codec, freq int, id uint16) (*source, error) {
	if freq <= 0 || freq%framesPerSecond != 0 {
		return nil, fmt.Errorf("tone of %d Hz: not a multiple of %d", freq, framesPerSecond)
	}
	s := &source{codec: c, id: id}
	if c == PCMA {
		frame := make([]byte, pcmaFrame)
		for i, v := range sineFrame(freq, 8000) {
			frame[i] = alawEncode(v)
		}
		s.frames = [][]byte{frame}
		return s, nil
	}
	enc, err := opus.NewEncoder(48000, 1, opus.AppVoIP)
	if err != nil {
		return nil, fmt.Errorf("make an Opus encoder: %w", err)
	}
	pcm := sineFrame(freq, 48000)
	buf := make([]byte, 1275)
	// The first second lets the encoder settle; the next one is what repeats.
	for i := range 2 * framesPerSecond {
		n, err := enc.Encode(pcm, buf)
		if err != nil {
			return nil, fmt.Errorf("encode a tone of %d Hz: %w", freq, err)
		}
		if i >= framesPerSecond {
			s.frames = append(s.frames, append([]byte(nil), buf[:n]...))
		}
	}
	return s, nil
}

// payload writes the n-th packet's payload with its mark.
func (s *source) payload(dst []byte, n uint32) []byte {
	frame := s.frames[int(n)%len(s.frames)]
	m := mark{source: s.id, n: n}.bytes()
	if s.codec == PCMA {
		dst = append(dst[:0], frame...)
		for i := range 8 * markSize {
			bit := m[i/8] >> (7 - i%8) & 1
			dst[i] = dst[i]&^1 | bit
		}
		return dst
	}
	// One frame as an Opus code 3 packet with padding (RFC 6716 section
	// 3.2.5): decoders must accept any padding and ignore it.
	dst = append(dst[:0], frame[0]|3, 0x41, markSize)
	dst = append(dst, frame[1:]...)
	return append(dst, m...)
}

// mark is what a packet says of itself: who sent it and its number. It rides
// in the lowest bits of A-law samples, or in Opus padding, so it survives
// re-encryption and renumbering but not transcoding.
type mark struct {
	source uint16
	n      uint32
}

const (
	markSize  = 12
	markMagic = 0xA53C
)

func (m mark) bytes() []byte {
	b := make([]byte, markSize)
	binary.BigEndian.PutUint16(b, markMagic)
	binary.BigEndian.PutUint16(b[2:], m.source)
	binary.BigEndian.PutUint32(b[4:], m.n)
	binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[:8]))
	return b
}

// readMark finds the mark of a payload.
func readMark(c Codec, payload []byte) (mark, bool) {
	var b [markSize]byte
	switch {
	case c == PCMA && len(payload) >= 8*markSize:
		for i := range 8 * markSize {
			b[i/8] = b[i/8]<<1 | payload[i]&1
		}
	case c == Opus && len(payload) > 3+markSize && payload[0]&3 == 3 && payload[1] == 0x41 && payload[2] == markSize:
		copy(b[:], payload[len(payload)-markSize:])
	default:
		return mark{}, false
	}
	if binary.BigEndian.Uint16(b[:]) != markMagic || crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
		return mark{}, false
	}
	return mark{source: binary.BigEndian.Uint16(b[2:]), n: binary.BigEndian.Uint32(b[4:])}, true
}

// alawEncode and alawTable are ITU-T G.711 A-law.
func alawEncode(v int16) byte {
	x := int(v) >> 3 // 13 bits
	sign := byte(0x80)
	if x < 0 {
		sign, x = 0, -x-1
	}
	var code byte
	if x >= 32 {
		exp := byte(1)
		for x>>exp >= 32 {
			exp++
		}
		code = exp<<4 | byte(x>>exp)&0x0f
	} else {
		code = byte(x >> 1)
	}
	return (sign | code) ^ 0x55
}

var alawTable = func() (t [256]int16) {
	for i := range t {
		code := byte(i) ^ 0x55
		exp, mant := code>>4&7, int(code&0x0f)
		v := mant<<4 + 8
		if exp > 0 {
			v = (v + 0x100) << (exp - 1)
		}
		if code&0x80 == 0 {
			v = -v
		}
		t[i] = int16(v)
	}
	return t
}()
