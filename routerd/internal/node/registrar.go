package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// registrarPolicy bounds how long a phone's binding lives.
var registrarPolicy = sip.RegistrarPolicy{Min: 60 * time.Second, Default: time.Hour, Max: 2 * time.Hour}

// registerPatience is how long a REGISTER may wait for its commit; after that
// the phone is asked to come again.
const registerPatience = 4 * time.Second

// Why a REGISTER was refused that was more than the usual challenge.
var (
	registerWrong     = metrics.NewCounter(`routerd_registrations_refused_total{reason="wrong-password"}`)
	registerThrottled = metrics.NewCounter(`routerd_registrations_refused_total{reason="throttled"}`)
	registerReplayed  = metrics.NewCounter(`routerd_registrations_refused_total{reason="replayed"}`)
	registerOld       = metrics.NewCounter(`routerd_registrations_refused_total{reason="old"}`)
	registerBad       = metrics.NewCounter(`routerd_registrations_refused_total{reason="bad"}`)
	registerFailed    = metrics.NewCounter(`routerd_registrations_refused_total{reason="not-committed"}`)
)

// authenticator checks phones against the digests of the routing tree.
func (n *Node) authenticator(secret []byte) *sip.Authenticator {
	return &sip.Authenticator{Realm: n.conf.SIP.Realm, Secret: secret, HA1: func(user string, alg sip.Algorithm) (ha1 string, ok bool) {
		n.view(func(m *acd.Machine) {
			conf, _ := m.Config()
			for i := range conf.Agents { // all of them, whoever is asked for: it takes the same time
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
	}, Peers: func() (int, func(int) string) {
		var agents []acd.Agent // never changed in place
		n.view(func(m *acd.Machine) {
			conf, _ := m.Config()
			agents = conf.Agents
		})
		return len(agents), func(i int) string { return string(agents[i].ID) }
	}}
}

// register answers a REGISTER: who is it, is it allowed, commit, 200 with all
// bindings (RFC 3261 section 10.3, RFC 3327, RFC 5626).
func (n *Node) register(req *sip.Request, flow sip.Flow) {
	if err := n.Ready(); err != nil {
		n.refuse(req, flow, sip.Unavailable(2))
		return
	}
	if n.load.loss.Load() == 100 { // nothing could be committed
		registerFailed.Inc()
		n.refuse(req, flow, overloadRefusal(5))
		return
	}
	proof, refusal := n.proven(req, req.To().User(), sip.Source(req.Path()))
	if refusal != nil {
		challenged.Inc()
		n.refuse(req, flow, *refusal)
		return
	}
	reg, refusal := sip.ParseRegister(req, registrarPolicy)
	if refusal == nil && reg.User != proof.User {
		refusal = &sip.Refusal{Code: 403, Reason: "Not Your Address"}
	}
	if refusal != nil {
		registerBad.Inc()
		n.refuse(req, flow, *refusal)
		return
	}
	contacts, refusal := n.bind(reg, proof)
	if refusal != nil {
		n.refuse(req, flow, *refusal)
		return
	}
	now := n.machineTime()
	bindings := make([]sip.Binding, 0, len(contacts))
	for _, c := range contacts {
		bindings = append(bindings, sip.Binding{URI: c.URI, Expires: max(c.ExpiresAt.Sub(now), 0), Instance: c.Instance, RegID: c.RegID})
	}
	registered.Inc()
	n.send(sip.RegisterOK(req, flow, sip.NewTag(req.CallID()), product, bindings))
}

// proven is who a REGISTER, or a call of an agent's, comes from. Whoever guesses too much gets the challenge
// of all others, after the same work, whatever the password.
func (n *Node) proven(req *sip.Request, user, source string) (sip.Proof, *sip.Refusal) {
	known, exists := false, false
	n.view(func(m *acd.Machine) {
		var a acd.AgentInfo
		a, exists = m.Agent(acd.AgentID(user))
		known = slices.ContainsFunc(a.Contacts, func(c acd.Contact) bool { return source != "" && sip.Source(c.Path) == source })
	})
	now := time.Now()
	blocked := n.guard.blocked(source, user, known, now)
	proof, refusal := n.auth.Check(n.machineTime(), req)
	switch {
	case proof.Wrong:
		registerWrong.Inc()
		n.guard.wrong(source, user, known, exists, now)
	case blocked && refusal == nil:
		registerThrottled.Inc()
		ref := n.auth.Challenge(n.machineTime(), user, false)
		refusal = &ref
	}
	return proof, refusal
}

// bind commits what a REGISTER asks for, all of it or nothing, and returns the
// agent's bindings, or why not.
func (n *Node) bind(reg sip.Registration, proof sip.Proof) ([]acd.Contact, *sip.Refusal) {
	agent := acd.AgentID(reg.User)
	if len(reg.Contacts) == 0 && !reg.RemoveAll { // asks what there is
		var a acd.AgentInfo
		var replayed bool
		n.view(func(m *acd.Machine) {
			a, _ = m.Agent(agent)
			replayed = m.Replayed(agent, proof.Nonce, proof.Count)
		})
		if replayed {
			return nil, n.registerRefusal(agent, acd.ReasonReplayed)
		}
		return a.Contacts, nil
	}
	change := acd.BindingsChanged{Agent: agent, SIPID: reg.CallID, CSeq: reg.CSeq, All: reg.RemoveAll, Nonce: proof.Nonce, Count: proof.Count}
	for _, b := range reg.Contacts {
		change.Bindings = append(change.Bindings, acd.Binding{
			Contact: acd.Contact{URI: b.URI, Path: reg.Path, Instance: b.Instance, RegID: b.RegID, UserAgent: reg.UserAgent}, Expires: b.Expires,
		})
	}
	ctx, cancel := context.WithTimeout(n.life, registerPatience)
	defer cancel()
	res, _, err := n.proposer.propose(ctx, change)
	if err != nil {
		registerFailed.Inc()
		if !errors.Is(err, context.Canceled) {
			n.log.Warn("a registration could not be committed", "agent", agent, "err", err)
		}
		ref := sip.Unavailable(2)
		return nil, &ref
	}
	if !res.Applied && res.Reason != acd.ReasonUnchanged {
		return nil, n.registerRefusal(agent, res.Reason)
	}
	return res.Contacts, nil
}

// registerRefusal is the answer for a reason of the machine's.
func (n *Node) registerRefusal(agent acd.AgentID, reason string) *sip.Refusal {
	n.log.Info("a registration is refused", "agent", agent, "err", reason)
	ref := sip.Refusal{Code: 400, Reason: "Bad Registration"}
	switch reason {
	case acd.ReasonReplayed: // with a fresh nonce the phone itself is let in at once
		registerReplayed.Inc()
		ref = n.auth.Challenge(n.machineTime(), string(agent), true)
		return &ref
	case acd.ReasonOldRegister:
		registerOld.Inc()
		ref = sip.Refusal{Code: 500, Reason: "Registration Out Of Order"}
		return &ref
	case acd.ReasonTooManyContacts:
		ref.Reason = "Too Many Contacts"
	case acd.ReasonUnknownAgent:
		ref = sip.NotFound
	}
	registerBad.Inc()
	return &ref
}
