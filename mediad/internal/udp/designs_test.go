//go:build linux

package udp

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkDesigns is what the kernel's part of relaying a packet costs in several
// designs: told by epoll that 200 sockets have one packet each, take them and
// send each on from its own port. The designs have their turns within each other,
// so that what else the machine does meets all alike; the time is the thread's
// own. docs/media-designs.md keeps the table.
func BenchmarkDesigns(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const ports, size = 200, 182
	sink, feeder := listen(b, "127.0.0.1:0"), listen(b, "127.0.0.1:0")
	_ = unix.SetsockoptInt(sink.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	to := NewDest(sink.Addr())
	var sockets []*Socket
	var each []*Dest
	poller, err := NewPoller()
	if err != nil {
		b.Fatal(err)
	}
	defer poller.Close()
	level, err := unix.EpollCreate1(0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(level)
	for i := range ports {
		s := listen(b, "127.0.0.1:0")
		if err := poller.Add(s, uint64(i)); err != nil {
			b.Fatal(err)
		}
		if err := unix.EpollCtl(level, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			b.Fatal(err)
		}
		sockets, each = append(sockets, s), append(each, NewDest(s.Addr()))
	}
	outbox, err := NewOutbox(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		b.Skip("no raw sockets:", err)
	}
	defer outbox.Close()
	batch, data := NewBatch(), make([]byte, size)
	events := make([]unix.EpollEvent, 2*ports)

	edge := func(forward func(s *Socket, data []byte)) func() {
		return func() {
			n := poller.Wait(0)
			for i := range n {
				token, _ := poller.Token(i)
				s := sockets[token]
				for j := range batch.Receive(s) {
					data, _ := batch.Datagram(j)
					forward(s, data)
				}
			}
		}
	}
	plain := func(s *Socket, data []byte) { _ = s.Send(data, to) }
	one := make([]byte, bufferSize)
	var name unix.RawSockaddrAny
	designs := []struct {
		name string
		run  func()
		cpu  time.Duration
	}{
		{name: "recvfrom+sendto", run: func() {
			n, _ := unix.EpollWait(level, events, 0)
			for _, e := range events[:n] {
				s, size := sockets[e.Fd], uint32(unix.SizeofSockaddrAny)
				got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&one[0])), uintptr(len(one)),
					unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)))
				if errno == 0 {
					plain(s, one[:got])
				}
			}
		}},
		{name: "level", run: func() {
			n, _ := unix.EpollWait(level, events, 0)
			for _, e := range events[:n] {
				s := sockets[e.Fd]
				for j := range batch.Receive(s) {
					data, _ := batch.Datagram(j)
					plain(s, data)
				}
			}
		}},
		{name: "edge", run: edge(plain)},
		{name: "outbox", run: func() {
			edge(func(s *Socket, data []byte) {
				if outbox.Full() {
					outbox.Flush()
				}
				outbox.Put(copy(outbox.Next()[:size], data), s.addr.Port(), to)
			})()
			outbox.Flush()
		}},
	}
	packets := 0
	for b.Loop() {
		for i := range designs {
			d := &designs[i]
			for j := range sockets {
				if err := feeder.Send(data, each[j]); err != nil {
					b.Fatal(err)
				}
			}
			began := threadCPU()
			d.run()
			d.cpu += threadCPU() - began
			_ = poller.Wait(0) // the other set's events
			_, _ = unix.EpollWait(level, events, 0)
			got := 0
			for n := batch.Receive(sink); n > 0; n = batch.Receive(sink) {
				got += n
			}
			if got != ports {
				b.Fatalf("%s: %d of %d came", d.name, got, ports)
			}
		}
		packets += ports
	}
	b.ReportMetric(0, "ns/op")
	for _, d := range designs {
		b.ReportMetric(float64(d.cpu.Nanoseconds())/float64(packets), "ns/"+d.name)
	}
}

// threadCPU is the processor time of the calling thread.
func threadCPU() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}
