package sip

import "testing"

// BenchmarkIncomingCall is the engine's whole work for one incoming call:
// parsing, validating, answering and a record at each commit.
func BenchmarkIncomingCall(b *testing.B) {
	inv := withBody(invite("+Record-Route: <sip:edge-1:5062;lr>"), "application/sdp", "offer")
	ack, bye := within("ACK", 1), within("BYE", 2)
	b.ReportAllocs()
	for b.Loop() {
		req := mustRequest(b, inv)
		if ref := Validate(req, Policy{}); ref != nil {
			b.Fatal(ref)
		}
		l, _ := NewServerLeg(start, routerLocal(), req, edgeFlow)
		commit := func(o Output) {
			if o.Commit {
				if _, err := l.MarshalBinary(); err != nil {
					b.Fatal(err)
				}
			}
		}
		commit(l.Progress(start, 180, nil))
		commit(l.Accept(start, []byte("answer")))
		commit(l.Request(start, mustRequest(b, ack), edgeFlow))
		commit(l.Request(start, mustRequest(b, bye), edgeFlow))
		if l.State() != Terminated {
			b.Fatal(l.State())
		}
	}
}
