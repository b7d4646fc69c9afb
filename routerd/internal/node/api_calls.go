package node

import (
	"encoding/json"
	"fmt"
	"net/http"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeCalls(operator func(pattern string, h http.HandlerFunc)) {
	operator("POST "+routeapi.PathCalls+"/{id}/transfer", n.serveTransfer)
}

// serveTransfer gives a call away on behalf of the agent who talks with it.
func (n *Node) serveTransfer(w http.ResponseWriter, r *http.Request) {
	var want routeapi.CallTransfer
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&want); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("transfer: %w", err))
		return
	}
	id := acd.CallID(r.PathValue("id"))
	var epoch uint64
	var known bool
	n.view(func(m *acd.Machine) { _, epoch, known = m.OwnerOf(id) })
	if !known {
		fail(w, http.StatusNotFound, fmt.Errorf("no open call %q", id))
		return
	}
	n.commitFor(w, r, acd.CallTransferred{
		OnCall: acd.OnCall{Call: id, Epoch: epoch}, Agent: acd.AgentID(want.Agent), Reason: want.Reason,
		To: acd.Target{
			Queue: acd.QueueID(want.Queue), Agent: acd.AgentID(want.ToAgent), Chain: acd.ChainID(want.Chain), Number: want.Number,
		},
	})
}
