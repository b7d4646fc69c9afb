// Package config reads mediad's YAML file and the files it names. All faults
// are reported together, each with file and line. It opens no socket and
// starts nothing.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"trunkline/mediad/internal/ports"
)

// Config is one worker's file, with what the files it names hold.
type Config struct {
	Worker      string        `yaml:"worker"` // name, equal to the certificate's WORKER.worker...
	Data        string        `yaml:"data"`   // folder of what outlives the process
	TLS         TLS           `yaml:"tls"`
	NG          NG            `yaml:"ng"`
	Replication string        `yaml:"replication"` // host:port for workers that this one stands by for
	Media       Media         `yaml:"media"`
	Gossip      Gossip        `yaml:"gossip"`
	Prompts     string        `yaml:"prompts"` // folder of WAV files
	Recording   Recording     `yaml:"recording"`
	Metrics     Listen        `yaml:"metrics"`
	Drain       time.Duration `yaml:"drain"` // how long SIGTERM waits for calls to end

	Identity  *Identity      `yaml:"-"` // nil without tls
	PortRange ports.Range    `yaml:"-"`
	Addresses []netip.Addr   `yaml:"-"`
	Plain     []netip.Prefix `yaml:"-"`
	Allowed   []netip.Prefix `yaml:"-"` // ng.allow
	GossipKey []byte         `yaml:"-"`
	MasterKey []byte         `yaml:"-"` // nil without recording
}

// TLS names the files of this worker's identity in the private CA.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// NG is where commands come in. UDP and TCP authenticate nobody.
type NG struct {
	TLS string `yaml:"tls"`
	UDP string `yaml:"udp"`
	TCP string `yaml:"tcp"`

	// Allow is who may send commands without TLS; where udp and tcp are on
	// loopback it may be left out.
	Allow []string `yaml:"allow"`
}

// Media is the addresses of this worker and the ports on each.
type Media struct {
	Addresses []string `yaml:"addresses"`
	Ports     string   `yaml:"ports"`
	Threads   int      `yaml:"threads"`  // that move packets; 0: one per processor
	MaxLegs   int      `yaml:"max_legs"` // 0: as many as there are ports
	Single    bool     `yaml:"single"`   // each packet leaves by itself: no raw sockets, even where they may be had
	MaxCPU    int      `yaml:"max_cpu"`  // percent of the processors above which new calls are refused
	Plain     []string `yaml:"plain"`    // networks whose far ends may do without SRTP
}

// Gossip is the membership protocol. Without it the worker stands alone: it
// hosts its addresses from the start, and nobody takes over from it.
type Gossip struct {
	Listen  string   `yaml:"listen"`
	Join    []string `yaml:"join"`
	KeyFile string   `yaml:"key_file"`
}

// Listen is one address.
type Listen struct {
	Listen string `yaml:"listen"`
}

// Identity is a certificate and those it is checked against.
type Identity struct {
	Certificate tls.Certificate
	Roots       *x509.CertPool
}

// Load reads a worker's file. The error joins all faults.
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	t := &tree{file: path, lines: map[string]int{}}
	c := &Config{Drain: 10 * time.Minute, Media: Media{MaxCPU: 90}}
	if t.decode(src, c); len(t.faults) == 0 || len(t.lines) > 0 {
		c.check(t)
	}
	if len(t.faults) > 0 {
		return nil, errors.Join(t.faults...)
	}
	return c, nil
}

// Alone tells whether the worker belongs to no tier.
func (c *Config) Alone() bool { return c.Gossip.Listen == "" }

func (c *Config) check(t *tree) {
	if c.Worker == "" || strings.ContainsAny(c.Worker, ". \t") {
		t.fault("worker", "want one name without dots")
	}
	c.checkPath(t, "data", c.Data, true)
	c.checkListeners(t)
	c.checkMedia(t)
	c.checkPath(t, "prompts", c.Prompts, false)
	if c.Prompts != "" {
		if info, err := os.Stat(c.Prompts); err != nil || !info.IsDir() {
			t.fault("prompts", "%s is no folder", c.Prompts)
		}
	}
	c.checkRecording(t)
	if !c.Alone() || c.NG.TLS != "" || c.TLS != (TLS{}) {
		c.loadIdentity(t)
	}
	if !c.Alone() {
		c.GossipKey = loadKey(t, "gossip.key_file", c.Gossip.KeyFile)
	}
}

func (c *Config) checkPath(t *tree, path, v string, required bool) {
	switch {
	case v == "" && required:
		t.fault(path, "is missing")
	case v != "" && !filepath.IsAbs(v):
		t.fault(path, "%q is not an absolute path", v)
	}
}

