package node

import (
	"bufio"
	"log/slog"
	"net"
	"slices"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// lister is a worker that holds calls and notes which it is told to delete.
func lister(conn net.Conn, calls []string, deleted chan<- string) {
	in := bufio.NewReader(conn)
	for {
		raw, err := mediaapi.ReadMessage(in)
		if err != nil {
			return
		}
		cookie, format, req, err := mediaapi.ParseRequest(raw)
		if err != nil {
			return
		}
		reply := mediaapi.Reply{Result: mediaapi.ResultOK}
		switch req.Command {
		case mediaapi.List:
			reply.Calls = calls
		case mediaapi.Delete:
			deleted <- req.CallID
		}
		if _, err := conn.Write(mediaapi.AppendReply(nil, cookie, format, reply)); err != nil {
			return
		}
	}
}

// Media of an unknown call is freed at the second look and not at the first,
// for its answer may be about to commit; media of an open call never is.
func TestMediaThatNoCallUsesIsFreedAtTheSecondLook(t *testing.T) {
	b := newBench(t)
	call, _, _ := b.invited()
	ours, theirs := net.Pipe()
	client := mediaapi.NewClient(ours)
	t.Cleanup(client.Close)
	deleted := make(chan string, 8)
	go lister(theirs, []string{string(call), "orphan"}, deleted)
	b.n.workers = newWorkers(nil, slog.New(slog.DiscardHandler), nil, nil, nil)
	b.n.workers.links["m1"] = &workerLink{worker: "m1", client: client, ready: make(chan struct{})}

	suspects := b.n.sweepWorker(t.Context(), acd.WorkerID("m1"), nil)
	if len(deleted) != 0 || !suspects["orphan"] || len(suspects) != 1 {
		t.Fatalf("first look: %d deleted, suspects %v: want the orphan suspected and nothing deleted", len(deleted), suspects)
	}
	b.n.sweepWorker(t.Context(), acd.WorkerID("m1"), suspects)
	close(deleted)
	var got []string
	for id := range deleted {
		got = append(got, id)
	}
	if !slices.Equal(got, []string{"orphan"}) {
		t.Errorf("second look deleted %v, want the orphan alone", got)
	}
}
