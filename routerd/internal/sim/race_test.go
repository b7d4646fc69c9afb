//go:build race

package sim

// raced: the race detector makes a seed ten times as long, and there is but one
// thread for it to watch.
const raced = true
