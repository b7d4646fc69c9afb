package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// registrar is the least a registrar can be: it challenges with a list of
// algorithms and checks the answer.
type registrar struct {
	conn       *net.UDPConn
	algorithms []string
	password   string
	expires    int

	mu       sync.Mutex
	accepted []string // algorithm of each accepted REGISTER
	removed  bool
}

func newRegistrar(t *testing.T, expires int, algorithms ...string) *registrar {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &registrar{conn: conn, algorithms: algorithms, password: "secret", expires: expires}
	done := make(chan struct{})
	go func() { defer close(done); r.serve() }()
	t.Cleanup(func() { conn.Close(); <-done })
	return r
}

func (r *registrar) addr() netip.AddrPort { return r.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (r *registrar) serve() {
	buf := make([]byte, 65535)
	parser := sip.NewParser()
	for {
		n, from, err := r.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		msg, err := parser.ParseSIP(append([]byte(nil), buf[:n]...))
		req, ok := msg.(*sip.Request)
		if err != nil || !ok || req.Method != sip.REGISTER {
			continue
		}
		req.SetSource(from.String())
		_, _ = r.conn.WriteToUDPAddrPort(r.answer(req), from)
	}
}

func (r *registrar) answer(req *sip.Request) []byte {
	var headers [][2]string
	auth := req.GetHeader("Authorization")
	if auth == nil {
		for _, a := range r.algorithms {
			headers = append(headers, [2]string{"WWW-Authenticate", fmt.Sprintf(`Digest realm="trunkline", nonce="n-%s", algorithm=%s, qop="auth"`, a, a)})
		}
		return newResponse(req, 401, "Unauthorized", "reg", headers, "", "")
	}
	got, err := digest.ParseCredentials(auth.Value())
	if err != nil {
		return newResponse(req, 400, "Bad Authorization", "reg", nil, "", "")
	}
	want, err := digest.Digest(&digest.Challenge{Realm: "trunkline", Nonce: got.Nonce, Algorithm: got.Algorithm, QOP: []string{"auth"}},
		digest.Options{Method: "REGISTER", URI: got.URI, Username: got.Username, Password: r.password, Cnonce: got.Cnonce, Count: got.Nc})
	if err != nil || want.Response != got.Response {
		return newResponse(req, 401, "Unauthorized", "reg", [][2]string{{"WWW-Authenticate", fmt.Sprintf(`Digest realm="trunkline", nonce=%q, algorithm=%s, qop="auth"`, got.Nonce, got.Algorithm)}}, "", "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted = append(r.accepted, got.Algorithm)
	if headerValue(req, "Expires") == "0" {
		r.removed = true
		return newResponse(req, 200, "OK", "reg", nil, "", "")
	}
	contact := fmt.Sprintf("%s;expires=%d", headerValue(req, "Contact"), r.expires)
	return newResponse(req, 200, "OK", "reg", [][2]string{{"Contact", contact}}, "", "")
}

func register(t *testing.T, r *registrar, cfg AgentConfig) (*Agent, error) {
	t.Helper()
	cfg.User, cfg.Domain, cfg.Local, cfg.Edge, cfg.Transport = "ann", "trunkline.internal", loopback, r.addr(), UDP
	a, err := NewAgent(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, a.Register(t.Context())
}

func TestRegisterAnswersTheChallengeItIsToldTo(t *testing.T) {
	f := func(insist, want string, offered ...string) {
		t.Helper()
		r := newRegistrar(t, 60, offered...)
		if _, err := register(t, r, AgentConfig{Password: "secret", Algorithm: insist}); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.accepted) != 1 || r.accepted[0] != want {
			t.Errorf("insist on %q of %v: accepted %v, want %s", insist, offered, r.accepted, want)
		}
	}
	f("", "SHA-256", "SHA-256", "MD5")
	f("MD5", "MD5", "SHA-256", "MD5")
	f("", "MD5", "MD5")
}

func TestAWrongPasswordEndsInARefusal(t *testing.T) {
	r := newRegistrar(t, 60, "SHA-256")
	if _, err := register(t, r, AgentConfig{Password: "wrong"}); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

func TestTheRegistrationIsRefreshedAndRemoved(t *testing.T) {
	r := newRegistrar(t, 1, "MD5") // expires after a second: the refresh comes after two thirds
	a, err := register(t, r, AgentConfig{Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "refresh", func() bool { n, err := a.Refreshes(); return n >= 1 && err == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.removed {
		t.Error("the binding was not removed")
	}
}
