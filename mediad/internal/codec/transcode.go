package codec

import "fmt"

// A Transcoder turns the payloads of one codec into those of another. Where
// one side is G.711 both work at 8 kHz: libopus codes and decodes that rate
// itself, so nothing is resampled.
type Transcoder struct {
	from, to string
	decoder  *Decoder
	encoder  *Encoder
	pcm      []int16
}

// NewTranscoder opens a transcoder from one codec to another. Equal codecs
// are allowed and copy the payload.
func NewTranscoder(from, to string) (*Transcoder, error) {
	f, ok := Canonical(from)
	if !ok {
		return nil, fmt.Errorf("transcode from: %w %q", ErrUnknown, from)
	}
	t, ok := Canonical(to)
	if !ok {
		return nil, fmt.Errorf("transcode to: %w %q", ErrUnknown, to)
	}
	rate := 8000
	if f == Opus && t == Opus {
		rate = 48000
	}
	decoder, err := NewDecoder(f, rate)
	if err != nil {
		return nil, err
	}
	encoder, err := NewEncoder(t, rate)
	if err != nil {
		return nil, err
	}
	return &Transcoder{from: f, to: t, decoder: decoder, encoder: encoder, pcm: make([]int16, 0, rate*120/1000)}, nil
}

// Transcode appends the translation of payload to dst. It covers the same
// time; a length that Opus cannot code (30 ms of G.711, say) is an error.
func (t *Transcoder) Transcode(dst, payload []byte) ([]byte, error) {
	if t.from == t.to {
		return append(dst, payload...), nil
	}
	pcm, err := t.decoder.Decode(t.pcm[:0], payload)
	if err != nil {
		return dst, fmt.Errorf("transcode %s to %s: %w", t.from, t.to, err)
	}
	return t.encoder.Encode(dst, pcm)
}

// Lost appends a payload in place of a lost 20 ms packet; next is the payload
// after it, if it is there already. Between equal codecs a loss is left to the
// far end, and nothing is appended.
func (t *Transcoder) Lost(dst, next []byte) ([]byte, error) {
	if t.from == t.to {
		return dst, nil
	}
	pcm, err := t.decoder.Conceal(t.pcm[:0], t.decoder.Rate()/50, next)
	if err != nil {
		return dst, fmt.Errorf("conceal %s: %w", t.from, err)
	}
	return t.encoder.Encode(dst, pcm)
}
