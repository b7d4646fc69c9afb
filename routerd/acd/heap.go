package acd

// ranked is a binary min-heap that tells its items where they stand, so that
// any of them can be removed or moved in O(log n). The order must be total:
// then the heap's layout, which depends on its history, never shows.
type ranked[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(item T, pos int) // pos is -1 when the item is not in the heap
}

func (r *ranked[T]) len() int { return len(r.items) }

func (r *ranked[T]) push(item T) {
	r.items = append(r.items, item)
	r.up(len(r.items) - 1)
}

// remove takes out the item at pos.
func (r *ranked[T]) remove(pos int) {
	last := len(r.items) - 1
	gone := r.items[pos]
	r.items[pos] = r.items[last]
	var zero T
	r.items[last] = zero
	r.items = r.items[:last]
	r.place(gone, -1)
	if pos < last {
		r.fix(pos)
	}
}

// fix restores the order after the item at pos changed its rank.
func (r *ranked[T]) fix(pos int) {
	if !r.down(pos) {
		r.up(pos)
	}
}

func (r *ranked[T]) up(i int) {
	item := r.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !r.less(item, r.items[parent]) {
			break
		}
		r.set(i, r.items[parent])
		i = parent
	}
	r.set(i, item)
}

func (r *ranked[T]) down(start int) bool {
	i, n, item := start, len(r.items), r.items[start]
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if right := child + 1; right < n && r.less(r.items[right], r.items[child]) {
			child = right
		}
		if !r.less(r.items[child], item) {
			break
		}
		r.set(i, r.items[child])
		i = child
	}
	r.set(i, item)
	return i > start
}

func (r *ranked[T]) set(i int, item T) {
	r.items[i] = item
	r.place(item, i)
}

// best appends the k lowest items, in order, without changing the heap.
func (r *ranked[T]) best(out []T, k int) []T {
	k = min(k, len(r.items))
	var few [8]int // the places that may be next; k is small
	frontier := few[:0]
	if k > 0 {
		frontier = append(frontier, 0)
	}
	for range k {
		least := 0
		for i := range frontier {
			if r.less(r.items[frontier[i]], r.items[frontier[least]]) {
				least = i
			}
		}
		pos := frontier[least]
		out = append(out, r.items[pos])
		frontier[least] = frontier[len(frontier)-1]
		frontier = frontier[:len(frontier)-1]
		for child := 2*pos + 1; child <= 2*pos+2 && child < len(r.items); child++ {
			frontier = append(frontier, child)
		}
	}
	return out
}
