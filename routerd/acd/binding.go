package acd

import "slices"

// maxNonces bounds what is remembered of an agent's digests. A nonce is good for
// minutes, and a phone uses one for many REGISTERs.
const maxNonces = 16

// NonceUse is how far a nonce was used for REGISTER or INVITE (RFC 7616 section 3.4).
type NonceUse struct {
	Nonce string `cbor:"1,keyasint"`
	Count uint32 `cbor:"2,keyasint"`
	Sum   uint64 `cbor:"3,keyasint"` // of what it was last used for, so that a repeat is known
}

// sum folds what a REGISTER asks for.
func (b *BindingsChanged) sum() uint64 {
	s := foldBytes(foldBytes(uint64(b.CSeq), []byte(b.SIPID)), []byte(b.Nonce))
	if b.All {
		s = fold(s, 1)
	}
	for i := range b.Bindings {
		ct := &b.Bindings[i].Contact
		s = fold(fold(s, uint64(b.Bindings[i].Expires)), uint64(ct.RegID))
		s = foldBytes(foldBytes(s, []byte(ct.URI)), []byte(ct.Instance))
		for _, p := range ct.Path {
			s = foldBytes(s, []byte(p))
		}
	}
	return s
}

// bindingsChanged adds, refreshes and removes bindings, all that is asked for or
// nothing. The same REGISTER again, perhaps through another router, is answered
// with what there is.
func (m *Machine) bindingsChanged(b BindingsChanged) Result {
	a, ok := m.agents[b.Agent]
	if !ok || a.Deleted {
		return m.noop(ReasonUnknownAgent)
	}
	refuse := func(reason string) Result {
		r := m.noop(reason)
		r.Contacts = a.Contacts
		return r
	}
	if len(b.Bindings) > maxContacts {
		return refuse(ReasonTooManyContacts)
	}
	used := slices.IndexFunc(a.Nonces, func(u NonceUse) bool { return b.Nonce != "" && u.Nonce == b.Nonce })
	if used >= 0 && a.Nonces[used].Count >= b.Count {
		if a.Nonces[used].Count == b.Count && a.Nonces[used].Sum == b.sum() {
			return refuse(ReasonUnchanged)
		}
		return refuse(ReasonReplayed)
	}
	if reason := b.old(a); reason != "" {
		return refuse(reason)
	}
	a.useNonce(used, b)
	had := len(a.Contacts)
	if b.All {
		m.dropContacts(a, "removed", func(Contact) bool { return true })
	}
	for _, n := range b.Bindings {
		ct := n.Contact
		ct.SIPID, ct.CSeq = b.SIPID, b.CSeq
		if n.Expires <= 0 {
			m.dropContacts(a, "removed", ct.same)
		} else {
			m.addContact(a, RegistrationChanged{Agent: b.Agent, Contact: ct, Expires: n.Expires}, slices.IndexFunc(a.Contacts, ct.same))
		}
	}
	m.contactsChanged(a, had)
	return Result{Applied: true, Contacts: a.Contacts}
}

// old says why a REGISTER must change nothing: one of the bindings it is about
// was set by the same Call-ID with a CSeq that is not lower (RFC 3261 section
// 10.3 steps 6 and 7).
func (b *BindingsChanged) old(a *agent) (reason string) {
	later := func(ct Contact) bool { return ct.SIPID == b.SIPID && ct.CSeq >= b.CSeq }
	if b.All && slices.ContainsFunc(a.Contacts, later) {
		return ReasonOldRegister
	}
	for _, n := range b.Bindings {
		if n.Contact.URI == "" {
			return ReasonBadContact
		}
		if at := slices.IndexFunc(a.Contacts, n.Contact.same); at >= 0 && later(a.Contacts[at]) {
			return ReasonOldRegister
		}
	}
	return ""
}

// useNonce remembers the use of a nonce; used is where it stands. A new slice:
// snapshots share the old one.
func (a *agent) useNonce(used int, b BindingsChanged) {
	if b.Nonce == "" {
		return
	}
	nonces := make([]NonceUse, 0, len(a.Nonces)+1)
	for i, u := range a.Nonces {
		if i != used {
			nonces = append(nonces, u)
		}
	}
	nonces = append(nonces, NonceUse{Nonce: b.Nonce, Count: b.Count, Sum: b.sum()})
	a.Nonces = nonces[max(len(nonces)-maxNonces, 0):]
}

// Replayed tells whether the agent's digest with this nonce and count was used.
func (m *Machine) Replayed(agent AgentID, nonce string, count uint32) bool {
	a := m.agents[agent]
	return a != nil && slices.ContainsFunc(a.Nonces, func(u NonceUse) bool { return u.Nonce == nonce && u.Count >= count })
}
