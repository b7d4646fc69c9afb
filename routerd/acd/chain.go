package acd

// offerToLost: the agent of a targeted offer did not take the call.
func (m *Machine) offerToLost(c *call, a *agent, class CauseClass) {
	m.endCall(c, BySystem, string(class), 0)
}

// partyLost: somebody outside who was called for the customer did not answer, or
// hung up.
func (m *Machine) partyLost(c *call, l Leg) {
	m.endCall(c, BySystem, l.Cause, 0)
}
