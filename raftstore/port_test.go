package raftstore

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Heartbeats must take the ordinary path (hashicorp/raft issue 695).
func TestHeartbeatsTakeTheOrdinaryPath(t *testing.T) {
	open := func() *raft.NetworkTransport {
		tr, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, 10*time.Second, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	to, from := open(), open()
	transport{to}.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.Error("a heartbeat took the fast path")
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	go func() {
		rpc := <-to.Consumer()
		rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
	}()
	addr := from.LocalAddr()
	heartbeat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte(addr)}, Term: 7}
	var answer raft.AppendEntriesResponse
	if err := from.AppendEntries("r1", to.LocalAddr(), heartbeat, &answer); err != nil || answer.Term != 7 {
		t.Errorf("heartbeat: %v, answer %+v", err, answer)
	}
}
