//go:build linux

package udp

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one Receive takes from one socket, and
// bufferSize the most one may hold: SRTP stays under a 1500-byte MTU.
const (
	batchSize  = 16
	bufferSize = 2048
)

// mmsghdr is struct mmsghdr of sendmmsg(2), which x/sys does not define.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// Batch is room for received datagrams, reused from socket to socket.
type Batch struct {
	hdrs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrAny
	bufs  [batchSize][bufferSize]byte
	used  int // of the last Receive
}

// NewBatch prepares a batch.
func NewBatch() *Batch {
	b := &Batch{used: batchSize}
	for i := range b.hdrs {
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(bufferSize)
		b.hdrs[i].hdr.Iov = &b.iovs[i]
		b.hdrs[i].hdr.SetIovlen(1)
		b.hdrs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	return b
}

// Receive takes what is there, at most a batch, and returns how many datagrams
// that is; 0 if there are none.
func (b *Batch) Receive(s *Socket) int {
	if s.fd <= 0 {
		return 0
	}
	for i := range b.used { // the kernel shortened these
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrAny
	}
	b.used = 0
	for range 2 { // an ICMP error of an earlier send stands before what is there
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.hdrs[0])), batchSize,
			unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			b.used = int(n)
			break
		}
		if errno == unix.EAGAIN {
			break
		}
	}
	return b.used
}

// Full tells whether a Receive of n may have left datagrams behind.
func (b *Batch) Full(n int) bool { return n == batchSize }

// Datagram returns the i-th datagram and its sender. The bytes are the
// caller's until the next Receive, with room behind them for what protection
// adds; a datagram that was cut to fit is empty.
func (b *Batch) Datagram(i int) ([]byte, netip.AddrPort) {
	if b.hdrs[i].hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil, netip.AddrPort{}
	}
	return b.bufs[i][:b.hdrs[i].len], sender(&b.names[i])
}

func sender(name *unix.RawSockaddrAny) netip.AddrPort {
	switch name.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), hostOrder(sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), hostOrder(sa.Port))
	}
	return netip.AddrPort{}
}

func hostOrder(port uint16) uint16 {
	if littleEndian {
		return port<<8 | port>>8
	}
	return port
}

// Poller is an epoll set. Each socket in it bears a token of its owner's. A
// token is told once for what has come: who does not take all of it (Batch.Full)
// is not told again until more comes. So the kernel need not look at a socket a
// second time to find it empty.
type Poller struct {
	fd     int
	wake   int
	events []unix.EpollEvent
}

// wakeToken can't be a socket's: tokens are 63 bits.
const wakeToken = 1 << 63

// NewPoller makes an empty set.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	p := &Poller{fd: fd, wake: wake, events: make([]unix.EpollEvent, 512)}
	if err := p.add(wake, wakeToken, unix.EPOLLIN); err != nil {
		p.Close()
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	return p, nil
}

// Add puts a socket into the set until it is closed.
func (p *Poller) Add(s *Socket, token uint64) error {
	if err := p.add(s.fd, token, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

func (p *Poller) add(fd int, token uint64, events uint32) error {
	e := unix.EpollEvent{Events: events}
	*(*uint64)(unsafe.Pointer(&e.Fd)) = token // Fd and Pad are the kernel's 64-bit data
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &e)
}

// Wait blocks until a socket has something, Wake was called or the time is
// over, and returns how many tokens there are to ask for.
func (p *Poller) Wait(timeout time.Duration) int {
	ms := max(0, (timeout+time.Millisecond-1)/time.Millisecond)
	// Raw, see session.nap: a thread that waits here has a processor of Go's
	// scheduler to itself, and its signals end the wait.
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)),
		uintptr(ms), 0, 0)
	if errno != 0 {
		return 0 // EINTR
	}
	return int(n)
}

// Token returns the i-th token of the last Wait; not ok for a wake-up.
func (p *Poller) Token(i int) (token uint64, ok bool) {
	token = *(*uint64)(unsafe.Pointer(&p.events[i].Fd))
	if token == wakeToken {
		var b [8]byte
		_, _ = unix.Read(p.wake, b[:])
		return 0, false
	}
	return token, true
}

// Wake makes Wait return.
func (p *Poller) Wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:])
}

// Close ends the set.
func (p *Poller) Close() {
	_ = unix.Close(p.wake)
	_ = unix.Close(p.fd)
}
