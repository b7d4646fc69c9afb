// Package ports hands out pairs of UDP ports, even for RTP and the odd one
// above for RTCP (RFC 3550 section 11), from the range of one media address.
//
// It opens no sockets: whether a port is really free the kernel says. A freed
// pair goes to the back of the queue, so that a late packet of the last call
// does not reach the next one. A Pool belongs to one owner at a time.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// ErrNone is returned when every pair is in use.
var ErrNone = errors.New("no free port pair")

// Range is an inclusive range of port numbers.
type Range struct{ First, Last uint16 }

// ParseRange reads "20000-39999". There must be room for one pair.
func ParseRange(s string) (Range, error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 16)
	last, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 16)
	if !ok || err1 != nil || err2 != nil || first < 1024 {
		return Range{}, fmt.Errorf("port range %q: want first-last, 1024 or above", s)
	}
	r := Range{uint16(first), uint16(last)}
	if r.Pairs() < 1 {
		return Range{}, fmt.Errorf("port range %q holds no pair", s)
	}
	return r, nil
}

// Pairs is how many pairs the range holds.
func (r Range) Pairs() int {
	first := (int(r.First) + 1) &^ 1
	return max(0, (int(r.Last)-first+1)/2)
}

// Pool is the pairs of one address, each named by its even port.
type Pool struct {
	queue []uint16 // a ring of free pairs; a taken one stays until it comes up
	head  int
	n     int
	taken map[uint16]bool
	inq   map[uint16]bool
}

// NewPool makes a pool whose order starts at random and is scattered, so that
// ports can't be foretold.
func NewPool(r Range) *Pool {
	first := (int(r.First) + 1) &^ 1
	n := r.Pairs()
	p := &Pool{queue: make([]uint16, n), n: n, taken: map[uint16]bool{}, inq: make(map[uint16]bool, n)}
	for i, j := range rand.Perm(n) {
		p.queue[i] = uint16(first + 2*j)
		p.inq[p.queue[i]] = true
	}
	return p
}

// Get takes the pair that has been free the longest.
func (p *Pool) Get() (uint16, error) {
	for p.n > 0 {
		port := p.queue[p.head]
		p.head = (p.head + 1) % len(p.queue)
		p.n--
		delete(p.inq, port)
		if !p.taken[port] {
			p.taken[port] = true
			return port, nil
		}
	}
	return 0, ErrNone
}

// Take takes a certain pair, of this range or not: a worker that takes over
// sessions takes over their ports. It reports false if the pair is in use.
func (p *Pool) Take(port uint16) bool {
	if p.taken[port] {
		return false
	}
	p.taken[port] = true
	return true
}

// Put gives a pair back. Pairs outside the range, and those still queued from
// before Take, are only unmarked.
func (p *Pool) Put(port uint16) {
	if !p.taken[port] {
		return
	}
	delete(p.taken, port)
	if p.inq[port] || p.n == len(p.queue) {
		return
	}
	p.queue[(p.head+p.n)%len(p.queue)] = port
	p.inq[port] = true
	p.n++
}

// Free is how many pairs can be got.
func (p *Pool) Free() int { return max(0, len(p.queue)-len(p.taken)) }
