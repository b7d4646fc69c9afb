package main

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many datagrams one system call moves, and datagramSize
	// the most one may hold.
	batchSize    = 64
	datagramSize = 512
	// receiveBuffer of a socket: a second of its share of the packets.
	receiveBuffer = 64 << 20
)

// mmsghdr is struct mmsghdr of sendmmsg(2), which x/sys does not define.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// datagrams is room for a batch in one direction.
type datagrams struct {
	hdrs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrInet4
	bufs  [batchSize][datagramSize]byte
	n     int // to be sent
}

func newDatagrams() *datagrams {
	d := &datagrams{}
	for i := range d.hdrs {
		d.iovs[i].Base = &d.bufs[i][0]
		d.hdrs[i].hdr.Iov = &d.iovs[i]
		d.hdrs[i].hdr.SetIovlen(1)
		d.hdrs[i].hdr.Name = (*byte)(unsafe.Pointer(&d.names[i]))
		d.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	return d
}

// socket is a UDP port at which many parties of calls receive and from which
// they send, so that one system call serves many: the generator shall not drown
// the machine that it measures on.
type socket struct {
	fd   int
	addr netip.AddrPort
	out  *datagrams
}

func openSocket(addr netip.Addr) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	s := &socket{fd: fd, out: newDatagrams()}
	// Root may exceed the machine's limit; who is not gets what there is.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4()}); err != nil {
		s.close()
		return nil, fmt.Errorf("bind %s: %w", addr, err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("bind %s: %w", addr, err)
	}
	s.addr = netip.AddrPortFrom(addr, uint16(sa.(*unix.SockaddrInet4).Port))
	return s, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// next is room for a datagram to be sent; full batches go out by themselves.
func (s *socket) next() []byte {
	if s.out.n == batchSize {
		s.flush()
	}
	return s.out.bufs[s.out.n][:0]
}

// send takes the datagram that was written to next.
func (s *socket) send(n int, to *unix.RawSockaddrInet4) {
	d := s.out
	d.names[d.n] = *to
	d.iovs[d.n].SetLen(n)
	d.n++
}

// flush sends what there is. What the kernel does not take is lost, as the
// checks will show.
func (s *socket) flush() {
	d := s.out
	for at := 0; at < d.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&d.hdrs[at])), uintptr(d.n-at), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			n = 1 // refuses the first
		}
		at += int(n)
	}
	d.n = 0
}

// receive takes what is there, at most a batch.
func (s *socket) receive(d *datagrams) int {
	for i := range d.iovs {
		d.iovs[i].SetLen(datagramSize)
		d.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&d.hdrs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR, unix.ECONNREFUSED:
			continue
		}
		return 0
	}
}

// datagram is the i-th of the last receive, and the port it came from in
// network order.
func (d *datagrams) datagram(i int) (b []byte, from unix.RawSockaddrInet4) {
	return d.bufs[i][:d.hdrs[i].len], d.names[i]
}

// destination is an address in the kernel's form.
func destination(a netip.AddrPort) unix.RawSockaddrInet4 {
	p := a.Port()
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	*(*[2]byte)(unsafe.Pointer(&raw.Port)) = [2]byte{byte(p >> 8), byte(p)}
	return raw
}
