package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"trunkline/routerd/routeapi"
)

// client asks the first router that answers.
type client struct {
	hosts []string
	http  *http.Client
}

func newClient(api, ca, cert, key string) (*client, error) {
	if api == "" || ca == "" || cert == "" || key == "" {
		return nil, errors.New("-api, -ca, -cert and -key are all needed")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("operator's certificate: %w", err)
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("private CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("private CA: %s holds no PEM certificate", ca)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool,
		// Routers are reached by address; their certificate names their role.
		InsecureSkipVerify: true, VerifyConnection: verifyRouter(pool)}
	return &client{hosts: strings.Split(api, ","), http: &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}}, nil
}

// verifyRouter checks the chain and that the peer is a router of ours, which
// is what the skipped check of the host name would have told.
func verifyRouter(pool *x509.CertPool) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		leaf := cs.PeerCertificates[0]
		mids := x509.NewCertPool()
		for _, m := range cs.PeerCertificates[1:] {
			mids.AddCert(m)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: mids}); err != nil {
			return err
		}
		for _, name := range leaf.DNSNames {
			if strings.HasSuffix(name, ".router.trunkline.internal") {
				return nil
			}
		}
		return errors.New("the peer's certificate is not a router's")
	}
}

// apiError is a router's refusal.
type apiError struct {
	status int // HTTP
	text   string
}

func (e *apiError) Error() string { return e.text }

func (c *client) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, "GET", path, nil, v)
}

// text gets a body that is no JSON, and its headers.
func (c *client) text(ctx context.Context, path string) ([]byte, http.Header, error) {
	var got raw
	err := c.do(ctx, "GET", path, nil, &got)
	return got.body, got.head, err
}

// raw takes an answer as it is.
type raw struct {
	body []byte
	head http.Header
}

// do asks the routers in turn until one answers and reads its JSON into v,
// unless nil.
func (c *client) do(ctx context.Context, method, path string, body []byte, v any) error {
	var errs []error
	for _, host := range c.hosts {
		answered, err := c.ask(ctx, host, method, path, body, v)
		if answered || err == nil {
			return err
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("no router answers: %w", errors.Join(errs...))
}

// ask returns whether the host answered at all; only then is err its verdict.
func (c *client) ask(ctx context.Context, host, method, path string, body []byte, v any) (answered bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return true, refusal(res)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return false, fmt.Errorf("read the answer of %s: %w", host, err)
	}
	switch v := v.(type) {
	case nil:
	case *raw:
		v.body, v.head = got, res.Header
	default:
		if err := json.Unmarshal(got, v); err != nil {
			return true, fmt.Errorf("answer of %s: %w", host, err)
		}
	}
	return true, nil
}

// refusal is what an answer that is not 2xx says.
func refusal(res *http.Response) error {
	var e routeapi.Error
	got, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil || json.Unmarshal(got, &e) != nil || e.Error == "" {
		e.Error = res.Status
	}
	return &apiError{res.StatusCode, e.Error}
}
