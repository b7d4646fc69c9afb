package session

import (
	"os"
	"runtime"
	"testing"
)

// As mediad's main does: a shard's thread keeps its processor while it waits
// for packets, and everything else needs processors too. Tests that run side by
// side have many shards.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.NumCPU() + 64)
	os.Exit(m.Run())
}
