package endpoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// ErrRefused says that the registrar gave a final refusal; the text has its code.
var ErrRefused = errors.New("registration refused")

// registration keeps one binding alive (RFC 3261 section 10, RFC 3327, RFC 7616).
type registration struct {
	a      *Agent
	callID string
	tag    string

	mu        sync.Mutex
	cseq      uint32
	challenge *digest.Challenge // of the last 401, reused with a growing nc
	count     int
	timer     *time.Timer
	stopped   bool
	refreshes int
	lastErr   error
}

func newRegistration(a *Agent) *registration {
	return &registration{a: a, callID: newToken(12), tag: newToken(6)}
}

func (r *registration) begin(ctx context.Context) error { return r.register(ctx, r.a.cfg.Expires) }

func (r *registration) end(ctx context.Context) error {
	r.stop()
	return r.register(ctx, 0)
}

func (r *registration) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// register sends REGISTER, answers one challenge (two when the nonce was
// stale), and sets the refresh.
func (r *registration) register(ctx context.Context, expires time.Duration) error {
	var res *sip.Response
	for range 3 {
		o, wire, err := r.request(expires)
		if err != nil {
			return err
		}
		if res, err = r.a.stack.do(ctx, o, wire, r.a.cfg.Edge); err != nil {
			return fmt.Errorf("register %s: %w", r.a.cfg.User, err)
		}
		if res.StatusCode != 401 {
			break
		}
		if err := r.challenged(res); err != nil {
			return fmt.Errorf("register %s: %w", r.a.cfg.User, err)
		}
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("register %s: %d %s: %w", r.a.cfg.User, res.StatusCode, res.Reason, ErrRefused)
	}
	if expires > 0 {
		r.refreshAt(granted(res, r.contactURI(), expires))
	}
	return nil
}

func (r *registration) request(expires time.Duration) (*outgoing, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg, f := r.a.cfg, r.a.stack.flow
	uri := "sip:" + cfg.Domain
	aor := "<sip:" + cfg.User + "@" + cfg.Domain + ">"
	r.cseq++
	o := newRequest("REGISTER", uri, f, newBranch())
	o.header("From", aor+";tag="+r.tag).header("To", aor).header("Call-ID", r.callID)
	o.header("CSeq", fmt.Sprintf("%d REGISTER", r.cseq))
	contact := "<" + r.contactURI() + ">"
	if cfg.Instance != "" {
		contact += fmt.Sprintf(";+sip.instance=\"<%s>\";reg-id=%d", cfg.Instance, cfg.RegID)
	}
	o.header("Contact", contact)
	o.header("Expires", strconv.Itoa(int(expires.Seconds())))
	o.header("Supported", "path, outbound").header("User-Agent", userAgent)
	if r.challenge != nil {
		r.count++
		cred, err := digest.Digest(r.challenge, digest.Options{
			Method: "REGISTER", URI: uri, Count: r.count,
			Username: cfg.User, Password: cfg.Password,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("answer the challenge: %w", err)
		}
		o.header("Authorization", cred.String())
	}
	return o, o.bytes("", ""), nil
}

func (r *registration) contactURI() string {
	f := r.a.stack.flow
	return sipURI(r.a.cfg.User, f.local.String(), f.transport)
}

// challenged takes the first challenge it can answer (RFC 8760: the server
// lists them in its order of preference).
func (r *registration) challenged(res *sip.Response) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range res.GetHeaders("WWW-Authenticate") {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil || !digest.CanDigest(c) {
			continue
		}
		algorithm := c.Algorithm
		if algorithm == "" {
			algorithm = "MD5"
		}
		if want := r.a.cfg.Algorithm; want != "" && !strings.EqualFold(want, algorithm) {
			continue
		}
		if r.challenge != nil && r.challenge.Nonce == c.Nonce && !c.Stale {
			return fmt.Errorf("401 again for the same nonce: wrong password: %w", ErrRefused)
		}
		r.challenge, r.count = c, 0
		return nil
	}
	return fmt.Errorf("401 without a challenge that can be answered: %w", ErrRefused)
}

// granted reads how long our binding lives.
func granted(res *sip.Response, uri string, asked time.Duration) time.Duration {
	for _, v := range headerValues(res, "Contact") {
		if bareURI(v) != uri {
			continue
		}
		for _, p := range strings.Split(v, ";") {
			if k, s, ok := strings.Cut(p, "="); ok && strings.EqualFold(strings.TrimSpace(k), "expires") {
				if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > 0 {
					return time.Duration(n) * time.Second
				}
			}
		}
	}
	if n, err := strconv.Atoi(headerValue(res, "Expires")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return asked
}

// refreshAt registers again well before the binding ends, and soon again
// when that fails.
func (r *registration) refreshAt(life time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.timer = time.AfterFunc(life*2/3, func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeoutB)
		defer cancel()
		err := r.register(ctx, r.a.cfg.Expires)
		r.mu.Lock()
		r.lastErr = err
		r.refreshes++
		r.mu.Unlock()
		if err != nil {
			r.refreshAt(3 * time.Second)
		}
	})
}

// Refreshes counts the registrations repeated so far, and the error of the last.
func (a *Agent) Refreshes() (int, error) {
	a.reg.mu.Lock()
	defer a.reg.mu.Unlock()
	return a.reg.refreshes, a.reg.lastErr
}
