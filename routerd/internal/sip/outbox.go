package sip

import "sync"

// Bounds of what may wait to be written to one connection or for one
// destination. A far end that does not read costs this much and no more.
const (
	outboxJobs  = 4096
	outboxBytes = 1 << 20
)

// outbox is a bounded queue of packets that takes memory only for what is in it.
type outbox struct {
	mu     sync.Mutex
	jobs   []job
	bytes  int
	closed bool
	wake   chan struct{} // has one element after a put
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put takes a job, unless the box is closed or full.
func (b *outbox) put(j job) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return errClosedConn
	case len(b.jobs) >= outboxJobs, len(b.jobs) > 0 && b.bytes+len(j.p.Data) > outboxBytes:
		return errQueueFull
	}
	b.jobs = append(b.jobs, j)
	b.bytes += len(j.p.Data)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

// take gives everything that waits, oldest first.
func (b *outbox) take() []job {
	b.mu.Lock()
	defer b.mu.Unlock()
	jobs := b.jobs
	b.jobs, b.bytes = nil, 0
	return jobs
}

// close refuses every further job and gives those left.
func (b *outbox) close() []job {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.take()
}

// closeIfEmpty closes the box unless something waits.
func (b *outbox) closeIfEmpty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.jobs) > 0 {
		return false
	}
	b.closed = true
	return true
}
