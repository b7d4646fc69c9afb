// Package srtp protects and opens the packets of one leg (RFC 3711, RFC 7714)
// with keys from SDES (RFC 4568), over pion's contexts. It adds what a worker
// that may die needs of them: the whole state of a stream can be read out and
// set exactly, and one key never covers two plaintexts with one index.
//
// It refuses NULL ciphers within SRTP (Plain is RTP as such, for far ends that
// configuration marks), master key identifiers and key derivation rates. It
// opens no socket and keeps no time. Keys print as "[redacted]".
package srtp

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"

	"github.com/pion/srtp/v3"
)

// Suite is a crypto suite by its SDP name (RFC 4568 section 6.2, RFC 6188,
// RFC 7714 section 14.2).
type Suite string

// The suites taken and offered.
const (
	AESCM128SHA180 Suite = "AES_CM_128_HMAC_SHA1_80"
	AESCM128SHA132 Suite = "AES_CM_128_HMAC_SHA1_32"
	AESCM256SHA180 Suite = "AES_256_CM_HMAC_SHA1_80"
	AEAD128GCM     Suite = "AEAD_AES_128_GCM"
	AEAD256GCM     Suite = "AEAD_AES_256_GCM"
)

// Suites lists all suites in the order in which they are offered: GCM costs a
// third of what HMAC-SHA1 does.
func Suites() []Suite {
	return []Suite{AEAD128GCM, AESCM128SHA180, AEAD256GCM, AESCM256SHA180, AESCM128SHA132}
}

type params struct {
	profile   srtp.ProtectionProfile
	key, salt int // bytes
}

var suites = map[Suite]params{
	AESCM128SHA180: {srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	AESCM128SHA132: {srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
	AESCM256SHA180: {srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14},
	AEAD128GCM:     {srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
	AEAD256GCM:     {srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
}

// Known tells whether the suite is one of ours.
func (s Suite) Known() bool { _, ok := suites[s]; return ok }

// KeyBytes is the length of master key and salt together, as SDES carries them.
func (s Suite) KeyBytes() int { return suites[s].key + suites[s].salt }

// Key is a master key followed by its master salt.
type Key []byte

// NewKey returns a random key for the suite.
func NewKey(s Suite) Key {
	k := make(Key, s.KeyBytes())
	_, _ = rand.Read(k) // never fails (crypto/rand since Go 1.24)
	return k
}

// Inline is the key as SDES carries it.
func (k Key) Inline() string { return base64.StdEncoding.EncodeToString(k) }

// String keeps keys out of %v.
func (k Key) String() string { return "[redacted]" }

// GoString keeps keys out of %#v.
func (k Key) GoString() string { return "[redacted]" }

// LogValue keeps keys out of slog.
func (k Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }
