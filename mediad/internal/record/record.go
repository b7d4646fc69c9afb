package record

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"trunkline/mediad/internal/codec"
)

// Side is the channel of the exported file that a leg is heard on.
type Side uint8

// The customer is on the left, everybody else on the right.
const (
	Customer Side = 0
	Operator Side = 1
)

// String returns "left" or "right".
func (s Side) String() string {
	if s == Customer {
		return "left"
	}
	return "right"
}

// MarshalText makes a Side readable in JSON.
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// CustomerLeg is the leg id of the caller in every call.
const CustomerLeg = "1"

// SideOf is the side of a leg: the caller's leg is the customer, every other
// (operators one after another, supervisors) is the operator's side.
func SideOf(leg string) Side {
	if leg == CustomerLeg {
		return Customer
	}
	return Operator
}

// Packet is one RTP packet received from a leg, decrypted. Append copies what
// it needs.
type Packet struct {
	Call, Leg   string
	Side        Side
	Arrival     time.Time
	Codec       string // SDP name: PCMA, PCMU, opus, telephone-event, CN
	PayloadType uint8
	Seq         uint16
	Timestamp   uint32
	SSRC        uint32
	Payload     []byte
}

// Config holds the settings of a Log; zero values mean the defaults.
type Config struct {
	SegmentBytes int64         // a segment is sealed at this size; 256 MiB
	QueueBytes   int           // ring between Append and the disk, rounded up to a power of two; 32 MiB
	SyncEvery    time.Duration // group fsync; 250 ms: the most that a power loss costs
	SegmentAge   time.Duration // a segment is sealed at this age; 15 min
	Logger       *slog.Logger

	files fileSystem // the disk; replaced to test its failures
}

// DefaultSegmentAge bounds how long what was recorded stays in an unsealed
// segment, which is neither handed to a store nor removed.
const DefaultSegmentAge = 15 * time.Minute

func (c Config) withDefaults() Config {
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 256 << 20
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 32 << 20
	}
	if c.SyncEvery <= 0 {
		c.SyncEvery = 250 * time.Millisecond
	}
	if c.SegmentAge <= 0 {
		c.SegmentAge = DefaultSegmentAge
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.files == nil {
		c.files = disk{}
	}
	return c
}

var (
	// ErrNoRecording: no segment holds the call.
	ErrNoRecording = errors.New("no recording of this call")
	// ErrErased: the call was recorded, and its keys were destroyed.
	ErrErased = errors.New("the keys of this call were erased; its recording is unreadable for ever")
	// ErrMasterKey: the segments were written under another master key.
	ErrMasterKey = errors.New("wrong master key")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("recording log is closed")
	// ErrCallID: a call id is empty or longer than a key slot holds.
	ErrCallID = errors.New("call id is empty or too long")
	// ErrLabel: a label is longer than a key slot holds.
	ErrLabel = errors.New("label is too long")
	// ErrInUse: another process writes to the folder.
	ErrInUse = errors.New("recording folder is in use by another process")
)

// ReadMasterKey reads a master key file: 32 bytes in base64, on one line.
func ReadMasterKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		// The decoder's message would quote the key.
		return nil, fmt.Errorf("read master key %s: not base64", path)
	}
	if len(key) != masterKeySize {
		return nil, fmt.Errorf("read master key %s: %d bytes, want %d", path, len(key), masterKeySize)
	}
	return key, nil
}

// The codec octet of a stored packet. Numbers are for ever. The last two are
// no packets but notes about the call, without leg and payload.
const (
	codecOther = iota
	codecPCMA
	codecPCMU
	codecOpus
	codecEvent        // RFC 4733; header only
	codecComfortNoise // RFC 3389
	notePaused
	noteResumed
)

func codecNumber(name string) byte {
	switch name {
	case codec.PCMA:
		return codecPCMA
	case codec.PCMU:
		return codecPCMU
	case codec.Opus:
		return codecOpus
	}
	if c, ok := codec.Canonical(name); ok {
		return codecNumber(c)
	}
	switch {
	case strings.EqualFold(name, "telephone-event"):
		return codecEvent
	case strings.EqualFold(name, "CN"):
		return codecComfortNoise
	}
	return codecOther
}

// codecName is the inverse for codecs that can be heard; "" for others.
func codecName(number byte) string {
	switch number {
	case codecPCMA:
		return codec.PCMA
	case codecPCMU:
		return codec.PCMU
	case codecOpus:
		return codec.Opus
	}
	return ""
}
