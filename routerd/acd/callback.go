package acd

// dialCustomer calls the customer of a call that waits without one; an agent is
// reserved.
func (m *Machine) dialCustomer(c *call) {
	if m.dial(c, RoleCaller, c.Number) == nil {
		m.customerLost(c, ClassUnavailable)
	}
}

// customerAnswered connects the customer with the agent who was reserved.
func (m *Machine) customerAnswered(c *call, l *Leg) {
	c.Caller, c.Answered = l.ID, m.now
	m.ringReserved(c)
}

// customerLost: the customer could not be reached.
func (m *Machine) customerLost(c *call, class CauseClass) {
	m.endCall(c, BySystem, string(class), 0)
}
