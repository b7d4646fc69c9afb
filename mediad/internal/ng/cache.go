package ng

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// cacheTime is how long a cookie is remembered: Kamailio's module repeats
	// for about five seconds at most.
	cacheTime = 30 * time.Second
	// cacheSize and cacheBytes bound what is remembered, whoever sends.
	cacheSize  = 100_000
	cacheBytes = 64 << 20
)

type cacheKey struct {
	from   netip.Addr
	cookie string
}

// cached is one request's reply, nil until there is one.
type cached struct {
	reply atomic.Pointer[[]byte]
	since time.Time
	key   cacheKey
}

// cache remembers the replies to datagrams, so that a repeat is not a second
// command.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]*cached
	order   []*cached // by age
	bytes   int       // of replies
}

// keep remembers an entry's reply.
func (c *cache) keep(e *cached, reply []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[e.key] == e { // not forgotten meanwhile
		c.bytes += len(reply)
		e.reply.Store(&reply)
	}
}

// get returns the entry of a cookie and whether it was there before.
func (c *cache) get(key cacheKey, now time.Time) (*cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := 0
	for old < len(c.order) && (now.Sub(c.order[old].since) > cacheTime || len(c.order)-old > cacheSize || c.bytes > cacheBytes) {
		if b := c.order[old].reply.Load(); b != nil {
			c.bytes -= len(*b)
		}
		delete(c.entries, c.order[old].key)
		c.order[old] = nil
		old++
	}
	c.order = c.order[old:]
	if e := c.entries[key]; e != nil {
		return e, true
	}
	e := &cached{since: now, key: key}
	c.entries[key] = e
	c.order = append(c.order, e)
	return e, false
}
