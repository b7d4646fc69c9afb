package node

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeSupervise(operator func(pattern string, h http.HandlerFunc)) {
	operator("POST "+routeapi.PathCalls+"/{id}/supervise", n.serveSupervise)
	operator("POST "+routeapi.PathHelp, n.serveHelp)
}

// supervisionModes are the words of routeapi.Supervision.Mode.
var supervisionModes = []acd.SupervisionMode{acd.ModeListen, acd.ModeWhisper, acd.ModeJoin, acd.ModeNone, acd.ModeTake}

func (n *Node) serveSupervise(w http.ResponseWriter, r *http.Request) {
	var want routeapi.Supervision
	if !readJSON(w, r, &want) {
		return
	}
	var errs []error
	if want.Supervisor == "" {
		errs = append(errs, errors.New("supervisor: is missing"))
	}
	mode := acd.SupervisionMode(want.Mode)
	if !slices.Contains(supervisionModes, mode) {
		errs = append(errs, fmt.Errorf("mode: %q is none of listen, whisper, join, none, take", want.Mode))
	}
	if err := errors.Join(errs...); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	n.finishOnCall(w, r, func(on acd.OnCall) acd.Body {
		return acd.CallSupervised{OnCall: on, Supervisor: acd.AgentID(want.Supervisor), Mode: mode}
	})
}

func (n *Node) serveHelp(w http.ResponseWriter, r *http.Request) {
	var want routeapi.Help
	if !readJSON(w, r, &want) {
		return
	}
	if want.Agent == "" {
		fail(w, http.StatusBadRequest, errors.New("agent: is missing"))
		return
	}
	n.finish(w, r, acd.HelpAsked{Agent: acd.AgentID(want.Agent), On: want.Asked, Reason: want.Reason})
}

// askingHelp is how many agents ask for help now.
func askingHelp(m *acd.Machine) (count int) {
	for _, a := range m.Agents() {
		if a.Help != 0 {
			count++
		}
	}
	return count
}
