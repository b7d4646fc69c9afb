package scenarios

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/goccy/go-yaml"

	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
)

// Password is every agent's.
const Password = "trunkline"

// overlay is what a scenario says of its part of the routing tree. Number,
// Queue and Trunk are laid over what every scenario has; the rest is added.
type overlay struct {
	Number  ast.Node     `yaml:"number"`
	Queue   ast.Node     `yaml:"queue"`
	Trunk   ast.Node     `yaml:"trunk"`
	Agent   ast.Node     `yaml:"agent"` // over aID
	Chains  []acd.Chain  `yaml:"chains"`
	Numbers []acd.Number `yaml:"numbers"`
	Queues  []acd.Queue  `yaml:"queues"`
}

// number is the one the scenario's caller dials.
func (s *Scenario) number() string { return fmt.Sprintf("+7495200%04d", s.ID) }

// over decodes what a scenario says over what is there.
func over(node ast.Node, into any) error {
	if node == nil {
		return nil
	}
	return yaml.NodeToValue(node, into, yaml.Strict())
}

// addTo puts the scenario's number, queue, agents and trunk into the tree.
func (s *Scenario) addTo(c *acd.Config) error {
	queue := acd.Queue{
		ID: acd.QueueID(fmt.Sprintf("q%d", s.ID)), Music: lab.Music,
		RingTimeout: 15 * time.Second, RejectDelay: time.Minute, BusyDelay: time.Minute,
	}
	number := acd.Number{Number: s.number(), Queue: queue.ID}
	trunk := acd.Trunk{ID: acd.TrunkID(fmt.Sprintf("t%d", s.ID))}
	agents := []acd.Agent{agent(fmt.Sprintf("a%d", s.ID), queue.ID), agent(fmt.Sprintf("b%d", s.ID), queue.ID)}
	agents[0].HA1SHA256, agents[1].HA1MD5 = "", ""
	for _, part := range []struct {
		name string
		node ast.Node
		into any
	}{
		{"number", s.Routing.Number, &number}, {"queue", s.Routing.Queue, &queue},
		{"trunk", s.Routing.Trunk, &trunk}, {"agent", s.Routing.Agent, &agents[0]},
	} {
		if err := over(part.node, part.into); err != nil {
			return fmt.Errorf("scenario %s: routing.%s: %w", s.Name, part.name, err)
		}
	}
	c.Numbers = append(append(c.Numbers, number), s.Routing.Numbers...)
	c.Queues = append(append(c.Queues, queue), s.Routing.Queues...)
	if s.Routing.Trunk != nil { // routers ask each trunk by each edge whether it is there
		c.Trunks = append(c.Trunks, trunk)
	}
	c.Agents = append(c.Agents, agents...)
	c.Chains = append(c.Chains, s.Routing.Chains...)
	return nil
}

func agent(id string, queue acd.QueueID) acd.Agent {
	a1 := []byte(id + ":" + lab.Realm + ":" + Password)
	sha, md := sha256.Sum256(a1), md5.Sum(a1)
	return acd.Agent{
		ID: acd.AgentID(id), Name: id, Queues: []acd.QueueID{queue}, AutoAvailable: true,
		HA1SHA256: hex.EncodeToString(sha[:]), HA1MD5: hex.EncodeToString(md[:]),
	}
}

// tree is the routing of all scenarios together.
func tree(all []*Scenario) (*acd.Config, error) {
	c := &acd.Config{Trunks: []acd.Trunk{{ID: lab.SBCA}, {ID: lab.SBCB}}}
	c.Outbound = acd.Outbound{Trunks: []acd.TrunkID{lab.SBCA, lab.SBCB}, From: "+74952000000"}
	for _, s := range all {
		if err := s.addTo(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}
