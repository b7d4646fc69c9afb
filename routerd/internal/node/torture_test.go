package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/sip"
)

const tortureDir = "../sip/testdata/torture"

// torture is a message of RFC 4475 or 5118 and what is to become of it.
type torture struct {
	name, why string
	want      map[string]string // by network
	data      []byte
}

func tortures(t *testing.T) (out []torture) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tortureDir, "outcomes.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != 5 || strings.TrimSpace(f[4]) == "" {
			t.Fatalf("outcomes.txt: %q has no outcome or no reason", line)
		}
		m := torture{name: strings.TrimSpace(f[0]), why: strings.TrimSpace(f[4]),
			want: map[string]string{"udp": strings.TrimSpace(f[1]), "tcp": strings.TrimSpace(f[2])}}
		files, err := filepath.Glob(filepath.Join(tortureDir, "*", m.name+".dat"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %d files: %v", m.name, len(files), err)
		}
		if m.data, err = os.ReadFile(files[0]); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	files, err := filepath.Glob(filepath.Join(tortureDir, "*", "*.dat"))
	if err != nil || len(files) != len(out) {
		t.Fatalf("%d messages and %d outcomes: %v", len(files), len(out), err)
	}
	return out
}

var inviteLine = regexp.MustCompile(`(?m)^INVITE .*\n`)

// asEdge is the message as the edge passes it on: with the trunk's name. RFC
// 5118 gives most of its messages one Call-ID, which would make them one call.
func (m torture) asEdge() []byte {
	data := bytes.Replace(m.data, []byte("SSG9559905523997077@"), []byte("SSG9559905523997077-"+m.name+"@"), 1)
	return inviteLine.ReplaceAll(data, []byte("${0}"+trunkHeader+": sbc-a\r\n"))
}

// tortured is a router that serves, but none of the numbers the messages call.
func tortured(t *testing.T) *Node {
	rs := newRouters(t, 1)
	n := rs.nodes[0]
	n.conf.SIP = config.SIP{Listen: []string{"127.0.0.1:5060"}, Realm: "trunkline"}
	n.workers = newWorkers(rs.cluster.Authority.TLS("r1"+roleRouter), n.log, n.workerDied, n.hostedBy, n.keysPressed)
	n.actors = map[acd.CallID]*actor{}
	n.auth = n.authenticator([]byte("secret"))
	propose := func(b acd.Body) acd.Result {
		res, _, err := n.proposer.propose(t.Context(), b)
		if err != nil || !res.Applied {
			t.Fatalf("%T not applied: %+v %v", b, res, err)
		}
		return res
	}
	propose(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, MaxChannels: 10,
		Queues: []acd.Queue{{ID: "sales", Music: "music"}}, Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}},
	}})
	n.incarnation.Store(propose(acd.NodeStarted{Node: n.id, Version: acd.MaxVersion}).Incarnation)
	// A worker that takes connections and says nothing.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	propose(acd.WorkerStarted{Worker: "m1", Incarnation: 1, Control: l.Addr().String(), Addresses: []string{"127.0.0.9"}})
	return n
}

// phone is where message i comes from. Each has its own, for a refusal of an
// INVITE is repeated to it.
func phone(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 73, byte(i + 1)}) }

// listening opens the router's ports, TCP and UDP.
func listening(t *testing.T, n *Node, messages int) (tcp, udp string) {
	var phones []netip.Addr
	for i := range messages {
		phones = append(phones, phone(i))
	}
	ready := make(chan struct{})
	tr, err := sip.Listen(sip.TransportConfig{
		Listen: []string{"127.0.0.1:0"}, ListenUDP: []string{"127.0.0.1:0"}, Allow: phones,
		Policy: sip.Policy{MinSE: 90 * time.Second}, Product: product, Limits: sip.Limits{MessageTime: 300 * time.Millisecond},
	}, func(m sip.Message, f sip.Flow) { <-ready; n.receive(m, f) })
	if err != nil {
		t.Fatal(err)
	}
	n.transport, n.sendPacket = tr, tr.Send
	close(ready)
	t.Cleanup(func() { tr.Close() })
	return tr.Addrs()[0], tr.Addrs()[1]
}

