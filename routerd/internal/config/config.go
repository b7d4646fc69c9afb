// Package config reads routerd's YAML files: the daemon's own (Config) and the
// routing tree (acd.Config). It reports every fault at once, each with file
// and line, and touches nothing else: no flags, no environment, no sockets.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config is one routerd's file. Addresses are host:port with an IP as host.
type Config struct {
	Node        string `yaml:"node"`         // name, equal to the certificate's NODE.router...
	Data        string `yaml:"data"`         // folder of the Raft log, snapshots and facts
	ClusterHost string `yaml:"cluster_host"` // domain in our Call-IDs and From headers
	TLS         TLS    `yaml:"tls"`
	SIP         SIP    `yaml:"sip"`
	Raft        Raft   `yaml:"raft"`
	Gossip      Gossip `yaml:"gossip"`
	API         Listen `yaml:"api"`
	Metrics     Listen `yaml:"metrics"`
	Routing     string `yaml:"routing"` // routing.yaml for an empty cluster
	Facts       Facts  `yaml:"facts"`
}

// TLS names the files of this node's identity in the private CA.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// SIP is where routerd meets the edges.
type SIP struct {
	Listen   []string `yaml:"listen"`   // TCP; several so that Kamailio uses several workers
	Edges    []string `yaml:"edges"`    // the only source addresses taken
	Outbound []string `yaml:"outbound"` // host:port of each edge for requests without a Route
	Realm    string   `yaml:"realm"`    // of the agents' digest
	Dialogs  Dialogs  `yaml:"dialogs"`
}

// Raft is the replicated log.
type Raft struct {
	Listen string            `yaml:"listen"`
	Voters map[string]string `yaml:"voters"` // those who found the cluster
	// Join is for a router that is added to a cluster that runs: it is none of
	// Voters, and waits until routerctl cluster add names it. The others reach
	// its log at Advertise, Listen if not given.
	Join      bool   `yaml:"join"`
	Advertise string `yaml:"advertise"`
	// WriteDeadline is how long one write to the log's disk may take before the
	// process ends itself, so that another router leads; 300 ms if not given.
	// Raise it only where the routers share one disk, as in the lab: there a
	// slow moment would end them all at once.
	WriteDeadline time.Duration `yaml:"write_deadline"`
	Archive       Archive       `yaml:"archive"`
}

// Archive is what is kept of the log after it was applied, for routerctl replay
// and whatif. What is over either bound goes, oldest first.
type Archive struct {
	Off          bool          `yaml:"off"`
	MaxAge       time.Duration `yaml:"max_age"`       // 0: 7 days
	MaxMegabytes int           `yaml:"max_megabytes"` // 0: 4096
}

// Gossip is the membership protocol.
type Gossip struct {
	Listen  string   `yaml:"listen"`
	Join    []string `yaml:"join"`
	KeyFile string   `yaml:"key_file"`
}

// Listen is one address.
type Listen struct {
	Listen string `yaml:"listen"`
}

// Load reads and validates a routerd file. The error joins all faults.
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	t, err := parse(path, src)
	if err != nil {
		return nil, err
	}
	var c Config
	t.into(&c)
	c.validate(t)
	if err := t.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *Config) validate(t *tree) {
	bad := t.at
	need := func(path, v string) {
		if v == "" {
			bad(path, "is missing")
		}
	}
	addr := func(path, v string) {
		if _, err := netip.ParseAddrPort(v); err != nil {
			bad(path, "%q is not IP:port", v)
		}
	}
	need("node", c.Node)
	need("data", c.Data)
	need("cluster_host", c.ClusterHost)
	need("sip.realm", c.SIP.Realm)
	for _, p := range []struct{ path, file string }{
		{"tls.ca", c.TLS.CA}, {"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}, {"gossip.key_file", c.Gossip.KeyFile}, {"routing", c.Routing},
	} {
		if p.file == "" {
			bad(p.path, "is missing")
		} else if !filepath.IsAbs(p.file) {
			bad(p.path, "%q is not an absolute path", p.file)
		}
	}
	if c.Raft.WriteDeadline < 0 {
		bad("raft.write_deadline", "must not be negative")
	}
	if a := c.Raft.Archive; a.MaxAge < 0 || a.MaxAge > 0 && a.MaxAge < time.Hour {
		bad("raft.archive.max_age", "%v: an hour at least", a.MaxAge)
	}
	if m := c.Raft.Archive.MaxMegabytes; m < 0 || m > 0 && m < 64 {
		bad("raft.archive.max_megabytes", "%d: 64 at least", m)
	}
	addr("raft.listen", c.Raft.Listen)
	addr("gossip.listen", c.Gossip.Listen)
	addr("api.listen", c.API.Listen)
	addr("metrics.listen", c.Metrics.Listen)
	if len(c.SIP.Listen) == 0 {
		bad("sip.listen", "needs at least one address")
	}
	for i, a := range c.SIP.Listen {
		addr(fmt.Sprintf("sip.listen[%d]", i), a)
	}
	if len(c.SIP.Edges) == 0 {
		bad("sip.edges", "needs at least one edge")
	}
	for i, a := range c.SIP.Edges {
		if _, err := netip.ParseAddr(a); err != nil {
			bad(fmt.Sprintf("sip.edges[%d]", i), "%q is not an IP address", a)
		}
	}
	for i, a := range c.SIP.Outbound {
		addr(fmt.Sprintf("sip.outbound[%d]", i), a)
	}
	if len(c.Raft.Voters)%2 == 0 {
		bad("raft.voters", "%d voters: needs an odd number, 3 or 5 in production", len(c.Raft.Voters))
	}
	switch _, founds := c.Raft.Voters[c.Node]; {
	case c.Node == "":
	case c.Raft.Join && founds:
		bad("raft.voters", "names this node %q, which joins", c.Node)
	case !c.Raft.Join && !founds:
		bad("raft.voters", "does not name this node %q: a router that is added to a running cluster has raft.join", c.Node)
	}
	if c.Raft.Advertise != "" {
		if _, _, err := net.SplitHostPort(c.Raft.Advertise); err != nil {
			bad("raft.advertise", "%q is not host:port", c.Raft.Advertise)
		}
	}
	for n, a := range c.Raft.Voters {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("raft.voters."+n, "%q is not host:port", a)
		}
	}
	c.SIP.Dialogs.validate(t)
	c.Facts.validate(t)
}

// PeerTLS loads the node's identity for mutual TLS 1.3 with our own parts.
// The role in the peer's name is checked by the user of the result.
func (c *Config) PeerTLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("load tls.cert and tls.key: %w", err)
	}
	pem, err := os.ReadFile(c.TLS.CA)
	if err != nil {
		return nil, fmt.Errorf("load tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load tls.ca: %s holds no PEM certificate", c.TLS.CA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// GossipKey reads the 32-byte base64 key shared by routers and workers.
func (c *Config) GossipKey() ([]byte, error) {
	raw, err := os.ReadFile(c.Gossip.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read gossip.key_file: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("gossip.key_file %s: want 32 bytes in base64", c.Gossip.KeyFile)
	}
	return key, nil
}
