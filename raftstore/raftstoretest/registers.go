package raftstoretest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"sync"
)

// Op is a command to Registers. Session and Seq tell repeats: a session has one
// command under way at a time and counts them from 1.
type Op struct {
	Session string `json:"s"`
	Seq     uint64 `json:"n"`
	Kind    OpKind `json:"o"`
	Key     string `json:"k"`
	Value   string `json:"v,omitempty"`
	Expect  string `json:"x,omitempty"` // of a swap: what the register must hold
	Pad     string `json:"p,omitempty"` // makes it longer
}

// OpKind says what an Op does.
type OpKind string

const (
	OpRead   OpKind = "read"   // Value is returned
	OpWrite  OpKind = "write"  // Value is put in
	OpSwap   OpKind = "swap"   // Value is put in if the register holds Expect
	OpAppend OpKind = "append" // Value is put behind what is there
)

// Outcome is the reply to an Op.
type Outcome struct {
	Value string `json:"v,omitempty"` // what the register held before
	OK    bool   `json:"ok"`          // the swap was done; true for the others
	Stale bool   `json:"stale,omitempty"`
}

// Apply is what an Op does to a register: the model of Registers, without
// repeats.
func (o Op) Apply(held string) (now string, out Outcome) {
	out = Outcome{Value: held, OK: true}
	switch o.Kind {
	case OpWrite:
		held = o.Value
	case OpSwap:
		if out.OK = held == o.Expect; out.OK {
			held = o.Value
		}
	case OpAppend:
		held += o.Value
	}
	return held, out
}

// Registers is a state machine of named registers, which hold "" at first. It
// answers a repeated command from memory and does it once, as the product's
// machine does.
type Registers struct {
	mu    sync.Mutex
	state registers
}

type registers struct {
	Index    uint64             `json:"index"`
	Held     map[string]string  `json:"held"`
	Sessions map[string]session `json:"sessions"`
	Repeats  int                `json:"-"`
}

type session struct {
	Seq  uint64  `json:"n"`
	Last Outcome `json:"last"`
}

// NewRegisters makes an empty machine.
func NewRegisters() *Registers {
	return &Registers{state: registers{Held: map[string]string{}, Sessions: map[string]session{}}}
}

// Apply does a command, which is an Op as JSON. It panics on another.
func (r *Registers) Apply(index uint64, _ int64, data []byte) []byte {
	var op Op
	if err := json.Unmarshal(data, &op); err != nil {
		panic(fmt.Sprintf("raftstoretest: log index %d: %v", index, err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Index = index
	return encode(r.do(op))
}

func (r *Registers) do(op Op) Outcome {
	s := r.state.Sessions[op.Session]
	switch {
	case op.Seq == s.Seq:
		r.state.Repeats++
		return s.Last
	case op.Seq < s.Seq:
		r.state.Repeats++
		return Outcome{Stale: true}
	}
	now, out := op.Apply(r.state.Held[op.Key])
	if now != "" {
		r.state.Held[op.Key] = now
	}
	r.state.Sessions[op.Session] = session{op.Seq, out}
	return out
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return b
}

// Snapshot captures the registers.
func (r *Registers) Snapshot() (func(io.Writer) error, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	copied := registers{r.state.Index, maps.Clone(r.state.Held), maps.Clone(r.state.Sessions), 0}
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(copied) }, nil
}

// Restore replaces them.
func (r *Registers) Restore(src io.Reader) error {
	var state registers
	if err := json.NewDecoder(src).Decode(&state); err != nil {
		return fmt.Errorf("decode the registers: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state
	return nil
}

// Hash is of the whole state: equal on nodes that applied the same. It returns
// the index it is of.
func (r *Registers) Hash() (index uint64, hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Index, fmt.Sprintf("%x", sha256.Sum256(encode(r.state)))
}
