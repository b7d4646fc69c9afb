package config

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// PackSource compresses a tree's text for acd.ConfigApplied.
func PackSource(src []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // only for a level that is none
	}
	w.Write(src) // a buffer takes everything
	w.Close()
	return out.Bytes()
}

// UnpackSource is the inverse of PackSource; it refuses what would become
// larger than a tree may be.
func UnpackSource(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, errors.New("this version was applied without its text")
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack a routing tree: %w", err)
	}
	src, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("unpack a routing tree: %w", err)
	}
	if len(src) > maxSource {
		return nil, fmt.Errorf("unpack a routing tree: over %d bytes", maxSource)
	}
	return src, nil
}
