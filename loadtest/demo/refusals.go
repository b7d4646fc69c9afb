package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
)

// refusal is one thing the tier must not accept, and what it said.
type refusal struct {
	name string
	sbc  string
	got  string
	want string
	ok   bool
}

// showRefusals asks for what must be refused. It runs while no operator is
// there, so that the calls that fill a trunk disturb nobody.
func (s *show) showRefusals(ctx context.Context) error {
	if err := s.refuseCall(ctx, "plain RTP offer", endpoint.CallParams{To: lab.SalesNumber, Plain: true}, 488); err != nil {
		return err
	}
	if err := s.refuseCall(ctx, "unknown number", endpoint.CallParams{To: lab.UnknownNumber}, 404); err != nil {
		return err
	}
	s.refuseStranger(ctx)
	if err := s.refuseOverLimit(ctx); err != nil {
		return err
	}
	for _, r := range s.refusals {
		s.say("%s: %s", r.name, r.got)
	}
	return nil
}

func silent(p endpoint.CallParams) endpoint.CallParams {
	p.From, p.Codecs, p.Silent = callerNumber(9000), []endpoint.Codec{endpoint.PCMA}, true
	p.Suites = []endpoint.Suite{endpoint.AES128GCM}
	return p
}

func (s *show) refuseCall(ctx context.Context, name string, p endpoint.CallParams, want int) error {
	far, err := s.callers[lab.SBCB].Call(silent(p))
	if err != nil {
		return err
	}
	if err := s.await(ctx, 10*time.Second, "an answer to "+name, func() bool { return closed(far.Answered()) }); err != nil {
		return err
	}
	r := far.Result()
	if r.Code == 200 {
		_ = far.Hangup(ctx)
	}
	s.refusals = append(s.refusals, refusal{name: name, sbc: lab.SBCB, got: fmt.Sprintf("%d %s", r.Code, r.Reason), want: fmt.Sprint(want), ok: r.Code == want})
	return nil
}

// refuseStranger connects to an edge's trunk port without a certificate. Under
// TLS 1.3 the client learns of the refusal on its first read.
func (s *show) refuseStranger(ctx context.Context) {
	r := refusal{name: "no client certificate", sbc: "-", want: "no TLS"}
	conf, err := s.lab.PKI().Client("")
	if err != nil {
		r.got = err.Error()
		s.refusals = append(s.refusals, r)
		return
	}
	conf.ServerName = lab.Edge1 + ".edge." + lab.ClusterHost
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: callerAddr(90).AsSlice()}}, Config: conf}
	conn, err := d.DialContext(ctx, "tcp", s.addr(lab.Edge1, lab.PortTrunk).String())
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err = conn.Write([]byte("OPTIONS sip:edge SIP/2.0\r\n\r\n")); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		conn.Close()
	}
	var alert tls.AlertError
	var timeout net.Error
	switch {
	case err == nil:
		r.got = "TLS and an answer"
	case errors.As(err, &alert):
		r.got, r.ok = "no TLS: "+alert.Error(), true
	case errors.Is(err, io.EOF), errors.As(err, &timeout) && !timeout.Timeout():
		r.got, r.ok = "no TLS: "+err.Error(), true
	default:
		r.got = err.Error()
	}
	s.refusals = append(s.refusals, r)
}

// refuseOverLimit fills one SBC link with calls and places one more.
func (s *show) refuseOverLimit(ctx context.Context) error {
	var fill []*endpoint.Call
	up := 0
	// What a busy machine's router refuses for its load is placed again, as an SBC does.
	for tries := 0; up < channels && tries < 3; tries++ {
		var placed []*endpoint.Call
		for range channels - up {
			far, err := s.callers[lab.SBCA].Call(silent(endpoint.CallParams{To: lab.SalesNumber}))
			if err != nil {
				return err
			}
			placed = append(placed, far)
		}
		if err := s.await(ctx, 20*time.Second, "answers to the calls that fill a trunk", func() bool { return allAnswered(placed) }); err != nil {
			return err
		}
		for _, far := range placed {
			if far.Result().Code == 200 {
				up++
			}
		}
		fill = append(fill, placed...)
		if err := s.awaitCalm(ctx); err != nil {
			return err
		}
	}
	over, err := s.callers[lab.SBCA].Call(silent(endpoint.CallParams{To: lab.SalesNumber}))
	if err != nil {
		return err
	}
	if err := s.await(ctx, 10*time.Second, "an answer to the call over the limit", func() bool { return closed(over.Answered()) }); err != nil {
		return err
	}
	res := over.Result()
	s.refusals = append(s.refusals, refusal{
		name: fmt.Sprintf("call %d on a trunk of %d", channels+1, channels), sbc: lab.SBCA,
		got:  fmt.Sprintf("%d %s, Retry-After: %d (%d calls up)", res.Code, res.Reason, res.RetryAfter, up),
		want: "503 with Retry-After", ok: res.Code == 503 && res.RetryAfter > 0 && up == channels,
	})
	for _, far := range append(fill, over) {
		if err := far.Hangup(ctx); err != nil {
			return fmt.Errorf("empty the trunk: %w", err)
		}
	}
	if err := s.await(ctx, 10*time.Second, "the trunk to be empty", func() bool {
		open, err := s.tier.Calls(ctx)
		return err == nil && len(open) == 0
	}); err != nil {
		return err
	}
	return s.awaitCalm(ctx)
}

// awaitCalm waits until no router refuses calls for the load they just were.
func (s *show) awaitCalm(ctx context.Context) error {
	return s.await(ctx, 20*time.Second, "routers that refuse nothing for their load", func() bool { return s.lab.Calm(ctx) })
}

func allAnswered(calls []*endpoint.Call) bool {
	for _, c := range calls {
		if !closed(c.Answered()) {
			return false
		}
	}
	return true
}
