package node

import (
	"errors"
	"net/http"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// pauseRecording goes to the call's worker at once, whoever owns the call: the
// worker and its standby know of the pause, the log does not. Once it is answered,
// nothing more is kept.
func (n *Node) pauseRecording(w http.ResponseWriter, r *http.Request) {
	var c routeapi.Recording
	if !readJSON(w, r, &c) {
		return
	}
	if c.Paused == nil {
		fail(w, http.StatusBadRequest, errors.New("paused: is missing"))
		return
	}
	id := acd.CallID(r.PathValue("id"))
	var open bool
	var address string
	n.view(func(m *acd.Machine) {
		var call acd.Call
		if call, open = m.Call(id); open && len(call.Media) > 0 {
			address = call.Media[len(call.Media)-1]
		}
	})
	switch {
	case !open:
		refuseFor(w, acd.ReasonUnknownCall)
		return
	case address == "":
		refuseFor(w, acd.ReasonUnexpected)
		return
	}
	req := mediaapi.Request{Command: mediaapi.PauseRecording, CallID: string(id)}
	if !*c.Paused {
		req.Command, req.Flags = mediaapi.StartRecording, []string{mediaapi.FlagResume}
	}
	_, err := n.atAddress(r.Context(), address, req)
	var refused *mediaapi.Error
	switch {
	case err == nil:
		n.log.Info("recording paused or resumed", "call_id", string(id), "paused", *c.Paused)
		w.WriteHeader(http.StatusNoContent)
	case errors.As(err, &refused) && refused.Code == 481:
		refuseFor(w, acd.ReasonUnexpected)
	default:
		fail(w, http.StatusServiceUnavailable, err)
	}
}
