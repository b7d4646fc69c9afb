package acdwire

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
)

// A body of more than packAbove bytes is written as a byte string that holds
// it deflated (RFC 1951), in a command of version 2. What a proposer writes
// depends on its compressor; what is read from it doesn't.
//
// Only routing trees are that large: one of 10 000 agents takes 1.6 MB, 2.3 MB
// with its text, and 1.3 MB deflated (TestALargeTreeFits). The leader's
// heartbeats wait behind such an entry.
const (
	versionPacked = 2
	packAbove     = 64 << 10
	maxUnpacked   = 64 << 20
)

func pack(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return encoding.Marshal(out.Bytes())
}

func unpack(body []byte) ([]byte, error) {
	var packed []byte
	if err := decoding.Unmarshal(body, &packed); err != nil {
		return nil, err
	}
	in := bytes.NewReader(packed)
	r := flate.NewReader(in)
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("deflated body: %w", err)
	}
	if len(out) <= packAbove || len(out) > maxUnpacked || in.Len() > 0 {
		return nil, fmt.Errorf("deflated body of %d bytes, %d behind it", len(out), in.Len())
	}
	return out, nil
}
