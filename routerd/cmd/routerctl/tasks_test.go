package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
)

// What is typed becomes the request that the API documents.
func TestWhatIsDoneToCallsTasksAndAgents(t *testing.T) {
	var asked []string
	c := newCtl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
		switch {
		case r.Method == "GET" && r.URL.Path == routeapi.PathCalls:
			json.NewEncoder(w).Encode([]routeapi.Call{{ID: "c1", State: "talking", Agent: "ann"}, {ID: "c2", State: "waiting"}})
		case r.URL.Path == routeapi.PathTasks:
			json.NewEncoder(w).Encode(routeapi.Task{ID: "t1", State: "scheduled", Number: "******0001", Queue: "sales", Due: nine, Expire: nine.Add(time.Hour)})
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	f := func(want string, args ...string) {
		t.Helper()
		asked = nil
		c.ok(args...)
		if got := asked[len(asked)-1]; got != want {
			t.Errorf("routerctl %v asked\n%s\nwant\n%s", args, got, want)
		}
	}
	f(`POST /v1/tasks {"id":"t1","number":"+74950000001","queue":"sales","due":"2026-03-01T06:30:00Z","priority":2,"attempts":5,"retry_seconds":60,"card":{"name":"Ann Lee"}}`,
		"task", "create", "+74950000001", "sales", "-id", "t1", "-due", "2026-03-01T06:30", "-priority", "2", "-attempts", "5", "-retry", "1m", "-card", "name=Ann Lee")
	c.has(c.ok("task", "create", "+74950000001", "sales", "-id", "t1"), "t1    scheduled  ******0001  sales  2026-03-01 09:00:00")
	f(`DELETE /v1/tasks/t%2F1?reason=called+in {}`, "task", "cancel", "t/1", "-reason", "called in")
	f(`POST /v1/calls/c2/callback {}`, "callback", "c2")
	f(`POST /v1/calls/c2/callback {"number":"+7999"}`, "callback", "c2", "+7999")
	f(`POST /v1/calls/c2/recording {"paused":true}`, "pause-recording", "c2")
	f(`POST /v1/calls/c2/recording {"paused":false}`, "resume-recording", "c2")
	f(`POST /v1/calls/c1/card {"card":{"city":"","name":"Ann"}}`, "tag", "c1", "name=Ann", "city=")
	f(`POST /v1/calls/c1/transfer {"agent":"ann","queue":"support"}`, "transfer", "c1", "queue=support")
	f(`POST /v1/calls/c1/transfer {"agent":"ann","reason":"VIP","to_agent":"bob"}`, "transfer", "c1", "agent=bob", "-reason", "VIP")
	f(`POST /v1/calls/c2/transfer {"agent":"cat","number":"+7999"}`, "transfer", "c2", "number=+7999", "-agent", "cat")
	f(`POST /v1/calls/c1/supervise {"supervisor":"olga","mode":"whisper"}`, "supervise", "c1", "whisper", "-by", "olga")
	f(`POST /v1/help {"agent":"ann","asked":true,"reason":"rude"}`, "agent-help", "ann", "-reason", "rude")
	f(`POST /v1/help {"agent":"ann","asked":false}`, "agent-help", "ann", "-off")
	f(`POST /v1/wrap-up {"agent":"ann","remaining":30}`, "wrap-up", "ann", "-remaining", "30s")

	c.fails("-by says who supervises", "supervise", "c1", "listen")
	c.fails("is no target", "transfer", "c1", "bob")
	c.fails("talks with no agent: it is waiting", "transfer", "c2", "queue=support")
	c.fails("no open call c3", "transfer", "c3", "queue=support")
	c.fails("is not KEY=VALUE", "tag", "c1", "name")
	c.fails("is given twice", "tag", "c1", "a=1", "a=2")
	c.fails("KEY=VALUE is missing", "tag", "c1")
	c.fails("lies in the past: write +2h", "task", "create", "+7", "q", "-due", "2h")
	c.fails("the queue is missing", "task", "create", "+7")
	c.fails("must not be negative", "wrap-up", "ann", "-remaining", "-1s")
}

// Each drawn id is another task.
func TestTasksWithoutAnIDGetOne(t *testing.T) {
	ids := map[string]bool{}
	c := newCtl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n routeapi.NewTask
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		ids[n.ID] = true
		if d := time.Until(n.Due); d < time.Hour || d > 3*time.Hour {
			t.Errorf("due in %v", d)
		}
		json.NewEncoder(w).Encode(routeapi.Task{})
	}))
	for range 3 {
		c.ok("task", "create", "+74950000001", "sales", "-due", "+2h")
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("ids %v", ids)
	}
}
