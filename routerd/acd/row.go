package acd

import "math/bits"

// row is a set of numbers from 0 to n-1 that finds the next member at or after
// any number in O(log n), base 64: bit i of levels[0] says that i is a member,
// bit i of a higher level that word i of the one below is not empty.
type row struct {
	levels [][]uint64
	size   int // members
}

func newRow(n int) row {
	var r row
	for {
		n = (n + 63) / 64
		r.levels = append(r.levels, make([]uint64, n))
		if n <= 1 {
			return r
		}
	}
}

func (r *row) add(i int) {
	r.size++
	for _, words := range r.levels {
		words[i>>6] |= 1 << (i & 63)
		i >>= 6
	}
}

func (r *row) remove(i int) {
	r.size--
	for _, words := range r.levels {
		if words[i>>6] &^= 1 << (i & 63); words[i>>6] != 0 {
			return
		}
		i >>= 6
	}
}

// next is the lowest member from from to before to, or -1.
func (r *row) next(from, to int) int {
	i := from
	for level, words := range r.levels {
		if i>>6 >= len(words) {
			return -1
		}
		if rest := words[i>>6] >> (i & 63) << (i & 63); rest != 0 {
			i = i&^63 + bits.TrailingZeros64(rest)
			for level > 0 {
				level--
				i = i<<6 + bits.TrailingZeros64(r.levels[level][i])
			}
			if i >= to {
				return -1
			}
			return i
		}
		i = i>>6 + 1
	}
	return -1
}
