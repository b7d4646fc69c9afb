package node

import "sync"

// mailbox is an ordered queue without bound: what comes from the log or from a
// connection must never wait for an actor. What one call can put there is
// bounded by its own dialogs.
type mailbox struct {
	mu     sync.Mutex
	queue  []any
	wake   chan struct{} // holds one token while queue may be non-empty
	closed bool
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put adds a message; false means the actor is gone and took nothing.
func (m *mailbox) put(msg any) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.queue = append(m.queue, msg)
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// take removes the oldest message.
func (m *mailbox) take() (msg any, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil, false
	}
	msg, m.queue[0] = m.queue[0], nil
	m.queue = m.queue[1:]
	return msg, true
}

// closeIfEmpty closes the box unless something came in meanwhile.
func (m *mailbox) closeIfEmpty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) > 0 {
		return false
	}
	m.closed = true
	return true
}
