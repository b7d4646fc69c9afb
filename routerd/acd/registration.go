package acd

import "slices"

// maxContacts bounds the bindings of one agent; the one nearest to its expiry
// makes room. A phone that restarts without unregistering must get in.
const maxContacts = 10

// same tells whether two bindings are one: by instance and flow where the
// phone names them (RFC 5626 section 6), else by URI.
func (ct Contact) same(other Contact) bool {
	if ct.Instance != "" && ct.RegID != 0 {
		return ct.Instance == other.Instance && ct.RegID == other.RegID
	}
	return ct.URI == other.URI && (other.Instance == "" || other.RegID == 0)
}

// registrationChanged adds, refreshes or removes bindings. A repeat with the
// same CSeq, perhaps through another router, does no harm.
func (m *Machine) registrationChanged(b RegistrationChanged) Result {
	a, ok := m.agents[b.Agent]
	if !ok || a.Deleted {
		return m.noop(ReasonUnknownAgent)
	}
	if b.Contact.URI == "" && b.Expires > 0 {
		r := m.noop(ReasonBadContact)
		r.Contacts = a.Contacts
		return r
	}
	at := slices.IndexFunc(a.Contacts, b.Contact.same)
	if at >= 0 && a.Contacts[at].SIPID == b.Contact.SIPID && a.Contacts[at].CSeq > b.Contact.CSeq {
		r := m.noop(ReasonOldRegister)
		r.Contacts = a.Contacts
		return r
	}
	had := len(a.Contacts)
	switch {
	case b.Contact.URI == "":
		m.dropContacts(a, "removed", func(Contact) bool { return true })
	case b.Expires <= 0:
		m.dropContacts(a, "removed", b.Contact.same)
	default:
		m.addContact(a, b, at)
	}
	m.contactsChanged(a, had)
	return Result{Applied: true, Contacts: a.Contacts}
}

func (m *Machine) addContact(a *agent, b RegistrationChanged, at int) {
	if at < 0 && len(a.Contacts) >= maxContacts {
		first := slices.MinFunc(a.Contacts, func(x, y Contact) int { return int(x.ExpiresAt.Sub(y.ExpiresAt)) })
		m.dropContacts(a, "replaced", first.same)
	}
	ct := b.Contact
	ct.ExpiresAt = m.now.Add(b.Expires)
	// A new slice: effects, results and snapshots share the old one.
	contacts := append(make([]Contact, 0, len(a.Contacts)+1), ct)
	for i, old := range a.Contacts {
		if i != at {
			contacts = append(contacts, old)
		}
	}
	a.Contacts = contacts
	if at < 0 {
		m.fact(Fact{Kind: FactAgentRegistered, Agent: a.ID}).text("uri", ct.URI).text("user_agent", ct.UserAgent)
	}
}

// dropContacts removes the bindings that match.
func (m *Machine) dropContacts(a *agent, cause string, match func(Contact) bool) {
	kept := make([]Contact, 0, len(a.Contacts))
	for _, ct := range a.Contacts {
		if match(ct) {
			m.unregistered(a, ct, cause)
		} else {
			kept = append(kept, ct)
		}
	}
	if len(kept) == 0 {
		kept = nil
	}
	a.Contacts = kept
}

func (m *Machine) unregistered(a *agent, ct Contact, cause string) {
	m.fact(Fact{Kind: FactAgentUnregistered, Agent: a.ID}).text("uri", ct.URI).text("cause", cause)
}

// registrationsExpired drops the bindings whose time is over. It doesn't end a
// call: the phone may well be talking.
func (m *Machine) registrationsExpired(a *agent) {
	had := len(a.Contacts)
	m.dropContacts(a, "expired", func(ct Contact) bool { return ct.ExpiresAt <= m.now })
	m.contactsChanged(a, had)
}

// contactsChanged arms the expiry of the earliest binding and follows the
// agent's AutoAvailable when the first phone comes or the last one goes.
func (m *Machine) contactsChanged(a *agent, had int) {
	if len(a.Contacts) == 0 {
		m.timers.stop(timerRegistration, string(a.ID), "")
	} else {
		first := a.Contacts[0].ExpiresAt
		for _, ct := range a.Contacts[1:] {
			first = min(first, ct.ExpiresAt)
		}
		m.timers.set(first, timerRegistration, string(a.ID), "")
	}
	switch {
	case had == 0 && len(a.Contacts) > 0:
		a.IdleSince = m.now // not eligible until now
		if a.cfg.AutoAvailable && a.Status == LoggedOut {
			m.setStatus(a, Available, CauseAutomatic)
		}
		if a.Pending == LoggedOut && a.PendingReason == CauseUnregistered {
			m.askStatus(a, a.Status, a.Reason) // the phone is back before the call is over
		}
	case had > 0 && len(a.Contacts) == 0 && a.cfg.AutoAvailable && a.Status != LoggedOut:
		m.askStatus(a, LoggedOut, CauseUnregistered)
	}
	m.agentReady(a)
}
