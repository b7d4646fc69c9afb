package acd

// line is a queue's calls in the order in which they are to be answered, those
// under offer included: it knows in O(log n) how many stand before a call.
//
// It is a treap whose second order is a mix of the tickets, so its shape
// depends on nothing but what is in it.
type line struct {
	root *call
	less func(a, b *call) bool // total, and fixed while a call is in the line
}

// place is a call's own part of its line.
type place struct {
	left, right *call
	size        int    // of the tree below and with this call; 0: in no line
	heap        uint64 // parents have the greater one
}

func (l *line) len() int { return size(l.root) }

func size(c *call) int {
	if c == nil {
		return 0
	}
	return c.place.size
}

func (c *call) resize() { c.place.size = 1 + size(c.place.left) + size(c.place.right) }

func (l *line) insert(c *call) {
	c.place = place{size: 1, heap: mix(c.Ticket)}
	l.root = l.put(l.root, c)
}

// put inserts c below at and returns the new top.
func (l *line) put(at, c *call) *call {
	if at == nil {
		return c
	}
	if c.place.heap > at.place.heap {
		c.place.left, c.place.right = l.split(at, c)
		c.resize()
		return c
	}
	if l.less(c, at) {
		at.place.left = l.put(at.place.left, c)
	} else {
		at.place.right = l.put(at.place.right, c)
	}
	at.resize()
	return at
}

// split parts the tree at into what stands before c and what stands after.
func (l *line) split(at, c *call) (before, after *call) {
	if at == nil {
		return nil, nil
	}
	if l.less(c, at) {
		before, at.place.left = l.split(at.place.left, c)
		at.resize()
		return before, at
	}
	at.place.right, after = l.split(at.place.right, c)
	at.resize()
	return at, after
}

func (l *line) remove(c *call) {
	l.root = l.cut(l.root, c)
	c.place = place{}
}

func (l *line) cut(at, c *call) *call {
	if at == c {
		return join(c.place.left, c.place.right)
	}
	if l.less(c, at) {
		at.place.left = l.cut(at.place.left, c)
	} else {
		at.place.right = l.cut(at.place.right, c)
	}
	at.resize()
	return at
}

// join makes one tree of two, all of a before all of b.
func join(a, b *call) *call {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.place.heap > b.place.heap:
		a.place.right = join(a.place.right, b)
		a.resize()
		return a
	}
	b.place.left = join(a, b.place.left)
	b.resize()
	return b
}

// position is 1 for the head.
func (l *line) position(c *call) int {
	n := 1
	for at := l.root; at != c; {
		if l.less(c, at) {
			at = at.place.left
		} else {
			n += 1 + size(at.place.left)
			at = at.place.right
		}
	}
	return n + size(c.place.left)
}

// each calls f for every call in order. f must not change the line.
func (l *line) each(f func(c *call)) { walk(l.root, f) }

func walk(at *call, f func(c *call)) {
	if at != nil {
		walk(at.place.left, f)
		f(at)
		walk(at.place.right, f)
	}
}

// mix spreads tickets over all of uint64, each to its own number.
func mix(v uint64) uint64 {
	v ^= v >> 30
	v *= 0xbf58476d1ce4e5b9
	v ^= v >> 27
	v *= 0x94d049bb133111eb
	return v ^ v>>31
}