func (c *Config) checkListeners(t *tree) {
	for _, l := range []struct {
		path, addr string
		required   bool
	}{
		{"ng.tls", c.NG.TLS, !c.Alone()}, {"ng.udp", c.NG.UDP, false}, {"ng.tcp", c.NG.TCP, false},
		{"replication", c.Replication, !c.Alone()}, {"gossip.listen", c.Gossip.Listen, false},
		{"metrics.listen", c.Metrics.Listen, true},
	} {
		if l.addr == "" {
			if l.required {
				t.fault(l.path, "is missing")
			}
			continue
		}
		if _, err := netip.ParseAddrPort(l.addr); err != nil {
			t.fault(l.path, "%q is not IP:port", l.addr)
		}
	}
	c.checkAllowed(t)
	if c.NG.TLS == "" && c.NG.UDP == "" && c.NG.TCP == "" {
		t.fault("ng", "needs at least one of tls, udp, tcp")
	}
	if c.Alone() && (len(c.Gossip.Join) > 0 || c.Gossip.KeyFile != "") {
		t.fault("gossip.listen", "is missing")
	}
	for i, a := range c.Gossip.Join {
		if _, err := netip.ParseAddrPort(a); err != nil {
			t.fault(fmt.Sprintf("gossip.join[%d]", i), "%q is not IP:port", a)
		}
	}
}

func (c *Config) checkMedia(t *tree) {
	if len(c.Media.Addresses) == 0 {
		t.fault("media.addresses", "needs at least one address")
	}
	seen := map[netip.Addr]bool{}
	for i, s := range c.Media.Addresses {
		path := fmt.Sprintf("media.addresses[%d]", i)
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast():
			t.fault(path, "%q is no unicast IP address", s)
			continue
		case seen[a]:
			t.fault(path, "%s is given twice", a)
		}
		seen[a] = true
		c.Addresses = append(c.Addresses, a)
	}
	r, err := ports.ParseRange(c.Media.Ports)
	if err != nil {
		t.fault("media.ports", "%v", err)
	}
	c.PortRange = r
	if c.Media.Threads < 0 {
		t.fault("media.threads", "must not be negative")
	}
	if c.Media.MaxLegs < 0 {
		t.fault("media.max_legs", "must not be negative")
	}
	if c.Media.MaxCPU < 1 || c.Media.MaxCPU > 100 {
		t.fault("media.max_cpu", "want 1 to 100 percent")
	}
	c.Plain = networks(t, "media.plain", c.Media.Plain)
}

// checkAllowed: a port without TLS that others than this machine reach has to
// say who they are.
func (c *Config) checkAllowed(t *tree) {
	if c.Allowed = networks(t, "ng.allow", c.NG.Allow); len(c.NG.Allow) > 0 {
		return
	}
	for _, l := range [][2]string{{"ng.udp", c.NG.UDP}, {"ng.tcp", c.NG.TCP}} {
		if a, err := netip.ParseAddrPort(l[1]); err == nil && !a.Addr().IsLoopback() {
			t.fault(l[0], "is not on loopback: ng.allow must say who may send commands")
			return
		}
	}
	c.Allowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func networks(t *tree, path string, list []string) []netip.Prefix {
	var all []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil || p != p.Masked() {
			t.fault(fmt.Sprintf("%s[%d]", path, i), "%q is no network in CIDR notation", s)
			continue
		}
		all = append(all, p)
	}
	return all
}

// loadKey reads 32 bytes in base64.
func loadKey(t *tree, path, file string) []byte {
	if file == "" {
		t.fault(path, "is missing")
		return nil
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.fault(path, "%v", err)
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(src)))
	if err != nil || len(key) != 32 {
		t.fault(path, "%s holds no 32 bytes in base64", file)
		return nil
	}
	return key
}

func (c *Config) loadIdentity(t *tree) {
	id := &Identity{Roots: x509.NewCertPool()}
	ca, err := os.ReadFile(c.TLS.CA)
	if err != nil {
		t.fault("tls.ca", "%v", err)
	} else if !id.Roots.AppendCertsFromPEM(ca) {
		t.fault("tls.ca", "%s holds no certificate", c.TLS.CA)
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		t.fault("tls.cert", "%v", err)
		return
	}
	id.Certificate = pair
	if c.Worker != "" && !names(pair.Leaf, c.Worker+".worker.") {
		t.fault("tls.cert", "%s is not for %s.worker...", c.TLS.Cert, c.Worker)
	}
	c.Identity = id
}

func names(cert *x509.Certificate, prefix string) bool {
	for _, n := range cert.DNSNames {
		if strings.HasPrefix(n, prefix) {
			return true
		}
	}
	return false
}
