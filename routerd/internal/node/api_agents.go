package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeAgents(operator func(pattern string, h http.HandlerFunc)) {
	operator("POST "+routeapi.PathAgentStatus, n.serveAgentStatus)
	operator("POST "+routeapi.PathWrapUp, n.serveWrapUp)
}

func (n *Node) serveAgentStatus(w http.ResponseWriter, r *http.Request) {
	var want routeapi.AgentStatus
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&want); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("agent status: %w", err))
		return
	}
	n.commitFor(w, r, acd.AgentStatusSet{Agent: acd.AgentID(want.Agent), Status: acd.AgentStatus(want.Status), Reason: want.Reason})
}

// serveWrapUp moves the end of an agent's wrap-up.
func (n *Node) serveWrapUp(w http.ResponseWriter, r *http.Request) {
	var want routeapi.WrapUp
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&want); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("wrap-up: %w", err))
		return
	}
	if want.Remaining < 0 || want.Remaining > maxWrapUp.Seconds() {
		fail(w, http.StatusBadRequest, fmt.Errorf("wrap-up: remaining %g: want seconds from 0 to %g", want.Remaining, maxWrapUp.Seconds()))
		return
	}
	remaining := time.Duration(want.Remaining * float64(time.Second))
	n.commitFor(w, r, acd.WrapUpSet{Agent: acd.AgentID(want.Agent), Remaining: remaining})
}

// maxWrapUp is more than any queue allows.
const maxWrapUp = 24 * time.Hour
