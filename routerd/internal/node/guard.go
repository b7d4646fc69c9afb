package node

import (
	"sync"
	"time"
)

// guard slows the guessing of passwords down. It belongs to this router alone:
// failures in the log would let every stranger write there. Who spreads guesses
// over the routers gets as many times the tries, which are still too few.
//
// A source has its tries for all names together. A user has some too, for guesses
// come from many sources; the addresses from which that user's phones are
// registered are exempt, so that nobody is locked out by somebody else's guesses.
type guard struct {
	mu      sync.Mutex
	sources map[string]tries
	users   map[string]tries // of users there are, so no more than those
}

// tries are wrong passwords of late: each is forgiven after a while.
type tries struct {
	n    int
	last time.Time
}

// allowance is how many wrong passwords may be tried at once, and after how long
// one more.
type allowance struct {
	n       int
	forgive time.Duration
}

var (
	ofSource = allowance{20, 10 * time.Second}
	ofUser   = allowance{10, 30 * time.Second}
)

// maxSources bounds the memory of addresses.
const maxSources = 4096

// left is what is held against somebody now.
func (a allowance) left(t tries, now time.Time) tries {
	forgiven := int(now.Sub(t.last) / a.forgive)
	if forgiven >= t.n {
		return tries{last: now}
	}
	return tries{t.n - forgiven, t.last.Add(time.Duration(forgiven) * a.forgive)}
}

// blocked tells whether no password from there counts now, right or wrong. known:
// a phone of the user is registered from that address.
func (g *guard) blocked(source, user string, known bool, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known {
		return false
	}
	return ofSource.left(g.sources[source], now).n >= ofSource.n || ofUser.left(g.users[user], now).n >= ofUser.n
}

// wrong notes a wrong password. exists: there is such a user.
func (g *guard) wrong(source, user string, known, exists bool, now time.Time) {
	if known {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sources == nil {
		g.sources, g.users = map[string]tries{}, map[string]tries{}
	}
	if _, ok := g.sources[source]; !ok && len(g.sources) >= maxSources {
		g.makeRoom(now)
	}
	t := ofSource.left(g.sources[source], now)
	g.sources[source] = tries{t.n + 1, t.last}
	if exists {
		t = ofUser.left(g.users[user], now)
		g.users[user] = tries{t.n + 1, t.last}
	}
}

// makeRoom forgets sources against which nothing is held any more, or else the
// one whose failure is the oldest.
func (g *guard) makeRoom(now time.Time) {
	oldest := ""
	for source, t := range g.sources {
		if ofSource.left(t, now).n == 0 {
			delete(g.sources, source)
		} else if oldest == "" || t.last.Before(g.sources[oldest].last) {
			oldest = source
		}
	}
	if len(g.sources) >= maxSources {
		delete(g.sources, oldest)
	}
}