// TestTortureMessages sends every message of RFC 4475 and RFC 5118 to a router
// and holds what comes back to outcomes.txt.
func TestTortureMessages(t *testing.T) {
	all := tortures(t)
	// A router for each way: an INVITE that comes again by another is no new call.
	tcp, _ := listening(t, tortured(t), len(all))
	_, udp := listening(t, tortured(t), len(all))
	for i, m := range all {
		f := func(network string, got string) {
			if got != m.want[network] {
				t.Errorf("%s over %s: %s, want %s: %s", m.name, network, got, m.want[network], m.why)
			}
		}
		f("udp", overUDP(t, phone(i), udp, m))
		f("tcp", overTCP(t, phone(i), tcp, m))
	}
}

// probeMessage is a request whose answer shows that all before it was dealt with.
func probeMessage(network, id string) []byte {
	return fmt.Appendf(nil, "OPTIONS sip:probe@a SIP/2.0\r\nVia: SIP/2.0/%s 192.0.2.1;branch=z9hG4bKprobe%s\r\n"+
		"From: <sip:p@a>;tag=p\r\nTo: <sip:p@b>\r\nCall-ID: probe-%s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", strings.ToUpper(network), id, id)
}

var (
	// viaPorts are where the messages' Vias want answers over UDP (RFC 3261
	// section 18.2.2); the first is also sent from.
	viaPorts = []string{"5060", "5050", "6050", "19823"}
	status   = regexp.MustCompile(`^SIP/2\.0 (\d+) `)
)

// collector gathers answers until those wanted and the last probe's are there.
// The message before it may spoil the first probe.
type collector struct {
	want      string
	codes     []string // of the message
	next, end string   // of the probes, "" while they are awaited
}

func (c *collector) take(answer []byte) {
	code := string(status.FindSubmatch(answer)[1])
	switch {
	case bytes.Contains(answer, []byte("Call-ID: probe-next-")):
		c.next = code
	case bytes.Contains(answer, []byte("Call-ID: probe-end-")):
		c.end = code
	default:
		c.codes = append(c.codes, code)
	}
}

// done: answers by the registrar and by a call may be behind the probe's.
func (c *collector) done() bool {
	own, _, _ := strings.Cut(c.want, " next")
	return c.end != "" && (own == "none" || len(c.codes) >= len(strings.Fields(own)))
}

func (c *collector) outcome() string {
	slices.Sort(c.codes)
	out := strings.Join(c.codes, " ")
	switch {
	case c.end == "":
		out += " closed"
	case out == "":
		out = "none"
	}
	if c.end != "" && c.next != "200" {
		out += " next " + cmp.Or(c.next, "none")
	}
	return strings.TrimSpace(out)
}

func overUDP(t *testing.T, phone netip.Addr, to string, m torture) string {
	t.Helper()
	answers := make(chan []byte, 20)
	var first net.PacketConn
	for _, p := range viaPorts {
		u, err := net.ListenPacket("udp", net.JoinHostPort(phone.String(), p))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if first == nil {
			first = u
		}
		go func() {
			buf := make([]byte, 65536)
			for {
				k, _, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				answers <- bytes.Clone(buf[:k])
			}
		}()
	}
	dst := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
	first.WriteTo(m.asEdge(), dst)
	first.WriteTo(probeMessage("udp", "next-"+m.name), dst)
	first.WriteTo(probeMessage("udp", "end-"+m.name), dst)
	c := collector{want: m.want["udp"]}
	for limit := time.After(10 * time.Second); !c.done(); {
		select {
		case a := <-answers:
			c.take(a)
		case <-limit:
			return c.outcome() + " (after 10 s)"
		}
	}
	return c.outcome()
}

func overTCP(t *testing.T, phone netip.Addr, to string, m torture) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: phone.AsSlice()}}
	conn, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	conn.Write(slices.Concat(m.asEdge(), probeMessage("tcp", "next-"+m.name), probeMessage("tcp", "end-"+m.name)))
	c := collector{want: m.want["tcp"]}
	var got []byte
	buf := make([]byte, 4096)
	for !c.done() {
		k, err := conn.Read(buf)
		got = append(got, buf[:k]...)
		for {
			end := bytes.Index(got, []byte("\r\n\r\n")) // answers to these have no body
			if end < 0 {
				break
			}
			c.take(got[:end])
			got = got[end+4:]
		}
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return c.outcome() + " (after 10 s)"
			}
			break
		}
	}
	return c.outcome()
}
