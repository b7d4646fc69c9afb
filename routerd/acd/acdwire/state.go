package acdwire

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"trunkline/routerd/acd"
)

// stateFormat is the first thing in a snapshot's header.
const stateFormat = 2

// header begins a snapshot and says how many items follow the state.
type header struct {
	_      struct{} `cbor:",toarray"`
	Magic  string
	Format uint
	Calls  int
	Chunks int
}

const magic = "trunkline-acd"

// EncodeState writes a snapshot: the header, the state without calls and facts,
// each call, each chunk of facts as bytes, and the hash of the state. It may run beside
// the machine's Apply.
func EncodeState(w io.Writer, s *acd.State) error {
	sum := s.Hash() // sorts
	out := bufio.NewWriterSize(w, 64<<10)
	enc := encoding.NewEncoder(out)
	write := func(v any) error {
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		return nil
	}
	if err := write(header{Magic: magic, Format: stateFormat, Calls: len(s.Calls), Chunks: len(s.Facts)}); err != nil {
		return err
	}
	if err := write(s); err != nil {
		return err
	}
	for _, c := range s.Calls {
		if err := write(c); err != nil {
			return err
		}
	}
	for _, chunk := range s.Facts {
		if err := write(chunk); err != nil {
			return err
		}
	}
	if err := write(sum[:]); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// DecodeState is the inverse of EncodeState. It fails unless the hash fits.
func DecodeState(r io.Reader) (*acd.State, error) {
	dec := decoding.NewDecoder(r)
	var h header
	if err := read(dec, &h); err != nil {
		return nil, err
	}
	if h.Magic != magic || h.Format != stateFormat || h.Calls < 0 || h.Chunks < 0 {
		return nil, fmt.Errorf("%w snapshot: not of format %d", ErrMalformed, stateFormat)
	}
	s := new(acd.State)
	if err := read(dec, s); err != nil {
		return nil, err
	}
	for range h.Calls {
		c := new(acd.Call)
		if err := read(dec, c); err != nil {
			return nil, err
		}
		s.Calls = append(s.Calls, c)
	}
	for range h.Chunks {
		var chunk []byte
		if err := read(dec, &chunk); err != nil {
			return nil, err
		}
		s.Facts = append(s.Facts, chunk)
	}
	var sum []byte
	if err := read(dec, &sum); err != nil {
		return nil, err
	}
	if s.Hash() != [32]byte(append(sum, make([]byte, 32)...)[:32]) || len(sum) != 32 {
		return nil, fmt.Errorf("%w snapshot: its hash does not fit", ErrMalformed)
	}
	if err := dec.Decode(new(cbor.RawMessage)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w snapshot: something follows its end", ErrMalformed)
	}
	return s, nil
}

func read(dec *cbor.Decoder, v any) error {
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w snapshot: %w", ErrMalformed, err)
	}
	return nil
}
