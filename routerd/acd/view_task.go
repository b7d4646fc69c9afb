package acd

import (
	"cmp"
	"slices"
)

// Tasks returns the outbound tasks that are not over.
func (m *Machine) Tasks() []Task {
	out := make([]Task, 0, len(m.tasks))
	for _, t := range m.tasks { // any order: sorted below
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Task) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Task returns an outbound task that is not over.
func (m *Machine) Task(id TaskID) (Task, bool) {
	t, ok := m.tasks[id]
	if !ok {
		return Task{}, false
	}
	return *t, true
}
