package raftstore

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir makes dir this process's own until unlock or the process's end: two
// nodes on one log would destroy it.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("raftstore: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("raftstore: %s is in use by another process: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
