package lab

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"

	"trunkline/routerd/acd"
)

// The configuration of every component but the edges' routes, which are the
// product's own and are copied from kamailio/.
//
//go:embed conf
var confFiles embed.FS

// site is what a configuration template can name.
type site struct {
	plan
	Name, IP    string
	Conf        string // folder of this component's configuration
	Run         string // folder of control sockets
	Data        string // folder of what the component keeps
	PKI         string
	Prompts     string
	Media       []string
	Join        []string
	RouterPorts []int
	MoreEdges   []string
	ClusterHost string
	Realm       string
}

// writeConfigs writes what each component reads into conf/ of the lab's
// folder: conf/edge-1/kamailio.cfg, conf/r1.yaml, conf/routing.yaml ...
func (l *Lab) writeConfigs() error {
	base := site{
		plan: l.plan, Run: l.path("run"), PKI: l.pki.Dir, Prompts: l.options.Prompts,
		Join: l.plan.gossip(), RouterPorts: routerPorts, ClusterHost: ClusterHost, Realm: Realm, MoreEdges: l.options.Edges,
	}
	for _, h := range l.plan.SBCs {
		s := base
		s.Name, s.IP, s.Conf = h.Name, h.IP, l.path("conf", h.Name)
		if err := render(s, s.Conf, "sbc/kamailio.cfg", "sbc/tls.cfg", "sbc/dispatcher.list"); err != nil {
			return err
		}
	}
	for _, h := range l.plan.Edges {
		s := base
		s.Name, s.IP, s.Conf = h.Name, h.IP, l.path("conf", h.Name)
		if err := os.CopyFS(s.Conf, os.DirFS(filepath.Join(l.options.Sources, "kamailio"))); err != nil {
			return fmt.Errorf("copy the edge's configuration: %w", err)
		}
		err := render(s, s.Conf, "edge/site.cfg", "edge/tls.cfg", "edge/dispatcher.list", "edge/address.list")
		if err != nil {
			return err
		}
	}
	for _, kind := range []struct {
		hosts    []host
		template string
	}{{l.plan.Routers, "routerd.yaml"}, {l.plan.Workers, "mediad.yaml"}} {
		for _, h := range kind.hosts {
			s := base
			s.Name, s.IP, s.Conf, s.Data = h.Name, h.IP, l.path("conf"), l.path("data", h.Name)
			s.Media = l.plan.media(h)
			if err := renderTo(s, kind.template, l.path("conf", h.Name+".yaml")); err != nil {
				return err
			}
			if err := os.MkdirAll(s.Data, 0o755); err != nil {
				return fmt.Errorf("make the data folder of %s: %w", h.Name, err)
			}
		}
	}
	text, err := yaml.Marshal(l.routing())
	if err != nil {
		return fmt.Errorf("write the routing: %w", err)
	}
	return os.WriteFile(l.path("conf", "routing.yaml"), text, 0o644)
}

// routing is the tree of the demo: one number, one queue, all agents.
func (l *Lab) routing() *acd.Config {
	o := l.options
	if o.Routing != nil {
		return o.Routing
	}
	c := &acd.Config{
		MaxChannels: o.Max,
		Numbers:     []acd.Number{{Number: SalesNumber, Greeting: Greeting, Queue: SalesQueue}},
		Queues: []acd.Queue{{
			ID: SalesQueue, Music: Music, RingTimeout: 15 * time.Second, WrapUp: o.WrapUp,
			MaxWait: 5 * time.Minute, MaxLength: 500, MissedLimit: 3, RejectDelay: time.Second,
		}},
	}
	for _, h := range l.plan.SBCs {
		c.Trunks = append(c.Trunks, acd.Trunk{ID: acd.TrunkID(h.Name), Channels: o.Channels})
	}
	for _, a := range o.Agents {
		queues := []acd.QueueID{SalesQueue}
		if len(a.Queues) > 0 {
			queues = queues[:0]
			for _, q := range a.Queues {
				queues = append(queues, acd.QueueID(q))
			}
		}
		a1 := []byte(a.ID + ":" + Realm + ":" + a.Password)
		sha, md := sha256.Sum256(a1), md5.Sum(a1)
		c.Agents = append(c.Agents, acd.Agent{
			ID: acd.AgentID(a.ID), Name: a.Name, Queues: queues, AutoAvailable: !a.Manual,
			HA1SHA256: hex.EncodeToString(sha[:]), HA1MD5: hex.EncodeToString(md[:]),
		})
	}
	if o.Tune != nil {
		o.Tune(c)
	}
	return c
}

func render(s site, dir string, names ...string) error {
	for _, name := range names {
		if err := renderTo(s, name, filepath.Join(dir, filepath.Base(name))); err != nil {
			return err
		}
	}
	return nil
}

func renderTo(s site, name, path string) error {
	t, err := template.ParseFS(confFiles, "conf/"+name)
	if err != nil {
		return fmt.Errorf("parse the template %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, s); err != nil {
		return fmt.Errorf("fill in the template %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
