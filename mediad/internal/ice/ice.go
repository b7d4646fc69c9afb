// Package ice is the lite side of ICE (RFC 8445 section 2.5): it answers a
// peer's connectivity checks, and says which of them authenticate.
//
// It sends no checks, gathers no candidates and keeps no pairs. What a check
// moves is the caller's to decide: a check that is seen again authenticates
// again.
package ice

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/netip"

	"github.com/pion/stun/v3"

	"trunkline/mediad/internal/sdp"
)

// maxCheck bounds a check; real ones have under 200 bytes.
const maxCheck = 548 // RFC 8489 section 6.1: what any path takes

// ErrRefused is what a message meets that is no check of the peer's: wrong
// credentials, not integer, no request, not STUN. There is no answer to it: who
// does not know the password learns nothing here.
var ErrRefused = errors.New("no connectivity check of the peer")

// New makes credentials (RFC 8445 section 5.3: 24 and 128 bits at least).
func New() sdp.ICE {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand since Go 1.24)
	text := base64.RawStdEncoding.EncodeToString(b[:])
	return sdp.ICE{Ufrag: text[:8], Pwd: text[8:]}
}

// IsCheck tells whether a datagram is STUN (RFC 7983).
func IsCheck(b []byte) bool { return len(b) > 0 && b[0] < 4 }

// Answer answers a check that came from an address. ours are the credentials it
// has to know; peer is the peer's user fragment, "" while that is not known yet.
// nominated: this pair is the one to use.
func Answer(b []byte, from netip.AddrPort, ours sdp.ICE, peer string) (answer []byte, nominated bool, err error) {
	if len(b) > maxCheck {
		return nil, false, ErrRefused
	}
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return nil, false, ErrRefused
	}
	var name stun.Username
	if name.GetFrom(m) != nil || len(name) <= len(ours.Ufrag) || string(name[:len(ours.Ufrag)+1]) != ours.Ufrag+":" ||
		peer != "" && string(name[len(ours.Ufrag)+1:]) != peer {
		return nil, false, ErrRefused
	}
	integrity := stun.NewShortTermIntegrity(ours.Pwd)
	if integrity.Check(m) != nil || stun.Fingerprint.Check(m) != nil {
		return nil, false, ErrRefused
	}
	id := stun.NewTransactionIDSetter(m.TransactionID)
	// Both sides can't be the controlled one, and a lite side always is.
	if m.Contains(stun.AttrICEControlled) {
		r, err := stun.Build(id, stun.BindingError, stun.CodeRoleConflict, integrity, stun.Fingerprint)
		if err != nil {
			return nil, false, err
		}
		return r.Raw, false, nil
	}
	at := &stun.XORMappedAddress{IP: from.Addr().Unmap().AsSlice(), Port: int(from.Port())}
	r, err := stun.Build(id, stun.BindingSuccess, at, integrity, stun.Fingerprint)
	if err != nil {
		return nil, false, err
	}
	return r.Raw, m.Contains(stun.AttrUseCandidate), nil
}
