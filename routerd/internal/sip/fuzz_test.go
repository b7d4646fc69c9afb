package sip

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func seed(f *testing.F) {
	files, err := filepath.Glob("testdata/torture/*/*.dat")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(invite())
	f.Add(within("BYE", 2))
	f.Add(within("PRACK", 2, "+RAck: 29735 1 INVITE"))
	f.Add(withBody(within("PRACK", 2, "+RAck: 29735 1 INVITE"), "application/sdp", "offer2"))
	f.Add(invite("+Require: 100rel"))
	f.Add(within("UPDATE", 2, "+Session-Expires: 90;refresher=uas", "+Supported: timer"))
	f.Add(withBody(within("INVITE", 2), "application/sdp", "offer2"))
	f.Add(register("+Authorization: Digest username=\"ann\", realm=\"trunkline\", nonce=\"x\", uri=\"y\", response=\"z\""))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.2:5060;branch=" + agentParams().Branch +
		"\r\nFrom: <sip:+4917600@trunkline.internal>;tag=ours\r\nTo: <sip:a@b>;tag=t\r\nCall-ID: 2-77-c@trunkline.internal\r\nCSeq: 1 INVITE\r\nContact: <sip:x@y>\r\nContent-Length: 0\r\n\r\n"))
}

// FuzzMessage: whatever bytes arrive, nothing panics, everything sent can be
// parsed again, and a leg's record survives.
func FuzzMessage(f *testing.F) {
	seed(f)
	auth := testAuthenticator()
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := Parse(data)
		if err != nil {
			var bad *Malformed
			if !errors.As(err, &bad) {
				t.Fatalf("error of another kind: %v", err)
			}
			if bad.Request != nil {
				Respond(bad.Request, edgeFlow, "t", bad.Refusal, nil) // echoes what is malformed
			}
			return
		}
		if req, ok := msg.(*Request); ok {
			if ref := Validate(req, Policy{MinSE: 90 * time.Second}); ref != nil {
				mustResponse(t, Respond(req, edgeFlow, "t", *ref, nil))
				return
			}
			ParseRegister(req, regPolicy)
			auth.Check(regTime, req)
			req.Caller()
			req.Dialled()
		}
		for _, l := range fuzzLegs(t, msg) {
			fuzzLeg(t, l, msg)
		}
	})
}

func fuzzLegs(t *testing.T, msg Message) []*Leg {
	client, _ := NewClientLeg(start, routerLocal(), agentParams())
	legs := []*Leg{talking(t), client}
	if req, ok := msg.(*Request); ok && req.Method == "INVITE" {
		l, o := NewServerLeg(start, routerLocal(), req, edgeFlow)
		mustResponse(t, o.Send[0])
		legs = append(legs, l)
	}
	// A caller whose 183 waits for its PRACK, and a called end that has answered
	// reliably but not for good.
	caller, _ := NewServerLeg(start, routerLocal(), mustRequest(t, invite("+Require: 100rel")), edgeFlow)
	caller.Progress(start, 183, []byte("offer"))
	early, o := NewClientLeg(start, routerLocal(), agentParams())
	early.Response(start, answerTo(t, o.Send[0], 183, "t", "answer", Header{"Contact", "<sip:x@y>"}, Header{"Require", "100rel"}, Header{"RSeq", "1"}))
	return append(legs, caller, early)
}

func fuzzLeg(t *testing.T, l *Leg, msg Message) {
	check := func(o Output) {
		for _, p := range o.Send {
			if _, err := Parse(p.Data); err != nil {
				t.Fatalf("sent what can't be parsed: %v\n%q", err, p.Data)
			}
		}
	}
	for range 2 {
		switch m := msg.(type) {
		case *Request:
			check(l.Request(start, m, edgeFlow))
		case *Response:
			check(l.Response(start, m))
		}
	}
	check(l.Accept(start, []byte("answer")))
	check(l.AnswerOffer(start, 200, []byte("answer")))
	l = rebuild(t, l)
	check(l.Resume(start, routerLocal()))
	check(l.Bye(start))
	for range 100 {
		at, ok := l.Deadline()
		if !ok {
			return
		}
		check(l.Tick(at))
	}
	if _, ok := l.Deadline(); ok && l.State() == Terminated {
		t.Fatal("a terminated leg never ends")
	}
}

// FuzzStream: however a stream is cut, the same messages come out.
func FuzzStream(f *testing.F) {
	f.Add(append(invite(), within("BYE", 2)...), 7)
	f.Add([]byte("\r\n\r\n\r\n\r\nBYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabc\r\n"), 1)
	f.Add([]byte("X\r\nContent-Length: 9999999\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		whole, wholeErr := frames(data, len(data)+1)
		parts, partErr := frames(data, size&63+1)
		if (wholeErr == nil) != (partErr == nil) || len(whole) != len(parts) {
			t.Fatalf("whole: %d %v, in parts: %d %v", len(whole), wholeErr, len(parts), partErr)
		}
	})
}

func frames(data []byte, size int) (out [][]byte, err error) {
	f := framer{max: 4096}
	for len(data) > 0 {
		n := min(size, len(data))
		f.add(data[:n])
		data = data[n:]
		for {
			msg, _, err := f.next()
			if err != nil {
				return out, err
			}
			if msg == nil {
				break
			}
			out = append(out, msg)
		}
	}
	return out, nil
}
