package main

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ha1 prints the digests that routing.yaml stores instead of a password
// (RFC 7616 section 3.4.2).
func ha1(_ context.Context, e *env, words []string) error {
	if err := need(words, "the user", "the realm"); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(e.stdin, 4096))
	if err != nil {
		return fmt.Errorf("ha1: read the password: %w", err)
	}
	password := strings.TrimRight(string(raw), "\r\n")
	if password == "" {
		return errors.New("ha1: the password on stdin is empty")
	}
	a1 := []byte(words[0] + ":" + words[1] + ":" + password)
	s, m := sha256.Sum256(a1), md5.Sum(a1)
	fmt.Fprintf(e.stdout, "ha1_sha256: %s\nha1_md5: %s\n", hex.EncodeToString(s[:]), hex.EncodeToString(m[:]))
	return nil
}
