package endpoint

import (
	"bytes"
	"net"
	"net/netip"
	"time"
)

// Impairment is what the network does to a far end's media. Nothing of it is left
// to chance: what is lost and late is spread evenly.
type Impairment struct {
	Loss   int           // permille of RTP packets, each way
	Delay  time.Duration // of all that is sent
	Jitter time.Duration // every other RTP packet is so much later, each way
	NoRTCP bool          // no report gets out
}

// loses tells whether the nth packet of a way is lost.
func (i *Impairment) loses(n uint32) bool {
	return n*uint32(i.Loss)%1000 >= 1000-uint32(i.Loss) && i.Loss > 0
}

// late is how much later than it should the nth packet of a way is.
func (i *Impairment) late(n uint32) time.Duration {
	if n%2 == 1 {
		return i.Jitter
	}
	return 0
}

// sendLater sends a packet, after a while if there is one.
func sendLater(conn *net.UDPConn, packet []byte, to netip.AddrPort, wait time.Duration) error {
	if wait == 0 {
		_, err := conn.WriteToUDPAddrPort(packet, to)
		return err
	}
	packet = bytes.Clone(packet)
	time.AfterFunc(wait, func() { _, _ = conn.WriteToUDPAddrPort(packet, to) }) // nobody is there to be told
	return nil
}
