// Package codec turns PCM into RTP payloads and back: G.711 (PCMA, PCMU) by
// the tables of ITU-T G.711, Opus (RFC 6716, RFC 7587) through libopus,
// conversion between 8, 16, 24 and 48 kHz, and the prompts a worker plays,
// encoded once per codec when they are loaded.
//
// It refuses to know of packets, clocks and jitter: a caller hands over
// payloads in playing order and says which are lost. Encoders, decoders,
// transcoders and resamplers belong to one goroutine each; Prompts may be
// shared. The cgo part needs libopus and pkg-config at build time and no
// build tag.
package codec

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Codec names as SDP spells them. They are compared without regard to case
// (RFC 8866 section 6.6).
const (
	PCMA = "PCMA"
	PCMU = "PCMU"
	Opus = "opus"
)

// FrameDuration is the packetisation everywhere in the tier (T3).
const FrameDuration = 20 * time.Millisecond

// ErrUnknown is returned for a codec name this package has no codec for.
var ErrUnknown = errors.New("unknown codec")

// Names lists the codecs, preferred first.
func Names() []string { return []string{Opus, PCMA, PCMU} }

// Canonical returns the one spelling of a codec name, and whether it is known.
func Canonical(name string) (string, bool) {
	switch {
	case name == PCMA || strings.EqualFold(name, PCMA):
		return PCMA, true
	case name == PCMU || strings.EqualFold(name, PCMU):
		return PCMU, true
	case name == Opus || strings.EqualFold(name, Opus):
		return Opus, true
	}
	return "", false
}

// ClockRate is the rate of a codec's RTP timestamps in Hz: 8000 for G.711
// (RFC 3551), 48000 for Opus whatever it carries (RFC 7587 section 4.1). It is
// 0 for an unknown codec.
func ClockRate(name string) int {
	switch c, _ := Canonical(name); c {
	case PCMA, PCMU:
		return 8000
	case Opus:
		return 48000
	}
	return 0
}

// PayloadTicks is how far a payload advances the RTP timestamp, 0 if it is
// malformed.
func PayloadTicks(name string, payload []byte) int {
	switch c, _ := Canonical(name); c {
	case PCMA, PCMU:
		return len(payload)
	case Opus:
		return opusSamples(payload, 48000)
	}
	return 0
}

// FrameTicks is the advance of the RTP timestamp per 20 ms frame.
func FrameTicks(name string) uint32 { return uint32(ClockRate(name) / 50) }

// An Encoder makes payloads of one stream from mono PCM.
type Encoder struct {
	name string
	rate int
	opus *opusEncoder
}

// NewEncoder returns an encoder for PCM of rate Hz: 8000 for G.711; 8000,
// 16000, 24000 or 48000 for Opus, whose timestamps run at 48000 regardless.
func NewEncoder(name string, rate int) (*Encoder, error) {
	c, err := check(name, rate)
	if err != nil {
		return nil, err
	}
	e := &Encoder{name: c, rate: rate}
	if c == Opus {
		if e.opus, err = newOpusEncoder(rate, liveComplexity); err != nil {
			return nil, fmt.Errorf("open opus encoder: %w", err)
		}
	}
	return e, nil
}

func check(name string, rate int) (string, error) {
	c, ok := Canonical(name)
	if !ok {
		return "", fmt.Errorf("%w %q", ErrUnknown, name)
	}
	switch {
	case rate == 8000, c == Opus && (rate == 16000 || rate == 24000 || rate == 48000):
		return c, nil
	}
	return "", fmt.Errorf("codec %s at %d Hz: unsupported rate", c, rate)
}

// Rate is the PCM rate in Hz.
func (e *Encoder) Rate() int { return e.rate }

// Encode appends the payload of pcm to dst. G.711 takes any length; Opus
// takes a legal frame (2.5, 5, 10, 20, 40 or 60 ms).
func (e *Encoder) Encode(dst []byte, pcm []int16) ([]byte, error) {
	switch e.name {
	case PCMA:
		return AppendALaw(dst, pcm), nil
	case PCMU:
		return AppendMuLaw(dst, pcm), nil
	}
	return e.opus.encode(dst, pcm)
}

// A Decoder makes mono PCM from the payloads of one stream.
type Decoder struct {
	name    string
	rate    int
	opus    *opusDecoder
	conceal concealer
}

// NewDecoder returns a decoder to PCM of rate Hz, with the same choice of
// rates as NewEncoder.
func NewDecoder(name string, rate int) (*Decoder, error) {
	c, err := check(name, rate)
	if err != nil {
		return nil, err
	}
	d := &Decoder{name: c, rate: rate}
	if c == Opus {
		if d.opus, err = newOpusDecoder(rate); err != nil {
			return nil, fmt.Errorf("open opus decoder: %w", err)
		}
	}
	return d, nil
}

// Rate is the PCM rate in Hz.
func (d *Decoder) Rate() int { return d.rate }

// Decode appends the PCM of one payload to dst. An empty Opus payload is a
// frame of discontinuous transmission and yields 20 ms of comfort noise.
func (d *Decoder) Decode(dst []int16, payload []byte) ([]int16, error) {
	start := len(dst)
	switch d.name {
	case PCMA:
		dst = AppendFromALaw(dst, payload)
	case PCMU:
		dst = AppendFromMuLaw(dst, payload)
	default:
		if len(payload) == 0 {
			return d.opus.plc(dst, d.rate/50)
		}
		return d.opus.decode(dst, payload)
	}
	d.conceal.good(dst[start:])
	return dst, nil
}

// Conceal appends samples of PCM in place of lost packets. next, which may be
// nil, is the payload that follows the loss: Opus recovers the last frame
// before it from its in-band FEC. G.711 repeats the last pitch period and
// fades to silence within 60 ms (after ITU-T G.711 Appendix I).
func (d *Decoder) Conceal(dst []int16, samples int, next []byte) ([]int16, error) {
	if d.name != Opus {
		return d.conceal.lost(dst, samples), nil
	}
	var err error
	frame := d.rate / 50
	if n := opusSamples(next, d.rate); n > 0 {
		frame = n
	}
	for samples > 0 {
		// FEC of the next packet covers exactly one frame before it.
		if samples <= frame && len(next) > 0 && samples%(d.rate/400) == 0 {
			return d.opus.fec(dst, next, samples)
		}
		n := min(frame, samples)
		if dst, err = d.opus.plc(dst, n); err != nil {
			return dst, err
		}
		samples -= n
	}
	return dst, nil
}
