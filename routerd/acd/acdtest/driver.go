// Package acdtest drives the machine without a cluster: a script runner for
// behaviour, a check of the promises that must hold in every state, and a
// simulated far end that answers the machine's orders.
//
// It refuses to look inside the machine: everything it knows it has from the
// exported state, as a node would.
package acdtest

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// Epoch0 is the machine time drivers begin at.
const Epoch0 acd.Time = 1_700_000_000_000_000_000

// Driver applies commands to a machine as a cluster would: through the wire
// format, and to a second replica as well, which must give the same results,
// effects and hash.
type Driver struct {
	M     *acd.Machine
	Clock acd.Time // the stamp of the next command
	// Alone drives one machine only, without the wire format: much faster.
	Alone bool

	twin  *acd.Machine
	index uint64
	seq   uint64
	last  acd.Command
	log   []Entry
}

// Entry is one applied log entry.
type Entry struct {
	Index uint64
	Stamp acd.Time
	Data  []byte
}

// NewDriver returns a driver of an empty machine.
func NewDriver() *Driver {
	return &Driver{M: acd.New(), twin: acd.New(), Clock: Epoch0}
}

// Propose applies a new command.
func (d *Driver) Propose(body acd.Body) (acd.Result, []acd.Effect, error) {
	d.seq++
	return d.ProposeAs(acd.Command{Session: "script", Seq: d.seq, Floor: d.seq - min(d.seq, 3), Body: body})
}

// Repeat applies the last command once more, as a proposer does that has not
// had its answer.
func (d *Driver) Repeat() (acd.Result, []acd.Effect, error) {
	return d.ProposeAs(d.last)
}

// ProposeAs applies a command with the session and numbers it bears.
func (d *Driver) ProposeAs(cmd acd.Command) (acd.Result, []acd.Effect, error) {
	d.last = cmd
	if d.Alone {
		d.index++
		cmd.Stamp = d.Clock
		result, effects := d.M.Apply(d.index, cmd)
		return result, effects, nil
	}
	data, err := acdwire.EncodeCommand(cmd)
	if err != nil {
		return acd.Result{}, nil, err
	}
	d.index++
	e := Entry{Index: d.index, Stamp: d.Clock, Data: data}
	d.log = append(d.log, e)
	result, effects, err := ApplyEntry(d.M, e)
	if err != nil {
		return result, effects, err
	}
	twinResult, twinEffects, err := ApplyEntry(d.twin, e)
	if err != nil {
		return result, effects, err
	}
	if !reflect.DeepEqual(result, twinResult) || !reflect.DeepEqual(effects, twinEffects) {
		return result, effects, fmt.Errorf("index %d: replicas differ: %+v %+v, twin %+v %+v", d.index, result, effects, twinResult, twinEffects)
	}
	return result, effects, nil
}

// ApplyEntry decodes and applies a log entry.
func ApplyEntry(m *acd.Machine, e Entry) (acd.Result, []acd.Effect, error) {
	cmd, err := acdwire.DecodeCommand(e.Data)
	if err != nil {
		return acd.Result{}, nil, err
	}
	cmd.Stamp = e.Stamp
	result, effects := m.Apply(e.Index, cmd)
	return result, effects, nil
}

// Compare fails if the twin's state is another one.
func (d *Driver) Compare() error {
	if d.Alone {
		return nil
	}
	if a, b := d.M.Hash(), d.twin.Hash(); a != b {
		return fmt.Errorf("index %d: hash %x, twin's %x", d.index, a[:8], b[:8])
	}
	return nil
}

// RestartTwin replaces the twin by one restored from the first machine's
// snapshot, as a node that catches up is.
func (d *Driver) RestartTwin() error {
	twin, err := Reload(d.M)
	if err != nil {
		return err
	}
	d.twin = twin
	return d.Compare()
}

// Log returns the entries applied so far.
func (d *Driver) Log() []Entry { return d.log }

// Since is the machine time since the driver began.
func (d *Driver) Since() time.Duration { return d.M.Now().Sub(Epoch0) }

// Reload writes a snapshot of the machine and restores another from it.
func Reload(m *acd.Machine) (*acd.Machine, error) {
	var buf bytes.Buffer
	if err := acdwire.EncodeState(&buf, m.Snapshot()); err != nil {
		return nil, err
	}
	s, err := acdwire.DecodeState(&buf)
	if err != nil {
		return nil, err
	}
	return acd.Restore(s)
}
