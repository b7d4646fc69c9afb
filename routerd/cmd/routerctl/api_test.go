package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"trunkline/raftstore/raftstoretest"
)

// ctl runs routerctl against a router played by a handler.
type ctl struct {
	*testing.T
	flags []string
}

const operatorName = "ops.operator.trunkline.internal"

func newCtl(t *testing.T, api http.Handler) *ctl {
	t.Helper()
	ca := raftstoretest.NewAuthority(t)
	srv := httptest.NewUnstartedServer(api)
	srv.TLS = ca.TLS("r1.router.trunkline.internal")
	srv.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	srv.StartTLS()
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	ca.Files(dir, operatorName)
	file := func(name string) string { return filepath.Join(dir, name) }
	return &ctl{t, []string{"-api", strings.TrimPrefix(srv.URL, "https://"), "-ca", file("ca.pem"),
		"-cert", file(operatorName + ".pem"), "-key", file(operatorName + ".key")}}
}

// run returns what the command printed to stdout, and its error.
func (c *ctl) run(args ...string) (string, error) {
	c.Helper()
	var out, complaints strings.Builder
	err := run(c.Context(), append(append([]string{}, c.flags...), args...), strings.NewReader(""), &out, &complaints)
	if complaints.Len() > 0 {
		c.Logf("stderr: %s", complaints.String())
	}
	return out.String(), err
}

// ok is run for what must succeed.
func (c *ctl) ok(args ...string) string {
	c.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.Fatalf("routerctl %v: %v", args, err)
	}
	return out
}

// fails is run for what must fail with an error that says want.
func (c *ctl) fails(want string, args ...string) {
	c.Helper()
	out, err := c.run(args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		c.Errorf("routerctl %v: %v, want it to say %q; printed\n%s", args, err, want, out)
	}
}

// has complains unless the text has all the parts.
func (c *ctl) has(text string, parts ...string) {
	c.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			c.Errorf("want %q in\n%s", part, text)
		}
	}
}
