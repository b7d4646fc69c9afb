package raftstore

import (
	"errors"
	"net"
)

// maxInFlight is how many forwarded commands of one connection are in work at
// once; the reader waits beyond that, and so does the peer.
const maxInFlight = 4096

// serveForward answers the forward frames of one peer. Each command runs in a
// goroutine of its own: raft gathers into one disk write what is waiting at the
// same time.
func (s *Store) serveForward(conn net.Conn) {
	out := make(chan []byte, 1024)
	done := make(chan struct{})
	written := make(chan struct{})
	go func() {
		defer close(written)
		writeFrames(conn, out, done)
		conn.Close() // a peer that does not read is not served
	}()
	defer func() { <-written }()
	defer close(done)

	places := make(chan struct{}, maxInFlight)
	r := newFrameReader(conn)
	for {
		f, err := readFrame(r)
		if err != nil {
			if errors.Is(err, errFrame) {
				s.log.Warn("raft: forward connection closed", "peer", conn.RemoteAddr().String(), "err", err)
			}
			return
		}
		var answer func() frame
		switch f.kind {
		case framePropose:
			answer = func() frame { return s.answerProposal(f) }
		case frameHello:
			answer = func() frame { return s.answerHello(f) }
		case frameAdmin:
			answer = func() frame { return s.answerAdmin(f) }
		default:
			s.log.Warn("raft: forward connection closed", "peer", conn.RemoteAddr().String(), "err", errFrame)
			return
		}
		select {
		case places <- struct{}{}:
		case <-written:
			return
		}
		go func() {
			defer func() { <-places }()
			b := answer().appendTo(nil)
			select {
			case out <- b:
			case <-done:
			case <-written:
			}
		}()
	}
}

func (s *Store) answerProposal(f frame) frame {
	answer := frame{kind: frameAnswer, id: f.id}
	reply, index, err := s.applyHere(f.body)
	switch {
	case err == nil:
		answer.status, answer.index, answer.body = statusApplied, index, reply
	case errors.Is(err, errNotLeader):
		answer.status = statusNotLeader
	default:
		answer.status = statusUnknown
	}
	return answer
}
