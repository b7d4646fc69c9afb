package raftstoretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Authority issues certificates for one test.
type Authority struct {
	tb testing.TB
	issuer
}

// NewAuthority makes a certificate authority that nobody else trusts.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a, err := newIssuer()
	if err != nil {
		tb.Fatal(err)
	}
	return &Authority{tb, a}
}

// TLS returns both ends' configuration with a certificate for a DNS name, such
// as r1.router.trunkline.internal.
func (a *Authority) TLS(name string) *tls.Config {
	a.tb.Helper()
	conf, err := a.issue(name)
	if err != nil {
		a.tb.Fatal(err)
	}
	return conf
}

// Files writes ca.pem, NAME.pem and NAME.key into dir, for processes of their
// own; ReadTLS reads them back.
func (a *Authority) Files(dir, name string) {
	a.tb.Helper()
	if err := a.files(dir, name); err != nil {
		a.tb.Fatal(err)
	}
}

// issuer is an authority without a test.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newIssuer() (a issuer, err error) {
	a.pool = x509.NewCertPool()
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return a, fmt.Errorf("make a key: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		return a, fmt.Errorf("make an authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return a, fmt.Errorf("parse the authority: %w", err)
	}
	a.pool.AddCert(a.cert)
	return a, nil
}

func (a issuer) issue(name string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", name, err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      a.pool,
		ClientCAs:    a.pool,
	}, nil
}

func (a issuer) files(dir, name string) error {
	conf, err := a.issue(name)
	if err != nil {
		return err
	}
	cert := conf.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", name, err)
	}
	for file, block := range map[string]*pem.Block{
		"ca.pem":      {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		name + ".pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		name + ".key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("write the files of %s: %w", name, err)
		}
	}
	return nil
}

// ReadTLS reads what Files wrote.
func ReadTLS(dir, name string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s: %w", name, err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("no certificate in %s", filepath.Join(dir, "ca.pem"))
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool}, nil
}

// RouterOnly is a CheckPeer that accepts names with a "router" label.
func RouterOnly(c *x509.Certificate) error {
	for _, n := range c.DNSNames {
		if strings.Contains(n, ".router.") {
			return nil
		}
	}
	return fmt.Errorf("%v is not a router", c.DNSNames)
}
