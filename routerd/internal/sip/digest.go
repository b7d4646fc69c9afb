package sip

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"strconv"
	"strings"
	"time"
)

// Algorithm is a digest algorithm (RFC 8760).
type Algorithm string

// Algorithms, in the order they are offered.
const (
	SHA256 Algorithm = "SHA-256"
	MD5    Algorithm = "MD5"
)

func (a Algorithm) hash() hash.Hash {
	if a == MD5 {
		return md5.New()
	}
	return sha256.New()
}

func (a Algorithm) hex(s string) string {
	h := a.hash()
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}

// HA1 is the stored form of a password (RFC 7616 section 3.4.2).
func HA1(a Algorithm, user, realm, password string) string {
	return a.hex(user + ":" + realm + ":" + password)
}

// Authenticator challenges and checks by HTTP digest (RFC 7616, RFC 8760). It
// keeps no state: a nonce is a time and an HMAC of it under a secret all
// routers share, so any of them can check what another one gave out. Whether a
// nonce was used before is for who keeps Proof.Nonce and Proof.Count.
type Authenticator struct {
	Realm  string
	Secret []byte
	MaxAge time.Duration // of a nonce; 0 means 5 min
	// HA1 looks up the stored digest of a user, in hex.
	HA1 func(user string, a Algorithm) (string, bool)
	// Peers are names of users there are. A challenge for a name nobody has offers
	// what one of them, always the same, is offered. None: all algorithms.
	Peers func() (n int, at func(i int) string)
}

// Proof is what the credentials of a request came to.
type Proof struct {
	User  string // proven; empty: not
	Nonce string
	Count uint32 // of the nonce's uses (nc); 0 where the client does not count
	Wrong bool   // there were credentials of ours and they were not right
}

// maxSkew is how far ahead of this node's clock another's nonce may be.
const maxSkew = 10 * time.Second

func (a *Authenticator) maxAge() time.Duration {
	if a.MaxAge > 0 {
		return a.MaxAge
	}
	return 5 * time.Minute
}

// nonce is 8 bytes of time and 16 of HMAC-SHA256 over it and the realm.
func (a *Authenticator) nonce(at Time) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(at))
	m := hmac.New(sha256.New, a.Secret)
	m.Write([]byte("nonce\x00" + a.Realm + "\x00"))
	m.Write(b[:])
	return base64.RawURLEncoding.EncodeToString(append(b[:], m.Sum(nil)[:16]...))
}

// ours reports whether a nonce is from this cluster, and whether it is fresh.
func (a *Authenticator) ours(now Time, nonce string) (real, fresh bool) {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 24 {
		return false, false
	}
	at := Time(binary.BigEndian.Uint64(b))
	if subtle.ConstantTimeCompare([]byte(a.nonce(at)), []byte(nonce)) != 1 {
		return false, false
	}
	age := now.Sub(at)
	return true, age <= a.maxAge() && age >= -maxSkew
}

// Challenge is the 401 for a request of this user without valid credentials.
// Only algorithms the user has a digest for are offered: phones that know MD5
// alone fail when they see another beside it (baresip 1.1 does). A name nobody has
// is offered what some user is, so that no challenge tells whether a name exists.
func (a *Authenticator) Challenge(now Time, user string, stale bool) Refusal {
	ref := Refusal{Code: 401, Reason: "Unauthorized"}
	nonce := a.nonce(now)
	offer, some := a.offer(user), a.offer(a.peer(user))
	if len(offer) == 0 {
		offer = some
	}
	if len(offer) == 0 {
		offer = []Algorithm{SHA256, MD5}
	}
	for _, alg := range offer {
		v := `Digest realm="` + a.Realm + `", nonce="` + nonce + `", algorithm=` + string(alg) + `, qop="auth"`
		if stale {
			v += ", stale=true"
		}
		ref.Headers = append(ref.Headers, Header{"WWW-Authenticate", v})
	}
	return ref
}

// offer are the algorithms a user has a digest for.
func (a *Authenticator) offer(user string) (out []Algorithm) {
	for _, alg := range []Algorithm{SHA256, MD5} {
		if _, ok := a.HA1(user, alg); ok {
			out = append(out, alg)
		}
	}
	return out
}

