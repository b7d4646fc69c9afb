package acd

// AdmissionInfo is a rule of admission that applies at this hour.
type AdmissionInfo struct {
	Admission
	Passed bool // calls that come now go by its Then
}

// Admitted returns the rules of admission of a queue that apply now, and why the
// queue takes no more calls, if it takes none.
func (m *Machine) Admitted(id QueueID) (rules []AdmissionInfo, barred string) {
	q, ok := m.queues[id]
	if !ok {
		return nil, ""
	}
	for i := range q.Admission {
		if a := &q.Admission[i]; m.during(a.Open, a.Closed) {
			rules = append(rules, AdmissionInfo{*a, m.passed(q, a)})
		}
	}
	barred, _ = m.barred(q)
	return rules, barred
}
