package record

import (
	"math"

	"trunkline/mediad/internal/codec"
)

// player turns a run into samples at the rate of the file, from its first
// packet to its last, concealing what is missing.
type player struct {
	run                *run
	rate               int // of the file
	pcmRate            int // of decoding
	start              int64
	decoders           map[byte]*codec.Decoder
	resample           *codec.Resampler // nil where the rates are equal
	stretch            *codec.Stretcher // nil where the sender's clock is true
	index              int              // next packet
	made               int64            // samples decoded since the run's start
	over               bool             // all packets are played
	decoded, stretched []int16          // scratch
	ready              []int16          // at the file's rate, not yet read
	taken              int              // of ready
	bad                int              // payloads that could not be decoded
}

// newPlayer plays a run in a file of rate Hz whose first sample is heard at
// origin.
func newPlayer(r *run, rate int, origin int64) (*player, error) {
	p := &player{run: r, rate: rate, pcmRate: rate, decoders: make(map[byte]*codec.Decoder)}
	if r.clock == 8000 {
		p.pcmRate = 8000 // G.711
	}
	p.start = int64(math.Round(float64(r.at(0)-origin) * float64(rate) / 1e9))
	if p.pcmRate != rate {
		var err error
		if p.resample, err = codec.NewResampler(p.pcmRate, rate); err != nil {
			return nil, err
		}
	}
	if r.drift != 0 {
		p.stretch = codec.NewStretcher(1 + r.drift)
	}
	return p, nil
}

// add mixes the run's part of the file that begins at sample from into mix.
// Calls come in order and without holes. It returns how much of mix belongs to
// the file on the run's account, and whether the run goes on behind it.
func (p *player) add(mix []int32, from int64) (used int, more bool, err error) {
	if p.start >= from+int64(len(mix)) {
		return len(mix), true, nil
	}
	at := int(max(0, p.start-from))
	for at < len(mix) {
		if p.taken == len(p.ready) {
			if p.over {
				return at, false, nil
			}
			if err := p.fill(); err != nil {
				return at, false, err
			}
			continue
		}
		n := min(len(mix)-at, len(p.ready)-p.taken)
		for i, s := range p.ready[p.taken : p.taken+n] {
			mix[at+i] += int32(s)
		}
		p.taken += n
		at += n
	}
	return at, true, nil
}

// fill makes the samples up to the end of the next packet, or of the run.
func (p *player) fill() error {
	p.ready, p.taken = p.ready[:0], 0
	pcm := p.decoded[:0]
	pcm, err := p.decode(pcm)
	if err != nil {
		return err
	}
	p.decoded = pcm
	p.made += int64(len(pcm))
	p.index++
	p.over = p.index == len(p.run.packets)
	if p.stretch != nil {
		p.stretched = p.stretch.Stretch(p.stretched[:0], pcm)
		if p.over {
			p.stretched = p.stretch.Flush(p.stretched)
		}
		pcm = p.stretched
	}
	if p.resample == nil {
		p.ready = append(p.ready, pcm...)
		return nil
	}
	p.ready = p.resample.Resample(p.ready, pcm)
	if p.over {
		p.ready = p.resample.Flush(p.ready)
	}
	return nil
}

// decode appends what is heard before the next packet and the packet itself.
func (p *player) decode(pcm []int16) ([]int16, error) {
	k := p.run.packets[p.index]
	if clockOf(k.codec) == 0 {
		return pcm, nil // an event; what follows knows its own time
	}
	decoder := p.decoders[k.codec]
	if decoder == nil {
		var err error
		if decoder, err = codec.NewDecoder(codecName(k.codec), p.pcmRate); err != nil {
			return pcm, err
		}
		p.decoders[k.codec] = decoder
	}
	missing := int(k.ts*int64(p.pcmRate)/p.run.clock - p.made)
	if missing > 0 {
		var err error
		if pcm, err = p.bridge(pcm, decoder, missing, k); err != nil {
			return pcm, err
		}
	}
	start := len(pcm)
	pcm, err := decoder.Decode(pcm, k.payload)
	if err != nil {
		p.bad++
		return decoder.Conceal(pcm, p.pcmRate/50, nil)
	}
	if missing < 0 { // it repeats time that has been played
		cut := min(-missing, len(pcm)-start)
		pcm = append(pcm[:start], pcm[start+cut:]...)
	}
	return pcm, nil
}

// bridge fills the time before packet k: lost packets are concealed, fading to
// silence, the last of them from k's own redundancy; a sender's silence is
// silent.
func (p *player) bridge(pcm []int16, decoder *codec.Decoder, missing int, k placed) ([]int16, error) {
	lost := p.index > 0 && k.n-p.run.packets[p.index-1].n > 1
	if !lost {
		return append(pcm, make([]int16, missing)...), nil
	}
	return decoder.Conceal(pcm, missing, k.payload)
}
