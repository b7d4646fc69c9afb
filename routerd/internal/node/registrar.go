package node

import (
	"context"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// registrarPolicy bounds how long a phone's binding lives.
var registrarPolicy = sip.RegistrarPolicy{Min: 60 * time.Second, Default: time.Hour, Max: 2 * time.Hour}

// registerPatience is how long a REGISTER may wait for its commit; after that
// the phone is asked to come again.
const registerPatience = 4 * time.Second

// authenticator checks phones against the digests of the routing tree.
func (n *Node) authenticator(secret []byte) *sip.Authenticator {
	return &sip.Authenticator{Realm: n.conf.SIP.Realm, Secret: secret, HA1: func(user string, alg sip.Algorithm) (ha1 string, ok bool) {
		n.view(func(m *acd.Machine) {
			conf, _ := m.Config()
			for i := range conf.Agents {
				if string(conf.Agents[i].ID) != user {
					continue
				}
				ha1 = conf.Agents[i].HA1SHA256
				if alg == sip.MD5 {
					ha1 = conf.Agents[i].HA1MD5
				}
			}
		})
		return ha1, ha1 != ""
	}}
}

// register answers a REGISTER: who is it, is it allowed, commit, 200 with all
// bindings (RFC 3261 section 10.3, RFC 3327, RFC 5626).
func (n *Node) register(req *sip.Request, flow sip.Flow) {
	if err := n.Ready(); err != nil {
		n.refuse(req, flow, sip.Unavailable(2))
		return
	}
	user, refusal := n.auth.Check(n.machineTime(), req)
	if refusal != nil {
		challenged.Inc()
		n.refuse(req, flow, *refusal)
		return
	}
	reg, refusal := sip.ParseRegister(req, registrarPolicy)
	if refusal != nil {
		n.refuse(req, flow, *refusal)
		return
	}
	if reg.User != user {
		n.refuse(req, flow, sip.Refusal{Code: 403, Reason: "Not Your Address"})
		return
	}
	bindings, err := n.bind(reg)
	if err != nil {
		n.log.Warn("a registration could not be committed", "agent", user, "err", err)
		n.refuse(req, flow, sip.Unavailable(2))
		return
	}
	registered.Inc()
	n.send(sip.RegisterOK(req, flow, sip.NewTag(req.CallID()), product, bindings))
}

// bind commits what a REGISTER asks for and returns the agent's bindings.
func (n *Node) bind(reg sip.Registration) ([]sip.Binding, error) {
	ctx, cancel := context.WithTimeout(n.life, registerPatience)
	defer cancel()
	agent := acd.AgentID(reg.User)
	var contacts []acd.Contact
	n.view(func(m *acd.Machine) {
		a, _ := m.Agent(agent)
		contacts = a.Contacts
	})
	commit := func(c acd.Contact, expires time.Duration) error {
		c.SIPID, c.CSeq = reg.CallID, reg.CSeq
		res, _, err := n.proposer.propose(ctx, acd.RegistrationChanged{Agent: agent, Contact: c, Expires: expires})
		if err == nil && res.Applied {
			contacts = res.Contacts
		}
		return err
	}
	if reg.RemoveAll {
		if err := commit(acd.Contact{}, 0); err != nil {
			return nil, err
		}
	}
	for _, b := range reg.Contacts {
		c := acd.Contact{URI: b.URI, Path: reg.Path, Instance: b.Instance, RegID: b.RegID, UserAgent: reg.UserAgent}
		if err := commit(c, b.Expires); err != nil {
			return nil, err
		}
	}
	now := n.machineTime()
	out := make([]sip.Binding, 0, len(contacts))
	for _, c := range contacts {
		out = append(out, sip.Binding{URI: c.URI, Expires: max(c.ExpiresAt.Sub(now), 0), Instance: c.Instance, RegID: c.RegID})
	}
	return out, nil
}
