package scenarios

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/softphone"
	"trunkline/routerd/routeapi"
)

// What the parties of a softphone's call play.
const (
	callerHz = 800
	firstHz  = 1300
	secondHz = 1700
)

// office is a tier with two operators at baresips, a softphone that others wrote.
type office struct {
	*testing.T
	tier          *Tier
	first, second *softphone.Phone
	caller        *endpoint.Caller
	calls         int // that latest has told
}

// openOffice has both registered, each through another edge and transport.
func openOffice(t *testing.T) *office {
	t.Helper()
	tools, err := lab.SetUp(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	var parts []*Scenario
	for _, text := range []string{"{id: 901, routing: {queue: {transfer: {agents: true}}}}", "{id: 902}"} {
		s := &Scenario{Name: "softphone"}
		if err := yaml.Unmarshal([]byte(text), &s.Settings); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, s)
	}
	dir := t.TempDir()
	o := &office{T: t}
	if o.tier, err = Start(t.Context(), Config{Lab: lab.Options{Dir: filepath.Join(dir, "lab"), Toolchain: tools}, Out: filepath.Join(dir, "sipp"), Log: os.Stderr}, parts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("r1 ends with:\n%s", o.tier.Lab().Tail("r1", 20))
		}
		if err := o.tier.Stop(); err != nil {
			t.Error(err)
		}
	})
	o.first = o.phone("a901", lab.Edge1, "udp", 1, firstHz)
	o.second = o.phone("a902", lab.Edge2, "tcp", 2, secondHz)
	o.caller, err = endpoint.NewCaller(t.Context(), endpoint.CallerConfig{
		Local: netip.MustParseAddr("127.10.6.1"), SBC: o.at(lab.SBCA, lab.PortSIP), Transport: endpoint.TCP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.caller.Close)
	return o
}

func (o *office) at(name string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(o.tier.Lab().Addr(name)), port)
}

func (o *office) phone(user, edge, transport string, host byte, tone int) *softphone.Phone {
	o.Helper()
	log, err := os.Create(filepath.Join(o.tier.Lab().Dir(), "log", user+".log"))
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() {
		log.Close()
		if o.Failed() {
			text, _ := os.ReadFile(log.Name())
			o.Logf("%s ends with:\n%s", user, text[max(0, len(text)-2000):])
		}
	})
	ctx, cancel := context.WithTimeout(o.Context(), 30*time.Second)
	defer cancel()
	p, err := softphone.Start(ctx, softphone.Config{
		Dir: filepath.Join(o.tier.Lab().Dir(), "run", user), User: user, Password: Password, Domain: lab.ClusterHost,
		Local: netip.AddrFrom4([4]byte{127, 10, 5, host}), Edge: o.at(edge, lab.PortAgents), Transport: transport, Tone: tone, Deaf: true, Codecs: "pcma",
		Command: o.tier.Lab().Toolchain().Command, Log: log,
	})
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			o.Log(err)
		}
	})
	if err := p.AwaitRegistered(ctx); err != nil {
		o.Fatal(err)
	}
	return p
}

func (o *office) do(p *softphone.Phone, command, params string) {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), 10*time.Second)
	defer cancel()
	if _, err := p.Do(ctx, command, params); err != nil {
		o.Fatal(err)
	}
}

// fact waits for a fact like "leg.held agent=a901" behind the first n, and tells
// how many there are then.
func (o *office) fact(n int, want string) int {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := o.tier.history(ctx)
		if err == nil {
			if i := slices.IndexFunc(all[min(n, len(all)):], func(f routeapi.Fact) bool { return fits(f, want) }); i >= 0 {
				return n + i + 1
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.Fatalf("%q is not in the history (%v); it has\n%s", want, err, lines(all))
		}
	}
}

// latest is the id of a phone's newest call, which baresip wants where none is current.
func (o *office) latest(p *softphone.Phone) (id string) {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), 10*time.Second)
	defer cancel()
	seen := 0
	_, _ = p.Await(ctx, func(e softphone.Event) bool { // every event so far, and no more
		if e.Type == "CALL_ESTABLISHED" {
			id = e.ID
			seen++
		}
		return seen > o.calls
	})
	o.calls++
	return id
}

// hears waits until the caller has heard half a second more of a tone.
func (o *office) hears(c *endpoint.Call, hz int) {
	o.Helper()
	const blocks = 3
	before := c.Result().Media.Heard[hz]
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for c.Result().Media.Heard[hz] < before+blocks {
		select {
		case <-tick.C:
		case <-deadline:
			o.Fatalf("the caller does not hear %d Hz: %v", hz, c.Result().Media.Heard)
		}
	}
}

// A softphone registers over UDP, is called, holds, takes back, and transfers
// blindly to one on TCP at the other edge; the caller hears who is there each
// time (T7), in both codecs and with two suites.
func TestASoftphoneHoldsAndTransfers(t *testing.T) {
	o := openOffice(t)
	n := 0
	for _, with := range []struct {
		codec endpoint.Codec
		suite endpoint.Suite
	}{{endpoint.PCMA, endpoint.AES128SHA80}, {endpoint.Opus, endpoint.AES128GCM}, {endpoint.PCMA, endpoint.AES128GCM}} {
		c, err := o.caller.Call(endpoint.CallParams{
			From: "+74951230001", To: "+74952000901", Codecs: []endpoint.Codec{with.codec}, Suites: []endpoint.Suite{with.suite},
			Tone: callerHz, Source: 1, Hear: []int{firstHz, secondHz},
		})
		if err != nil {
			t.Fatal(err)
		}
		n = o.fact(n, "offer.accepted agent=a901")
		c.BeginTalk()
		o.hears(c, firstHz)

		o.do(o.first, "hold", "")
		n = o.fact(n, "leg.held agent=a901")
		// baresip 1.1 takes it back and says "Invalid argument", for there is no other
		// call that it could hold: the history tells what came of it.
		_, _ = o.first.Do(t.Context(), "resume", o.latest(o.first))
		n = o.fact(n, "leg.resumed agent=a901")
		o.hears(c, firstHz)

		o.do(o.first, "transfer", "sip:a902@"+lab.ClusterHost)
		n = o.fact(n, "transfer.asked agent=a901 to=agent:a902")
		n = o.fact(n, "offer.accepted agent=a902")
		o.hears(c, secondHz)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		if _, err := o.first.Await(ctx, func(e softphone.Event) bool { return e.Type == "CALL_CLOSED" }); err != nil {
			t.Errorf("the phone that transferred was not let go: %v", err)
		}
		if err := c.Hangup(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		n = o.fact(n, "call.ended outcome=served agent=a902")
		if got := c.Result(); !strings.EqualFold(got.Codec, string(with.codec)) || got.Reinvites != 0 {
			t.Errorf("the caller has %s and saw %d re-INVITEs, want %s and none", got.Codec, got.Reinvites, with.codec)
		}
	}
}