// peer is the user whose challenge a name nobody has is given.
func (a *Authenticator) peer(name string) string {
	if a.Peers == nil {
		return ""
	}
	n, at := a.Peers()
	if n == 0 {
		return ""
	}
	m := hmac.New(sha256.New, a.Secret)
	m.Write([]byte("peer\x00" + name))
	return at(int(binary.BigEndian.Uint64(m.Sum(nil)) % uint64(n)))
}

// Check returns what a request proves, and the refusal to send if that is
// nothing. An unknown user and a wrong password get the same 401 in the same time.
func (a *Authenticator) Check(now Time, req *Request) (proof Proof, refused *Refusal) {
	no := func(stale bool) (Proof, *Refusal) {
		who := req.From() // who calls; a registration is its To's
		if req.Method == "REGISTER" {
			who = req.To()
		}
		ref := a.Challenge(now, who.User(), stale)
		return proof, &ref
	}
	stale := false
	for _, line := range req.Values("Authorization") {
		c, err := parseCredentials(line)
		if err != nil || c.Realm != a.Realm {
			continue
		}
		real, fresh := a.ours(now, c.Nonce)
		if !a.verify(req.Method, c) || !real {
			proof.Wrong = true
			continue
		}
		if !fresh {
			stale = true // the password is right, only the nonce is old
			continue
		}
		count, _ := strconv.ParseUint(c.NC, 16, 32)
		return Proof{User: c.User, Nonce: c.Nonce, Count: uint32(count)}, nil
	}
	proof.Wrong = proof.Wrong && !stale
	return no(stale)
}

// verify compares the response. For an unknown user the same work is done
// against a digest nothing hashes to.
func (a *Authenticator) verify(method string, c credentials) bool {
	ha1, known := a.HA1(c.User, c.Algorithm)
	if !known {
		ha1 = strings.Repeat("0", 2*c.Algorithm.hash().Size())
	}
	want := c.response(method, strings.ToLower(ha1))
	return subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.Response))) == 1 && known
}

// credentials are a Digest Authorization value.
type credentials struct {
	User, Realm, Nonce, URI, Response string
	QOP, NC, CNonce                   string
	Algorithm                         Algorithm
}

// response is the digest for these credentials (RFC 7616 section 3.4.1; without
// qop RFC 2617 section 3.2.2.1).
func (c credentials) response(method, ha1 string) string {
	ha2 := c.Algorithm.hex(method + ":" + c.URI)
	if c.QOP == "" {
		return c.Algorithm.hex(ha1 + ":" + c.Nonce + ":" + ha2)
	}
	return c.Algorithm.hex(strings.Join([]string{ha1, c.Nonce, c.NC, c.CNonce, c.QOP, ha2}, ":"))
}

func parseCredentials(v string) (credentials, error) {
	c := credentials{Algorithm: MD5}
	scheme, rest, ok := strings.Cut(strings.TrimSpace(v), " ")
	if !ok || !strings.EqualFold(scheme, "Digest") {
		return c, errors.New("not digest credentials")
	}
	parts, err := splitList(rest)
	if err != nil {
		return c, err
	}
	for _, p := range parts {
		name, value, _ := strings.Cut(p, "=")
		value = unquote(strings.TrimSpace(value))
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "username":
			c.User = value
		case "realm":
			c.Realm = value
		case "nonce":
			c.Nonce = value
		case "uri":
			c.URI = value
		case "response":
			c.Response = value
		case "qop":
			c.QOP = strings.ToLower(value)
		case "nc":
			c.NC = value
		case "cnonce":
			c.CNonce = value
		case "algorithm":
			c.Algorithm = Algorithm(strings.ToUpper(value))
		}
	}
	if c.Algorithm != MD5 && c.Algorithm != SHA256 {
		return c, errors.New("unknown algorithm")
	}
	if c.User == "" || c.Nonce == "" || c.URI == "" || c.Response == "" {
		return c, errors.New("incomplete credentials")
	}
	switch c.QOP {
	case "":
	case "auth":
		if _, err := strconv.ParseUint(c.NC, 16, 32); err != nil || len(c.NC) != 8 || c.CNonce == "" {
			return c, errors.New("qop without nc and cnonce")
		}
	default:
		return c, errors.New("unknown qop")
	}
	return c, nil
}
