// Package acdwire is how the machine's commands, results and state look as
// bytes: CBOR (RFC 8949) in core deterministic encoding.
//
// A command is the array
//
//	[version, type, session, seq, floor, body]
//
// whose body is a map with the integer keys of its Go type's tags; a large one
// is deflated, which version 2 says, see pack.go. The stamp is
// not in it: the leader of the log stamps the entry. A snapshot is the sequence
// (RFC 8742) described at EncodeState.
//
// Numbers of types and keys are never reused and never change their meaning;
// testdata/commands.txt pins one encoding of every type. Decoding is strict:
// an unknown type, key or version is an error, because a replica that skipped
// what it doesn't know would diverge. Only text is taken as it comes, even if
// it isn't UTF-8: it comes from other people's SIP messages, and no caller may
// stop a cluster.
//
// The package refuses to know what any command means.
package acdwire

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"trunkline/routerd/acd"
)

// version is the first item of every command. Another one means another
// envelope, not another set of commands.
const version = 1

// ErrMalformed is wrapped by all errors of the decoders.
var ErrMalformed = errors.New("malformed")

// types lists the commands by number. Append only; a number whose command is
// gone stays nil.
var types = []acd.Body{
	1:  acd.ConfigApplied{},
	2:  acd.NodeStarted{},
	3:  acd.NodeDied{},
	4:  acd.WorkerStarted{},
	5:  acd.WorkerDied{},
	6:  acd.Ticked{},
	7:  acd.CallArrived{},
	8:  acd.CallClaimed{},
	9:  acd.LegProgressed{},
	10: acd.LegAnswered{},
	11: acd.LegFailed{},
	12: acd.LegEnded{},
	13: acd.LegUpdated{},
	14: acd.PromptStarted{},
	15: acd.AgentStatusSet{},
	16: acd.RegistrationChanged{},
	17: acd.DigitsCollected{},
	18: acd.CallTagged{},
	19: acd.CallTransferred{},
	20: acd.CallbackRequested{},
	21: acd.TaskCreated{},
	22: acd.TaskCancelled{},
	23: acd.WrapUpSet{},
	24: acd.DialogsAudited{},
	25: acd.HashReported{},
	26: acd.Activated{},
	27: acd.FactsConfirmed{},
	28: acd.SinkConfirmed{},
	29: acd.TrunkStateChanged{},
	30: acd.BindingsChanged{},
	31: acd.LegHeld{},
	32: acd.LegResumed{},
	33: acd.CallReferred{},
	34: acd.AgentDialled{},
	35: acd.CallsJoined{},
	36: acd.CallPickedUp{},
	37: acd.LinkAlarmChanged{},
	38: acd.CallSupervised{},
	39: acd.HelpAsked{},
}

var numbers = func() map[reflect.Type]uint {
	byType := make(map[reflect.Type]uint, len(types))
	for n, body := range types {
		if body != nil {
			byType[reflect.TypeOf(body)] = uint(n)
		}
	}
	return byType
}()

type envelope struct {
	_       struct{} `cbor:",toarray"`
	Version uint
	Type    uint
	Session string
	Seq     uint64
	Floor   uint64
	Body    cbor.RawMessage
}

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8DecodeInvalid,
		MaxArrayElements:  1 << 24,
		MaxMapPairs:       1 << 10,
	}.DecMode())
)

// must is for options that are constants: they are right or no test passes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// EncodeCommand returns the bytes of the command without its stamp.
func EncodeCommand(cmd acd.Command) ([]byte, error) {
	number, ok := numbers[reflect.TypeOf(cmd.Body)]
	if !ok {
		return nil, fmt.Errorf("encode command: %T has no number", cmd.Body)
	}
	body, err := encoding.Marshal(cmd.Body)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", cmd.Body, err)
	}
	form := uint(version)
	if len(body) > packAbove {
		form = versionPacked
		if body, err = pack(body); err != nil {
			return nil, fmt.Errorf("encode %T: %w", cmd.Body, err)
		}
	}
	data, err := encoding.Marshal(envelope{
		Version: form, Type: number, Session: cmd.Session, Seq: cmd.Seq, Floor: cmd.Floor, Body: body,
	})
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", cmd.Body, err)
	}
	return data, nil
}

// DecodeCommand is the inverse of EncodeCommand; Stamp is 0. Its errors wrap
// ErrMalformed: the node must stop rather than leave the entry out.
func DecodeCommand(data []byte) (acd.Command, error) {
	var e envelope
	if err := decoding.Unmarshal(data, &e); err != nil {
		return acd.Command{}, fmt.Errorf("%w command: %w", ErrMalformed, err)
	}
	if e.Version != version && e.Version != versionPacked {
		return acd.Command{}, fmt.Errorf("%w command: version %d", ErrMalformed, e.Version)
	}
	if e.Type >= uint(len(types)) || types[e.Type] == nil {
		return acd.Command{}, fmt.Errorf("%w command: unknown type %d", ErrMalformed, e.Type)
	}
	if e.Version == versionPacked {
		var err error
		if e.Body, err = unpack(e.Body); err != nil {
			return acd.Command{}, fmt.Errorf("%w command of type %d: %w", ErrMalformed, e.Type, err)
		}
	}
	body, err := decodeBody(e.Type, e.Body)
	if err != nil {
		return acd.Command{}, fmt.Errorf("%w command of type %d: %w", ErrMalformed, e.Type, err)
	}
	return acd.Command{Session: e.Session, Seq: e.Seq, Floor: e.Floor, Body: body}, nil
}

func decodeBody(number uint, data []byte) (acd.Body, error) {
	v := reflect.New(reflect.TypeOf(types[number]))
	if err := decoding.Unmarshal(data, v.Interface()); err != nil {
		return nil, err
	}
	return v.Elem().Interface().(acd.Body), nil
}

// EncodeResult returns the bytes of the answer for a proposer.
func EncodeResult(r acd.Result) ([]byte, error) {
	data, err := encoding.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return data, nil
}

// DecodeResult is the inverse of EncodeResult.
func DecodeResult(data []byte) (acd.Result, error) {
	var r acd.Result
	if err := decoding.Unmarshal(data, &r); err != nil {
		return acd.Result{}, fmt.Errorf("%w result: %w", ErrMalformed, err)
	}
	return r, nil
}
