package sip

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestDigestVectors(t *testing.T) {
	// RFC 2617 section 3.5.
	c := credentials{User: "Mufasa", Realm: "testrealm@host.com", Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
		URI: "/dir/index.html", QOP: "auth", NC: "00000001", CNonce: "0a4f113b", Algorithm: MD5}
	if got := c.response("GET", HA1(MD5, c.User, c.Realm, "Circle Of Life")); got != "6629fae49393a05397450978507c4ef1" {
		t.Errorf("RFC 2617 section 3.5: %s", got)
	}
	// RFC 7616 section 3.9.1.
	c = credentials{User: "Mufasa", Realm: "http-auth@example.org", Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
		URI: "/dir/index.html", QOP: "auth", NC: "00000001", CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", Algorithm: MD5}
	if got := c.response("GET", HA1(MD5, c.User, c.Realm, "Circle of Life")); got != "8ca523f5e9506fed4657c9700eebdbec" {
		t.Errorf("RFC 7616 section 3.9.1, MD5: %s", got)
	}
	c.Algorithm = SHA256
	if got := c.response("GET", HA1(SHA256, c.User, c.Realm, "Circle of Life")); got != "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1" {
		t.Errorf("RFC 7616 section 3.9.1, SHA-256: %s", got)
	}
}

const regTime = Time(1_700_000_000 * time.Second)

func testAuthenticator() *Authenticator {
	return &Authenticator{Realm: "trunkline", Secret: []byte("cluster secret"), HA1: func(user string, a Algorithm) (string, bool) {
		if user != "ann" {
			return "", false
		}
		return HA1(a, "ann", "trunkline", "secret"), true
	}}
}

// authorize makes an Authorization value that answers a challenge.
func authorize(ref Refusal, a Algorithm, user, password, method string) string {
	var nonce string
	for _, h := range ref.Headers {
		if strings.Contains(h.Value, "algorithm="+string(a)) {
			_, rest, _ := strings.Cut(h.Value, `nonce="`)
			nonce, _, _ = strings.Cut(rest, `"`)
		}
	}
	c := credentials{User: user, Realm: "trunkline", Nonce: nonce, URI: "sip:trunkline", QOP: "auth", NC: "00000001", CNonce: "cn", Algorithm: a}
	return fmt.Sprintf(`Digest username="%s", realm="trunkline", nonce="%s", uri="sip:trunkline", qop=auth, nc=00000001, cnonce="cn", algorithm=%s, response="%s"`,
		user, nonce, a, c.response(method, HA1(a, user, "trunkline", password)))
}

func register(edits ...string) []byte {
	return invite(append([]string{"=REGISTER sip:trunkline SIP/2.0", "CSeq: 7 REGISTER", "To: <sip:ann@trunkline>",
		"From: <sip:ann@trunkline>;tag=a"}, edits...)...)
}

func TestDigestAuthentication(t *testing.T) {
	a := testAuthenticator()
	_, first := a.Check(regTime, mustRequest(t, register()))
	if first == nil || first.Code != 401 || len(first.Headers) != 2 {
		t.Fatalf("without credentials: %v", first)
	}
	f := func(what, wantUser string, wantStale bool, at Time, auth string) {
		t.Helper()
		proof, ref := a.Check(at, mustRequest(t, register("+Authorization: "+auth)))
		if user := proof.User; user != wantUser || (ref == nil) != (wantUser != "") {
			t.Errorf("%s: user %q refusal %v", what, user, ref)
		}
		if wrong := strings.Contains(what, "wrong") || strings.Contains(what, "unknown") || strings.Contains(what, "another method") ||
			strings.Contains(what, "forged") || strings.Contains(what, "another cluster"); proof.Wrong != wrong {
			t.Errorf("%s: counts as a wrong password: %t", what, proof.Wrong)
		}
		if wantUser != "" && (proof.Count != 1 || proof.Nonce == "") {
			t.Errorf("%s: nonce %q used %d times", what, proof.Nonce, proof.Count)
		}
		if ref != nil && (ref.Code != 401 || strings.Contains(ref.Headers[0].Value, "stale=true") != wantStale) {
			t.Errorf("%s: refusal %v", what, ref)
		}
	}
	good := authorize(*first, SHA256, "ann", "secret", "REGISTER")
	f("SHA-256", "ann", false, regTime, good)
	f("MD5", "ann", false, regTime, authorize(*first, MD5, "ann", "secret", "REGISTER"))
	f("a nonce from a node whose clock is ahead", "ann", false, regTime.Add(-5*time.Second), good)
	f("old nonce", "", true, regTime.Add(6*time.Minute), good)
	f("old nonce and wrong password", "", false, regTime.Add(6*time.Minute), authorize(*first, MD5, "ann", "wrong", "REGISTER"))
	f("wrong password", "", false, regTime, authorize(*first, SHA256, "ann", "wrong", "REGISTER"))
	f("unknown user", "", false, regTime, authorize(*first, SHA256, "bob", "secret", "REGISTER"))
	f("another method's response", "", false, regTime, authorize(*first, SHA256, "ann", "secret", "INVITE"))
	f("forged nonce", "", false, regTime, strings.Replace(good, `nonce="AAAA`, `nonce="BBBB`, 1)[:len(good)-2]+`0"`)
	f("another scheme", "", false, regTime, "NoOneKnowsThisScheme opaque-data=here")
	f("no nc", "", false, regTime, strings.Replace(good, "nc=00000001, ", "", 1))
	other := *a
	other.Secret = []byte("another cluster's")
	_, foreign := other.Check(regTime, mustRequest(t, register()))
	f("another cluster's nonce", "", false, regTime, authorize(*foreign, SHA256, "ann", "secret", "REGISTER"))
}

func TestUnknownUserWithTheDummyDigest(t *testing.T) {
	// The digest unknown users are compared with must not let anyone in.
	a := testAuthenticator()
	_, ref := a.Check(regTime, mustRequest(t, register()))
	_, rest, _ := strings.Cut(ref.Headers[1].Value, `nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	c := credentials{User: "bob", Nonce: nonce, URI: "sip:trunkline", Algorithm: MD5}
	auth := fmt.Sprintf(`Digest username="bob", realm="trunkline", nonce="%s", uri="sip:trunkline", response="%s"`,
		nonce, c.response("REGISTER", strings.Repeat("0", 32)))
	if proof, ref := a.Check(regTime, mustRequest(t, register("+Authorization: "+auth))); ref == nil {
		t.Errorf("%q got in", proof.User)
	}
}

// A phone that knows MD5 alone is not shown another algorithm; a stranger is
// shown what somebody is, the same each time.
func TestTheChallengeOffersWhatTheUserHas(t *testing.T) {
	a := &Authenticator{Realm: "r", Secret: []byte("s"), HA1: func(user string, alg Algorithm) (string, bool) {
		return "", user == "old" && alg == MD5 || user == "new"
	}}
	f := func(user string, want int) {
		t.Helper()
		ref := a.Challenge(1, user, false)
		if len(ref.Headers) != want {
			t.Errorf("%s is offered %d algorithms, want %d: %v", user, len(ref.Headers), want, ref.Headers)
		}
	}
	f("old", 1)
	f("new", 2)
	f("stranger", 2)
	a.Peers = func() (int, func(int) string) {
		names := []string{"old", "new", "old", "new"}
		return len(names), func(i int) string { return names[i] }
	}
	seen := map[int]bool{}
	for i := range 40 {
		name := fmt.Sprintf("stranger-%d", i)
		first := len(a.Challenge(1, name, false).Headers)
		seen[first] = true
		f(name, first)
	}
	if !seen[1] || !seen[2] {
		t.Errorf("strangers are all offered alike (%v), users are not", seen)
	}
	f("old", 1)
	f("new", 2)
}
