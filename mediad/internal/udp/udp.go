//go:build linux

// Package udp moves datagrams between many non-blocking sockets and one
// thread, without allocating: batched receives (recvmmsg), prepared
// destinations, an epoll set that says which sockets have something, and an
// outbox from which datagrams of many sockets leave together.
//
// It knows nothing of what is in a datagram, and does no waiting but in
// Poller.Wait. None of it is safe for concurrent use, except Poller.Wake.
package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveBuffer is asked of the kernel per socket: 100 ms of stall at one
// packet each 20 ms needs little, a burst after a hold needs some.
const receiveBuffer = 256 << 10

// Socket is one bound UDP port. The zero Socket is closed.
type Socket struct {
	fd   int
	addr netip.AddrPort
}

// Listen binds a socket. The address may not be on this machine yet (it may be
// moving here). With takeover, the port may still be bound by a process that
// let itself be taken over from, one that hangs for example: packets go to
// whom bound last. Without, the port must be free.
func Listen(addr netip.AddrPort, takeover bool) (*Socket, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	s := &Socket{fd: fd, addr: addr}
	if err := s.bind(family, takeover); err != nil {
		s.Close()
		return nil, fmt.Errorf("bind %s: %w", addr, err)
	}
	if addr.Port() == 0 {
		if s.addr, err = localAddr(fd); err != nil {
			s.Close()
			return nil, fmt.Errorf("bind %s: %w", addr, err)
		}
	}
	return s, nil
}

func (s *Socket) bind(family int, takeover bool) error {
	// Best effort: the kernel has its own ideas of the most it gives.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	// Expedited forwarding (RFC 3246), where the way honours it.
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_TOS, expedited)
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, expedited)
	}
	reuse := func() error { return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }
	if takeover {
		if err := reuse(); err != nil {
			return err
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(s.addr.Port()), Addr: v4(s.addr.Addr())}
	if family == unix.AF_INET6 {
		sa = &unix.SockaddrInet6{Port: int(s.addr.Port()), Addr: s.addr.Addr().As16()}
	}
	if err := unix.Bind(s.fd, sa); err != nil {
		return err
	}
	// The flag counts on both sockets. Set after binding, it lets a successor
	// in without having let us in beside somebody else.
	return reuse()
}

func v4(a netip.Addr) [4]byte {
	if a.Is4() || a.Is4In6() {
		return a.Unmap().As4()
	}
	return [4]byte{}
}

func localAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, errors.New("socket of another family")
}

// Addr is the bound address.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// Close frees the port. Closing twice is harmless.
func (s *Socket) Close() {
	if s.fd > 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// Dest is a destination in the kernel's form, made once and used per packet.
type Dest struct {
	addr netip.AddrPort
	size uint32
	raw  unix.RawSockaddrAny
}

// NewDest prepares a destination.
func NewDest(addr netip.AddrPort) *Dest {
	d := &Dest{}
	d.Set(addr)
	return d
}

// Set changes the destination in place.
func (d *Dest) Set(addr netip.AddrPort) {
	d.addr = addr
	port := addr.Port()<<8 | addr.Port()>>8 // network order on a little-endian machine
	if !littleEndian {
		port = addr.Port()
	}
	if a := addr.Addr(); a.Is4() || a.Is4In6() {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.raw))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Unmap().As4()}
		d.size = unix.SizeofSockaddrInet4
	} else {
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&d.raw))
		*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.As16()}
		d.size = unix.SizeofSockaddrInet6
	}
}

// Addr is the destination as it was set.
func (d *Dest) Addr() netip.AddrPort { return d.addr }

var littleEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}()

// Send sends one datagram, or drops it: no path of ours is worth waiting for.
func (s *Socket) Send(b []byte, to *Dest) error {
	if len(b) == 0 || s.fd <= 0 {
		return unix.EINVAL
	}
	// Not Syscall6: the call can't block, and telling the scheduler costs.
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&to.raw)), uintptr(to.size))
	if errno != 0 {
		return errno
	}
	return nil
}
