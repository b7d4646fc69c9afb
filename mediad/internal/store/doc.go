// Package store is where recordings go from the workers' disks: a folder, of
// another disk or a network file system, or a bucket of an S3-compatible service.
//
// What Put has returned from is durable there and has been read back and compared
// with what was given, by SHA-256. A new object is there whole or not at all. In a
// folder, one of the same size is overwritten in place.
//
// A bucket that keeps old versions is refused: the destroyed key of a call would
// live on in one of them.
//
// It knows nothing of segments, keys and calls.
package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

var (
	// ErrDiffers: what was read back is not what was put.
	ErrDiffers = errors.New("store gives back other bytes than it was given")
	// ErrVersions: the bucket keeps old versions.
	ErrVersions = errors.New("bucket keeps old versions, so that nothing could be removed for certain")
	// ErrName: a name would leave the store, or be hidden in it.
	ErrName = errors.New("not a name of the store")
)

func checkName(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.Contains("/"+name, "/.") {
		return fmt.Errorf("%q: %w", name, ErrName)
	}
	return nil
}

// sumOf is the SHA-256 of what a reader gives.
func sumOf(r io.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}
