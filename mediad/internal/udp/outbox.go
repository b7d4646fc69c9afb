//go:build linux

package udp

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	outboxSize = 64
	ipHeader   = 20
	udpHeader  = 8
	// expedited is RFC 3246's code point in the octet that holds it.
	expedited = 46 << 2
)

// mostBatched is the largest datagram that Outbox takes, in bytes: audio is below
// it by far, and nothing below it needs to be cut up on the way.
const mostBatched = 1200

// Outbox holds datagrams of many sockets of one address until they leave by one
// system call. It writes their IP and UDP headers itself and sends them through
// one raw socket (raw(7)), for which the process needs CAP_NET_RAW. IPv4 only.
type Outbox struct {
	fd    int
	n     int
	hdrs  [outboxSize]mmsghdr
	iovs  [outboxSize]unix.Iovec
	names [outboxSize]unix.RawSockaddrInet4
	bufs  [outboxSize][bufferSize]byte
}

// NewOutbox makes an empty outbox of an address, which may not be on this machine
// yet, as with Listen. The error wraps unix.EPERM if the process may not have raw
// sockets.
func NewOutbox(from netip.Addr) (*Outbox, error) {
	if !from.Is4() {
		return nil, fmt.Errorf("open raw socket for %s: %w", from, unix.EAFNOSUPPORT)
	}
	// Of this protocol nothing is ever received, so the kernel copies nothing to us.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open raw socket: %w", err)
	}
	// The header has the code point; this gives queues of ours the priority that
	// goes with it.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, expedited)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	// Bound, so that routes that are chosen by source are ours.
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind raw socket to %s: %w", from, err)
	}
	src := from.As4()
	o := &Outbox{fd: fd}
	for i := range o.hdrs {
		o.iovs[i].Base = &o.bufs[i][0]
		h := &o.hdrs[i].hdr
		h.Iov = &o.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&o.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		o.names[i].Family = unix.AF_INET
		b := o.bufs[i][:]
		b[0], b[1] = 0x45, expedited                  // version 4, five words
		b[6], b[8], b[9] = 0x40, 64, unix.IPPROTO_UDP // not to be cut up
		copy(b[12:], src[:])
	}
	return o, nil
}

// Close ends the outbox; what is in it is lost.
func (o *Outbox) Close() { _ = unix.Close(o.fd) }

// Takes tells whether a datagram of so many bytes may go through the outbox.
func (o *Outbox) Takes(size int, to *Dest) bool {
	return size <= mostBatched && to.size == unix.SizeofSockaddrInet4
}

// Len is how many datagrams there are.
func (o *Outbox) Len() int { return o.n }

// Drop empties the outbox; nothing of it is sent.
func (o *Outbox) Drop() { o.n = 0 }

// Full tells whether Flush must come before Next.
func (o *Outbox) Full() bool { return o.n == outboxSize }

// Next is where to write the next datagram: empty, with room behind it.
func (o *Outbox) Next() []byte {
	return o.bufs[o.n][ipHeader+udpHeader : ipHeader+udpHeader : bufferSize]
}

// Put takes the datagram of so many bytes that was written to Next, from a port of
// the outbox's address.
func (o *Outbox) Put(size int, port uint16, to *Dest) {
	total := ipHeader + udpHeader + size
	b := o.bufs[o.n][:total]
	dst := (*unix.RawSockaddrInet4)(unsafe.Pointer(&to.raw))
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	copy(b[16:], dst.Addr[:])
	u := b[ipHeader:]
	binary.BigEndian.PutUint16(u, port)
	*(*[2]byte)(u[2:]) = *(*[2]byte)(unsafe.Pointer(&dst.Port)) // in network order already
	binary.BigEndian.PutUint16(u[4:], uint16(udpHeader+size))
	u[6], u[7] = 0, 0
	binary.BigEndian.PutUint16(u[6:], checksum(b[12:]))
	o.names[o.n].Addr = dst.Addr
	o.iovs[o.n].SetLen(total)
	o.n++
}

// checksum is of a UDP datagram behind its two addresses (RFC 768). It is never
// 0, which would mean that there is none.
func checksum(b []byte) uint16 {
	sum := uint64(unix.IPPROTO_UDP) + uint64(len(b)-8)
	var carry uint64
	for ; len(b) >= 8; b = b[8:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum += carry
	}
	var last [8]byte
	copy(last[:], b)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(last[:]), 0)
	sum += carry
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	if c := ^uint16(sum); c != 0 {
		return c
	}
	return 0xffff
}

// Flush sends what is in the outbox and returns how many datagrams the kernel did
// not take. They are lost: no path of ours is worth waiting for.
func (o *Outbox) Flush() (unsent int) {
	for at := 0; at < o.n; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(o.fd), uintptr(unsafe.Pointer(&o.hdrs[at])), uintptr(o.n-at),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			at += int(n)
		case unix.EINTR:
		default:
			unsent++ // the first of them
			at++
		}
	}
	o.n = 0
	return unsent
}
