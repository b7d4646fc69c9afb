package node

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// The order goes to the worker, leg, peer and mode.
func TestASupervisorIsTheWorkersAffair(t *testing.T) {
	b := newCallBench(t)
	b.give(50, acd.Supervise{Leg: "3", Peer: "2", Mode: acd.ModeWhisper})
	got := b.worker.all(mediaapi.Supervise)
	if len(got) != 1 || got[0].Leg != "3" || got[0].Peer != "2" || got[0].Mode != mediaapi.Whisper || got[0].CallID != string(b.a.call) {
		t.Errorf("the worker is asked %+v", got)
	}
	for _, mode := range [][2]string{{string(acd.ModeListen), mediaapi.Listen}, {string(acd.ModeJoin), mediaapi.Join}} {
		if mode[0] != mode[1] {
			t.Errorf("the machine says %q, the worker %q", mode[0], mode[1])
		}
	}
}

// Over the API a supervisor listens in, changes and ends that, or is told in words
// why not; an agent's call for help is seen and taken back.
func TestSupervisorsAndHelpOverTheAPI(t *testing.T) {
	rs := newRouters(t, 1)
	rs.says(http.StatusOK, "", 0, "PUT", routeapi.PathRouting, strings.Replace(oneQueue, "- {id: ann, queues: [sales]}",
		"- {id: ann, queues: [sales], auto_available: true}\n- {id: olga, supervise: {queues: [sales]}}", 1))
	n := rs.nodes[0]
	n.workers = newWorkers(&tls.Config{}, n.log, nil, nil, nil) // the machine knows a worker that nobody can reach
	do := func(body acd.Body) acd.Result {
		t.Helper()
		r, index, err := n.proposer.propose(t.Context(), body)
		if err != nil || !n.waitApplied(t.Context().Done(), index) {
			t.Fatal(err)
		}
		return r
	}
	phone := func(agent acd.AgentID) {
		t.Helper()
		do(acd.RegistrationChanged{Agent: agent, Contact: acd.Contact{URI: "sip:" + string(agent) + "@127.0.0.1", SIPID: "x", CSeq: 1}, Expires: time.Hour})
	}
	owner := acd.Owner{Node: "r9", Incarnation: do(acd.NodeStarted{Node: "r9"}).Incarnation} // whose orders nobody here carries out
	do(acd.WorkerStarted{Worker: "m1", Incarnation: 1, Addresses: []string{"127.0.0.9"}})
	phone("ann")
	on := acd.OnCall{Call: "c1"}
	on.Epoch = do(acd.CallArrived{OnCall: on, Owner: owner, Trunk: "sbc-a", From: "+79001", To: "+74950000001"}).Epoch
	media := acd.Media{Address: "127.0.0.9", Codec: "PCMA"}
	do(acd.LegAnswered{OnCall: on, Leg: "1", Media: media})

	path := routeapi.PathCalls + "/c1/supervise"
	ask := func(who, mode string) string { return `{"supervisor":"` + who + `","mode":"` + mode + `"}` }
	rs.says(http.StatusBadRequest, "mode: ", 0, "POST", path, ask("olga", "shout"))
	rs.says(http.StatusBadRequest, "supervisor: is missing", 0, "POST", path, `{"mode":"listen"}`)
	rs.says(http.StatusNotFound, "no such open call", 0, "POST", routeapi.PathCalls+"/c9/supervise", ask("olga", "listen"))
	rs.says(http.StatusNotFound, "no such agent", 0, "POST", path, ask("eve", "listen"))
	rs.says(http.StatusForbidden, "supervises neither", 0, "POST", path, ask("ann", "listen"))
	rs.says(http.StatusConflict, "no agent talks", 0, "POST", path, ask("olga", "listen"))
	do(acd.LegAnswered{OnCall: on, Leg: "2", Media: media})
	rs.says(http.StatusConflict, "no phone registered", 0, "POST", path, ask("olga", "listen"))
	rs.says(http.StatusConflict, "does not supervise", 0, "POST", path, ask("olga", "take"))

	rs.says(http.StatusBadRequest, "agent: is missing", 0, "POST", routeapi.PathHelp, `{"asked":true}`)
	rs.says(http.StatusUnprocessableEntity, "reason: longer", 0, "POST", routeapi.PathHelp, `{"agent":"ann","asked":true,"reason":"`+strings.Repeat("x", 257)+`"}`)
	rs.says(http.StatusNoContent, "", 0, "POST", routeapi.PathHelp, `{"agent":"ann","asked":true,"reason":"rude"}`)
	if a := get[[]routeapi.Agent](rs, 0, routeapi.PathAgents)[0]; a.ID != "ann" || a.Help.IsZero() || a.HelpReason != "rude" {
		t.Errorf("who asks for help: %+v", a)
	}
	var asking int
	n.view(func(m *acd.Machine) { asking = askingHelp(m) })
	if asking != 1 {
		t.Errorf("%d ask for help", asking)
	}

	phone("olga")
	rs.says(http.StatusNoContent, "", 0, "POST", path, ask("olga", "listen"))
	do(acd.LegAnswered{OnCall: on, Leg: "3", Media: media})
	rs.says(http.StatusNoContent, "", 0, "POST", path, ask("olga", "join"))
	calls, agents := get[[]routeapi.Call](rs, 0, routeapi.PathCalls), get[[]routeapi.Agent](rs, 0, routeapi.PathAgents)
	if c := calls[0]; c.Supervisor != "olga" || c.Supervision != "join" || c.Agent != "ann" || len(c.Legs) != 3 || c.Legs[2].Role != "supervisor" {
		t.Errorf("the call: %+v", c)
	}
	if !agents[0].Help.IsZero() {
		t.Errorf("help is there, and still asked for: %+v", agents[0])
	}
	rs.says(http.StatusNoContent, "", 0, "POST", path, ask("olga", "take"))
	if c := get[[]routeapi.Call](rs, 0, routeapi.PathCalls)[0]; c.Agent != "olga" || c.Supervisor != "" || c.Legs[2].Role != "agent" {
		t.Errorf("taken over: %+v", c)
	}
}
