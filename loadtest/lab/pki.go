package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// PKI is the lab's authorities and what they have signed, in one folder: our
// own (ca.pem) for routers, workers, edges and operators, the customer's
// (customer-ca.pem) for SBCs, and one that nobody trusts (rogue-ca.pem) for
// trying the door. The name in a certificate carries its holder's role:
// r1.router.trunkline.internal, sbc-a.sbc.customer.example.
type PKI struct {
	Dir string

	authorities map[string]authority
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Authorities, by the name of their file.
const (
	ownCA      = "ca"
	customerCA = "customer-ca"
	rogueCA    = "rogue-ca"
)

// Certificates that are in every lab beside those of its components.
const (
	CertOperator = "ops"   // routerctl's and the load test's
	CertRogueSBC = "rogue" // says sbc-a, signed by rogue-ca
)

// Roles that a certificate's DNS name can carry.
const (
	roleRouter   = ".router.trunkline.internal"
	roleWorker   = ".worker.trunkline.internal"
	roleEdge     = ".edge.trunkline.internal"
	roleOperator = ".operator.trunkline.internal"
	roleSBC      = ".sbc.customer.example"
)

// validity covers any lab run; there is no renewal.
const validity = 30 * 24 * time.Hour

// newPKI makes the authorities and the gossip and recording keys in dir.
func newPKI(dir string) (*PKI, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the certificate folder: %w", err)
	}
	p := &PKI{Dir: dir, authorities: map[string]authority{}}
	for _, name := range []string{ownCA, customerCA, rogueCA} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make the key of %s: %w", name, err)
		}
		t, err := certificate("Trunkline lab " + name)
		if err != nil {
			return nil, err
		}
		t.IsCA, t.BasicConstraintsValid = true, true
		t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
		if err != nil {
			return nil, fmt.Errorf("sign %s: %w", name, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		p.authorities[name] = authority{cert, key}
		if err := writePEM(p.File(name+".pem"), 0o644, "CERTIFICATE", der); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"gossip.key", "recording.key"} {
		secret := make([]byte, 32)
		rand.Read(secret)
		text := base64.StdEncoding.EncodeToString(secret) + "\n"
		if err := os.WriteFile(p.File(name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return p, nil
}

// File is the path of a file of the PKI, such as "r1.pem".
func (p *PKI) File(name string) string { return filepath.Join(p.Dir, name) }

// issue signs <file>.pem and writes <file>.key; host is the DNS name with the
// role in it.
func (p *PKI) issue(ca, file, host string, addrs ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key of %s: %w", file, err)
	}
	t, err := certificate(host)
	if err != nil {
		return err
	}
	t.DNSNames = []string{host}
	for _, a := range addrs {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return fmt.Errorf("certificate of %s: %w", file, err)
		}
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	by := p.authorities[ca]
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, key.Public(), by.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", file, err)
	}
	if err := writePEM(p.File(file+".pem"), 0o644, "CERTIFICATE", der); err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", file, err)
	}
	return writePEM(p.File(file+".key"), 0o600, "PRIVATE KEY", raw)
}

// Client is a TLS client configuration with the certificate of name ("ops",
// "r1", "edge-1", "sbc-a", "rogue"; empty: none) that trusts our own
// authority. Set ServerName, or connect by IP address: both are in the
// servers' certificates.
func (p *PKI) Client(name string) (*tls.Config, error) {
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(p.File(ownCA + ".pem"))
	if err != nil {
		return nil, fmt.Errorf("read our authority: %w", err)
	}
	roots.AppendCertsFromPEM(ca)
	c := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if name == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(p.File(name+".pem"), p.File(name+".key"))
	if err != nil {
		return nil, fmt.Errorf("load the certificate of %s: %w", name, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func certificate(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	// An hour back: the machine's clock may be set while the lab runs.
	from := time.Now().Add(-time.Hour)
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    from,
		NotAfter:     from.Add(validity),
	}, nil
}

func writePEM(path string, mode os.FileMode, kind string, der []byte) error {
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, data, mode); err != nil {
		return fmt.Errorf("write a certificate or key: %w", err)
	}
	return nil
}
