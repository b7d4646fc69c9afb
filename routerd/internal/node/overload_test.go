package node

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// Samples are repeated n times; the share after each group is told.
func TestTheShareRefusedFollowsTheLoad(t *testing.T) {
	type group struct {
		n    int
		s    loadSample
		want int
	}
	const ms = time.Millisecond
	quick := loadSample{commit: 5 * ms}
	f := func(what string, groups ...group) {
		t.Helper()
		var o overload
		for i, g := range groups {
			for range g.n {
				o.step(g.s)
			}
			if o.loss != g.want {
				t.Errorf("%s: after group %d %d %% are refused, want %d", what, i, o.loss, g.want)
			}
		}
	}
	f("quick", group{100, quick, 0})
	f("a change of leader", group{10, quick, 0}, group{4, loadSample{oldest: 450 * ms, inFlight: 9}, 0}, group{1, loadSample{commit: 500 * ms}, 0}, group{10, quick, 0})
	f("one slow commit", group{10, quick, 0}, group{1, loadSample{commit: 800 * ms}, 0}, group{10, quick, 0})
	f("a log that stands still", group{10, quick, 0}, group{1, loadSample{oldest: time.Second, inFlight: 1}, 100}, group{2, quick, 50}, group{6, quick, 6}, group{2, quick, 0})
	f("a log that is slow", group{3, loadSample{commit: 400 * ms}, 0}, group{4, loadSample{commit: 400 * ms}, 40}, group{30, loadSample{commit: 400 * ms}, 100})
	f("between the marks", group{20, loadSample{commit: 180 * ms}, 0}, group{1, loadSample{oldest: time.Second, inFlight: 1}, 100}, group{20, loadSample{commit: 180 * ms}, 100}, group{100, quick, 0})
	f("too many under way", group{2, loadSample{commit: 5 * ms, inFlight: loadInFlight + 1}, 20})
	f("actors are not served", group{1, loadSample{commit: 5 * ms, mailbox: 300 * ms}, 10}, group{1, loadSample{mailbox: time.Second}, 100})
}

// stallingLog stands still while it is told to.
type stallingLog struct {
	log
	mu   sync.Mutex
	wait chan struct{} // nil: it goes on
}

func (l *stallingLog) stall() (goOn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := make(chan struct{})
	l.wait = wait
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.wait = nil
		close(wait)
	}
}

func (l *stallingLog) Propose(ctx context.Context, data []byte) ([]byte, uint64, error) {
	l.mu.Lock()
	wait := l.wait
	l.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return l.log.Propose(ctx, data)
}

// A log that stands still: new calls are refused within its bound and with the
// time to come again, emergency calls and the BYE of an open call are not; when
// the log goes on they are served.
func TestAStalledLogRefusesNewCallsAndNothingElse(t *testing.T) {
	b := newCallBench(t)
	conf, _ := b.log.machine.Config()
	conf.Numbers = append(conf.Numbers, acd.Number{Number: "+112", Queue: "sales", Always: true})
	b.apply(acd.ConfigApplied{Config: conf})
	b.n.actors = map[acd.CallID]*actor{b.a.call: b.a}
	slow := &stallingLog{log: b.log}
	b.n.proposer.log, b.n.proposer.took = slow, b.n.load.committed
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.n.life = ctx
	b.n.async(func() { b.n.watchLoad(ctx) })
	b.n.running.Add(1)
	go b.a.run()

	flow := sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"}
	message := func(text string) sip.Message {
		return parse(t, "\n"+text+"\nMax-Forwards: 70\nTo: <sip:+74950000001@y>;tag=tag\nContent-Length: 0\n\n")
	}
	invite := func(id, to string) *sip.Request {
		msg := parse(t, "\nINVITE sip:"+to+"@127.0.0.1 SIP/2.0\nVia: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bK"+id+
			"\nMax-Forwards: 70\nFrom: <sip:+7@x>;tag=far\nTo: <sip:"+to+"@y>\nCall-ID: "+id+"\nCSeq: 1 INVITE\nContact: <sip:+7@127.0.0.3>\n"+trunkHeader+": sbc-a\nContent-Length: 0\n\n")
		return msg.(*sip.Request)
	}
	answers := func(method string) (codes []string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.sent {
			if text := string(p.Data); strings.HasPrefix(text, "SIP/2.0 ") && strings.Contains(text, " "+method+"\r\n") {
				codes = append(codes, text[8:11])
				if strings.HasPrefix(text, "SIP/2.0 503") && (!strings.Contains(text, "Retry-After: ") || !strings.Contains(text, overloadHeader)) {
					t.Errorf("refused with\n%s", text)
				}
			}
		}
		return codes
	}
	call := invite("new@sbc", "+74950000001")
	if b.n.overloaded(b.n.callOf(call), call, flow) {
		t.Fatal("a call is refused while all is well")
	}
	goOn := slow.stall()
	began := time.Now()
	b.n.receive(message("BYE sip:c@127.0.0.1 SIP/2.0\nVia: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKbye\nFrom: <sip:+7495@x>;tag=far\nCall-ID: abc@sbc\nCSeq: 2 BYE"), flow)
	await(t, "all new calls to be refused", func() bool { return b.n.load.loss.Load() == 100 })
	b.n.opens(call, flow)
	if took := time.Since(began); took > loadStalled+5*loadStep {
		t.Errorf("refused after %v", took)
	}
	if got := answers("INVITE"); len(got) != 1 || got[0] != "503" {
		t.Errorf("the new call got %v", got)
	}
	if emergency := invite("help@sbc", "+112"); b.n.overloaded(b.n.callOf(emergency), emergency, flow) {
		t.Error("an emergency call is refused")
	}
	if got := answers("BYE"); len(got) != 0 {
		t.Errorf("BYE got %v before it could be committed", got)
	}
	goOn()
	await(t, "BYE to be answered", func() bool { got := answers("BYE"); return len(got) == 1 && got[0] == "200" })
	await(t, "new calls to be taken again", func() bool { return b.n.load.loss.Load() == 0 })
}
