package session

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nap blocks the thread, or less if a signal comes.
//
// The system call is raw: the scheduler takes the thread for running and leaves
// it its processor. Told of the wait it would take that away and give it back a
// thousand times a second, which costs a fifth of the worker's processor time.
// What stops the world signals the thread, and so ends the wait.
func nap(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
