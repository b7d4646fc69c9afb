package node

import (
	"sync"
	"time"
)

// mailbox is an ordered queue without bound: what comes from the log or from a
// connection must never wait for an actor. What one call can put there is
// bounded by its own dialogs.
type mailbox struct {
	mu     sync.Mutex
	queue  []letter
	wake   chan struct{} // holds one token while queue may be non-empty
	closed bool
}

// letter is a message and when it was put there.
type letter struct {
	msg any
	at  time.Time
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put adds a message; false means the actor is gone and took nothing.
func (m *mailbox) put(msg any) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.queue = append(m.queue, letter{msg, time.Now()})
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// take removes the oldest message.
func (m *mailbox) take() (msg any, ok bool) {
	l, ok := m.next()
	return l.msg, ok
}

// next removes the oldest message and tells when it was put there.
func (m *mailbox) next() (l letter, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return letter{}, false
	}
	l, m.queue[0] = m.queue[0], letter{}
	m.queue = m.queue[1:]
	return l, true
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
