package acd

// digitsCollected: the keys of a waiting caller. Others' digits are between them
// and whom they talk to.
func (m *Machine) digitsCollected(c *call, b DigitsCollected) Result {
	if b.Leg != c.Caller || c.Caller == "" || c.State != CallWaiting {
		return m.noop(ReasonUnexpected)
	}
	for i := range b.Digits {
		q, key := m.queues[c.Queue], b.Digits[i:i+1]
		switch key {
		case q.ExitKey:
			m.withdraw(c, CauseExitKey)
			m.divert(c, &q.Exit, CauseExitKey)
			return Result{Applied: true} // the rest was meant for this queue
		case q.Callback.Key:
			if c.Offered && m.callbacks(c, q) && isE164(c.From) {
				m.promise(c, c.From)
				return Result{Applied: true}
			}
		}
	}
	return m.noop(ReasonNoSuchKey)
}
