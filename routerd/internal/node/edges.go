package node

import (
	"net"
	"slices"
	"sync"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// edgeSilence is how long an edge that was heard may say nothing before it is
// taken for dead: each pings this router every second, by several ports.
const edgeSilence = 2500 * time.Millisecond

// edges knows which edges this router has heard lately. It only decides what is
// tried first: whoever errs here loses a moment and no call.
type edges struct {
	mu    sync.Mutex
	heard map[string]time.Time // by IP
}

// hear notes that a message came from an edge.
func (e *edges) hear(remote string) {
	ip, _, err := net.SplitHostPort(remote)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard == nil {
		e.heard = map[string]time.Time{}
	}
	e.heard[ip] = time.Now() // sources are those of sip.edges, so there are few
}

// silent tells whether an edge was heard once and is not any more.
func (e *edges) silent(ip string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.heard[ip]
	return ok && time.Since(at) > edgeSilence
}

// heardFirst puts the contacts whose edge is silent behind the others: the phone's
// second flow is tried at once (RFC 5626).
func (e *edges) heardFirst(contacts []acd.Contact) []acd.Contact {
	dead := func(c acd.Contact) bool {
		host, ok := sip.FirstHop(c.Path)
		return ok && e.silent(host)
	}
	out := slices.Clone(contacts)
	slices.SortStableFunc(out, func(a, b acd.Contact) int { return rank(dead(a)) - rank(dead(b)) })
	return out
}

// order gives the places of the edges in the order in which a call tries them,
// beginning with another one from call to call.
func (e *edges) order(addrs []string, turn uint64) []int {
	var out []int
	for i := range addrs {
		out = append(out, int((turn+uint64(i))%uint64(len(addrs))))
	}
	dead := func(i int) bool {
		ip, _, err := net.SplitHostPort(addrs[i])
		return err == nil && e.silent(ip)
	}
	slices.SortStableFunc(out, func(a, b int) int { return rank(dead(a)) - rank(dead(b)) })
	return out
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}
