package demo

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
)

// The tier of the demo.
var (
	routers = []string{"r1", "r2", "r3"}
	workers = []string{"m1", "m2"}
	sbcs    = []string{lab.SBCA, lab.SBCB}
	edges   = []string{lab.Edge1, lab.Edge2}
)

// channels per SBC link: the least of T8.
const channels = 60

// softphoneUser is the operator with the real softphone.
const softphoneUser = "bea"

const (
	password      = "correct-horse"
	softphoneTone = 1700
)

// desk is one operator's phone: where it registers, how, what it accepts.
type desk struct {
	user      string
	edge      string
	transport endpoint.Transport
	algorithm string
	suite     endpoint.Suite
	tone      int
	mux       bool
}

var desks = []desk{
	{"ann", lab.Edge1, endpoint.UDP, "SHA-256", endpoint.AES128SHA80, 1100, true},
	{"bob", lab.Edge2, endpoint.TCP, "SHA-256", endpoint.AES128GCM, 1250, false},
	{"cem", lab.Edge1, endpoint.TLS, "SHA-256", endpoint.AES128GCM, 1300, true},
	{"dan", lab.Edge2, endpoint.UDP, "MD5", endpoint.AES128SHA80, 1450, false},
	{"eva", lab.Edge1, endpoint.TCP, "SHA-256", endpoint.AES128GCM, 1550, true},
}

// order is one call to place. SBCs alternate; both codecs and both suites
// come through both SBCs.
type order struct {
	sbc   string
	codec endpoint.Codec
	suite endpoint.Suite
	mux   bool
}

func orders() []order {
	combos := []struct {
		codec endpoint.Codec
		suite endpoint.Suite
	}{
		{endpoint.PCMA, endpoint.AES128SHA80}, {endpoint.Opus, endpoint.AES128GCM},
		{endpoint.Opus, endpoint.AES128SHA80}, {endpoint.PCMA, endpoint.AES128GCM},
	}
	var out []order
	for i := range 10 {
		c := combos[(i+i/4)%4] // shifted each round, so that each combination meets each SBC
		out = append(out, order{sbc: sbcs[i%2], codec: c.codec, suite: c.suite, mux: i%3 != 0})
	}
	return out
}

// callerTone and callerNumber tell the callers apart.
func callerTone(n int) int      { return 350 + 50*n }
func callerNumber(n int) string { return fmt.Sprintf("+7495123%04d", n) }

// routing is the tier's configuration: one number, one queue, the desks. The
// agents come to work logged out, so that the demo says when calls are served.
func routing() *acd.Config {
	c := &acd.Config{
		MaxChannels: 2 * channels,
		Numbers:     []acd.Number{{Number: lab.SalesNumber, Greeting: lab.Greeting, Queue: lab.SalesQueue}},
		Queues: []acd.Queue{{
			ID: lab.SalesQueue, Music: lab.Music, RingTimeout: 15 * time.Second, WrapUp: 500 * time.Millisecond,
			MaxWait: 5 * time.Minute, MaxLength: 500, MissedLimit: 3, RejectDelay: time.Second,
		}},
	}
	for _, sbc := range sbcs {
		c.Trunks = append(c.Trunks, acd.Trunk{ID: acd.TrunkID(sbc), Channels: channels})
	}
	for _, d := range desks {
		c.Agents = append(c.Agents, agent(d.user, true))
	}
	// baresip 1.1 gives up when it is challenged for anything but MD5.
	c.Agents = append(c.Agents, agent(softphoneUser, false))
	return c
}

func agent(user string, sha bool) acd.Agent {
	a1 := []byte(user + ":" + lab.Realm + ":" + password)
	md := md5.Sum(a1)
	a := acd.Agent{ID: acd.AgentID(user), Name: user, Queues: []acd.QueueID{lab.SalesQueue}, HA1MD5: hex.EncodeToString(md[:])}
	if sha {
		sum := sha256.Sum256(a1)
		a.HA1SHA256 = hex.EncodeToString(sum[:])
	}
	return a
}

// Addresses of the far ends, of their own range (see the lab's plan).
func deskAddr(i int) netip.Addr   { return netip.AddrFrom4([4]byte{127, 10, 5, byte(1 + i)}) }
func callerAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 10, 6, byte(1 + i)}) }

var softphoneAddr = netip.AddrFrom4([4]byte{127, 10, 5, 250})

// allTones is what every far end listens for: its own partner's and all others'.
func allTones() []int {
	out := []int{softphoneTone}
	for n := 1; n <= len(orders()); n++ {
		out = append(out, callerTone(n))
	}
	for _, d := range desks {
		out = append(out, d.tone)
	}
	return out
}
