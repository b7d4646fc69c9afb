package codec

import "fmt"

// A Transcoder turns the payloads of one codec into 20 ms payloads of another,
// whatever time theirs cover. Where one side is G.711 both work at 8 kHz: libopus
// codes and decodes that rate itself, so nothing is resampled.
//
// Its caller plays payloads and conceals losses until Ready, then takes a Frame.
// Between A-law and mu-law there is no need for it; see Table.
type Transcoder struct {
	from, to string
	clock    int // of the RTP time coming in
	decoder  *Decoder
	encoder  *Encoder
	pcm      []int16 // decoded, not encoded yet
}

// NewTranscoder opens a transcoder from one codec to another.
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
	return &Transcoder{from: f, to: t, clock: ClockRate(f), decoder: decoder, encoder: encoder, pcm: make([]int16, 0, rate*160/1000)}, nil
}

// Play takes the next payload.
func (t *Transcoder) Play(payload []byte) error {
	pcm, err := t.decoder.Decode(t.pcm, payload)
	if err != nil {
		return fmt.Errorf("transcode %s to %s: %w", t.from, t.to, err)
	}
	t.pcm = pcm
	return nil
}

// Conceal makes up for a loss of so many ticks of the RTP time coming in; next is
// the payload after it, if it is there already.
func (t *Transcoder) Conceal(ticks uint32, next []byte) error {
	pcm, err := t.decoder.Conceal(t.pcm, int(ticks)*t.decoder.Rate()/t.clock, next)
	if err != nil {
		return fmt.Errorf("conceal %s: %w", t.from, err)
	}
	t.pcm = pcm
	return nil
}

// Ready tells whether 20 ms are there.
func (t *Transcoder) Ready() bool { return len(t.pcm) >= t.encoder.Rate()/50 }

// Frame appends the payload of 20 ms to dst.
func (t *Transcoder) Frame(dst []byte) ([]byte, error) {
	n := t.encoder.Rate() / 50
	dst, err := t.encoder.Encode(dst, t.pcm[:n])
	t.pcm = t.pcm[:copy(t.pcm, t.pcm[n:])]
	return dst, err
}

// Table is the other law's octet for each of one law, nil unless from and to are
// A-law and mu-law, in either order (ITU-T G.711). A payload keeps its length and
// time, and a loss stays one: nothing need be held or made up.
func Table(from, to string) *[256]byte {
	f, _ := Canonical(from)
	t, _ := Canonical(to)
	switch {
	case f == PCMA && t == PCMU:
		return &aLawToMuLaw
	case f == PCMU && t == PCMA:
		return &muLawToALaw
	}
	return nil
}

var aLawToMuLaw, muLawToALaw = func() (mu, a [256]byte) {
	for i := range 256 {
		mu[i] = AppendMuLaw(nil, AppendFromALaw(nil, []byte{byte(i)}))[0]
		a[i] = AppendALaw(nil, AppendFromMuLaw(nil, []byte{byte(i)}))[0]
	}
	return mu, a
}()
