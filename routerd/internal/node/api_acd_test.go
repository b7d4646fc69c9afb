package node

import (
	"net/http"
	"strings"
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// Tasks are made, repeated, shown and cancelled through any router, and what is
// wrong with one is told by its field.
func TestTasksThroughTheAPI(t *testing.T) {
	rs := newRouters(t, 1)
	const task = `{"id":"t1","number":"+74950000009","queue":"sales","due":"2100-01-01T00:00:00Z","card":{"name":"Ann"}}`
	rs.says(http.StatusConflict, "no routing tree", 0, "POST", routeapi.PathTasks, task)
	rs.says(http.StatusOK, "", 0, "PUT", routeapi.PathRouting, oneQueue)
	rs.says(http.StatusConflict, "outbound.trunks is empty", 0, "POST", routeapi.PathTasks, task)
	rs.says(http.StatusOK, "", 0, "PUT", routeapi.PathRouting, oneQueue+"outbound: {trunks: [sbc-a], from: \"+74950000001\"}\n")

	rs.says(http.StatusCreated, `"scheduled"`, 0, "POST", routeapi.PathTasks, task)
	rs.says(http.StatusOK, `"t1"`, 0, "POST", routeapi.PathTasks, task)
	if list := get[[]routeapi.Task](rs, 0, routeapi.PathTasks); len(list) != 1 || list[0].Number != "********0009" || list[0].Card["name"] != "Ann" {
		t.Errorf("tasks are %+v", list)
	}
	bad := func(code int, want, was, now string) {
		t.Helper()
		rs.says(code, want, 0, "POST", routeapi.PathTasks, strings.Replace(strings.Replace(task, "t1", "t2", 1), was, now, 1))
	}
	bad(http.StatusBadRequest, "number: is missing", `"number":"+74950000009",`, "")
	bad(http.StatusBadRequest, "due: ", "2100-", "1100-")
	bad(http.StatusBadRequest, "unknown field", `"id"`, `"ident"`)
	bad(http.StatusBadRequest, "retry_seconds: ", `"id"`, `"retry_seconds":-1,"id"`)
	bad(http.StatusUnprocessableEntity, "queue: ", "sales", "sails")
	bad(http.StatusUnprocessableEntity, "number: ", "+7495", "7495")
	bad(http.StatusUnprocessableEntity, "priority", `"id"`, `"priority":99,"id"`)
	bad(http.StatusRequestEntityTooLarge, "over 65536 bytes", "Ann", strings.Repeat("x", maxBody))

	rs.says(http.StatusNoContent, "", 0, "DELETE", routeapi.PathTasks+"/t1?reason=called", "")
	rs.says(http.StatusNotFound, "no such task", 0, "DELETE", routeapi.PathTasks+"/t1", "")
	rs.says(http.StatusConflict, "a new id", 0, "POST", routeapi.PathTasks, task)
}

// What another system knows gets onto the card of a call, under whatever epoch
// the call is by then.
func TestCardsThroughTheAPI(t *testing.T) {
	rs := newRouters(t, 1)
	n := rs.nodes[0]
	rs.says(http.StatusOK, "", 0, "PUT", routeapi.PathRouting, oneQueue)
	apply := func(body acd.Body) acd.Result {
		t.Helper()
		res, _, err := n.proposer.propose(t.Context(), body)
		if err != nil || !res.Applied {
			t.Fatalf("%T: %+v, %v", body, res, err)
		}
		return res
	}
	owner := acd.Owner{Node: "r2", Incarnation: apply(acd.NodeStarted{Node: "r2"}).Incarnation} // this one has no SIP
	apply(acd.WorkerStarted{Worker: "m1", Incarnation: 1, Addresses: []string{"m1.1"}})
	apply(acd.CallArrived{OnCall: acd.OnCall{Call: "c1"}, Owner: owner, Trunk: "sbc-a", From: "+79991234567", To: "+74950000001"})
	rs.says(http.StatusNoContent, "", 0, "POST", routeapi.PathCalls+"/c1/card", `{"card":{"name":"Ann","city":"Omsk"}}`)
	if calls := get[[]routeapi.Call](rs, 0, routeapi.PathCalls); len(calls) != 1 || calls[0].Card["city"] != "Omsk" {
		t.Errorf("calls are %+v", calls)
	}
	rs.says(http.StatusNotFound, "no such open call", 0, "POST", routeapi.PathCalls+"/c2/card", `{"card":{"name":"Ann"}}`)
	rs.says(http.StatusBadRequest, "card: is missing", 0, "POST", routeapi.PathCalls+"/c1/card", `{}`)
	rs.says(http.StatusUnprocessableEntity, "card: a key is empty", 0, "POST", routeapi.PathCalls+"/c1/card", `{"card":{"":"x"}}`)
	rs.says(http.StatusConflict, "in no state", 0, "POST", routeapi.PathCalls+"/c1/callback", `{}`)
}
