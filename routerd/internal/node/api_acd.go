package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeACD(operator func(pattern string, h http.HandlerFunc)) {
	operator("GET "+routeapi.PathTasks, n.serveTasks)
	operator("POST "+routeapi.PathTasks, n.createTask)
	operator("DELETE "+routeapi.PathTasks+"/{id}", n.cancelTask)
	operator("POST "+routeapi.PathCalls+"/{id}/card", n.tagCall)
	operator("POST "+routeapi.PathCalls+"/{id}/callback", n.requestCallback)
	operator("POST "+routeapi.PathCalls+"/{id}/recording", n.pauseRecording)
}

// refusals says what the machine's reasons mean to who asks over the API.
var refusals = map[string]struct {
	code int
	text string
}{
	acd.ReasonUnknownCall:      {http.StatusNotFound, "no such open call"},
	"unknown-task":             {http.StatusNotFound, "no such task, or it is over"},
	acd.ReasonUnknownAgent:     {http.StatusNotFound, "no such agent"},
	"unknown-queue":            {http.StatusUnprocessableEntity, "queue: the configuration has none of that name"},
	"bad-number":               {http.StatusUnprocessableEntity, "number: not an E.164 number with +"},
	"bad-task":                 {http.StatusUnprocessableEntity, "id, expire, priority, attempts or retry_seconds is out of bounds: expire is after due, priority from -9 to 9, at most 20 attempts, retry at most a day"},
	acd.ReasonBadCard:          {http.StatusUnprocessableEntity, "card: a key is empty"},
	acd.ReasonCardTooBig:       {http.StatusUnprocessableEntity, "card: more than 32 keys, or 256 bytes in one"},
	"no-trunks":                {http.StatusConflict, "nobody can be called: the configuration's outbound.trunks is empty"},
	"no-callbacks":             {http.StatusConflict, "the call's queue has no callbacks, or the call is one"},
	acd.ReasonUnexpected:       {http.StatusConflict, "the call is in no state in which that can be done"},
	"task-over":                {http.StatusConflict, "that task is over: a new one needs a new id"},
	"too-many-tasks":           {http.StatusConflict, "there are 100 000 tasks that are not over"},
	acd.ReasonNotPermitted:     {http.StatusForbidden, "supervisor: supervises neither all agents nor the call's queue, by the configuration"},
	acd.ReasonNotSupervising:   {http.StatusConflict, "supervisor: does not supervise the call"},
	acd.ReasonSupervised:       {http.StatusConflict, "another supervisor is in the call already"},
	acd.ReasonNotTalking:       {http.StatusConflict, "no agent talks in the call now"},
	acd.ReasonAgentBusy:        {http.StatusConflict, "that agent is in a call, or wraps one up"},
	acd.ReasonAgentUnavailable: {http.StatusConflict, "that agent has no phone registered"},
	acd.ReasonTransferring:     {http.StatusConflict, "the call is just being transferred"},
	acd.ReasonTooLong:          {http.StatusUnprocessableEntity, "reason: longer than 256 bytes"},
	acd.ReasonNotConfigured:    {http.StatusConflict, "no routing tree was applied yet"},
}

// refuseFor answers for a command that changed nothing.
func refuseFor(w http.ResponseWriter, reason string) {
	r, ok := refusals[reason]
	if !ok {
		fail(w, http.StatusConflict, fmt.Errorf("refused: %s", reason))
		return
	}
	fail(w, r.code, fmt.Errorf("refused: %s: %s", reason, r.text))
}

func (n *Node) serveTasks(w http.ResponseWriter, _ *http.Request) {
	out := []routeapi.Task{}
	n.view(func(m *acd.Machine) {
		for _, t := range m.Tasks() {
			out = append(out, taskView(t))
		}
	})
	reply(w, out)
}

func taskView(t acd.Task) routeapi.Task {
	return routeapi.Task{
		ID: string(t.ID), State: string(t.State), Number: mask(t.Number), Queue: string(t.Queue), Due: wall(t.Due), Expire: wall(t.Expire),
		Priority: t.Priority, Attempts: t.Attempts, Call: string(t.Call), Card: cardView(t.Card),
	}
}

func cardView(card []acd.Attr) map[string]string {
	if len(card) == 0 {
		return nil
	}
	m := make(map[string]string, len(card))
	for _, a := range card {
		m[a.Key] = a.Value
	}
	return m
}

// cardOf is a card as the machine has it, by key.
func cardOf(m map[string]string) []acd.Attr {
	card := make([]acd.Attr, 0, len(m))
	for k, v := range m { // any order: sorted below
		card = append(card, acd.Attr{Key: k, Value: v})
	}
	slices.SortFunc(card, func(a, b acd.Attr) int { return cmp.Compare(a.Key, b.Key) })
	return card
}

// machineMoment is a time in a body as machine time, 0 for none. Cluster time
// and the wall clock are the same clock here, give or take what a wall clock was
// moved since.
func machineMoment(t time.Time) (acd.Time, error) {
	switch {
	case t.IsZero():
		return 0, nil
	case t.Year() < 2000 || t.Year() > 2200:
		return 0, fmt.Errorf("%s is not between the years 2000 and 2200", t.Format(time.RFC3339))
	}
	return acd.Time(t.UnixNano()), nil
}

// createdOf checks a task's fields, and names the one at fault.
func createdOf(t routeapi.NewTask) (acd.TaskCreated, error) {
	b := acd.TaskCreated{
		ID: acd.TaskID(t.ID), Number: t.Number, Queue: acd.QueueID(t.Queue), Priority: t.Priority, Attempts: t.Attempts, Card: cardOf(t.Card),
	}
	var errs []error
	for _, f := range []struct{ name, value string }{{"id", t.ID}, {"number", t.Number}, {"queue", t.Queue}} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("%s: is missing", f.name))
		}
	}
	if len(t.ID) > 128 || strings.ContainsAny(t.ID, "/\x00") {
		errs = append(errs, errors.New("id: longer than 128 bytes, or has a slash"))
	}
	var err error
	if b.Due, err = machineMoment(t.Due); err != nil {
		errs = append(errs, fmt.Errorf("due: %w", err))
	}
	if b.Expire, err = machineMoment(t.Expire); err != nil {
		errs = append(errs, fmt.Errorf("expire: %w", err))
	}
	if !(t.Retry >= 0 && t.Retry <= 86400) {
		errs = append(errs, fmt.Errorf("retry_seconds: %v is not from 0 to 86400", t.Retry))
	}
	b.Retry = time.Duration(t.Retry * float64(time.Second))
	return b, errors.Join(errs...)
}

func (n *Node) createTask(w http.ResponseWriter, r *http.Request) {
	var t routeapi.NewTask
	if !readJSON(w, r, &t) {
		return
	}
	body, err := createdOf(t)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	res, ok := n.proposeFor(w, r, body)
	if !ok {
		return
	}
	if !res.Applied && res.Reason != acd.ReasonUnchanged {
		refuseFor(w, res.Reason)
		return
	}
	task := routeapi.Task{ID: t.ID}
	n.view(func(m *acd.Machine) {
		if found, ok := m.Task(body.ID); ok {
			task = taskView(found)
		}
	})
	w.Header().Set("Content-Type", "application/json")
	if res.Applied {
		w.WriteHeader(http.StatusCreated)
	}
	reply(w, task)
}

func (n *Node) cancelTask(w http.ResponseWriter, r *http.Request) {
	n.finish(w, r, acd.TaskCancelled{ID: acd.TaskID(r.PathValue("id")), Reason: r.URL.Query().Get("reason")})
}

// finish proposes and answers 204, or why not.
func (n *Node) finish(w http.ResponseWriter, r *http.Request, body acd.Body) {
	res, ok := n.proposeFor(w, r, body)
	switch {
	case !ok:
	case !res.Applied && res.Reason != acd.ReasonUnchanged:
		refuseFor(w, res.Reason)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// finishOnCall is finish for a command about the open call that the path names.
// A call that moves meanwhile is asked again under its new epoch.
func (n *Node) finishOnCall(w http.ResponseWriter, r *http.Request, body func(acd.OnCall) acd.Body) {
	on := acd.OnCall{Call: acd.CallID(r.PathValue("id"))}
	known := false
	n.view(func(m *acd.Machine) { _, on.Epoch, known = m.OwnerOf(on.Call) })
	if !known {
		refuseFor(w, acd.ReasonUnknownCall)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	for range 3 {
		res, ok := n.proposeFor(w, r.WithContext(ctx), body(on))
		switch {
		case !ok:
			return
		case res.Reason == acd.ReasonStaleEpoch:
			on.Epoch = res.Epoch
			continue
		case !res.Applied && res.Reason != acd.ReasonUnchanged:
			refuseFor(w, res.Reason)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	fail(w, http.StatusServiceUnavailable, errors.New("the call moves from router to router: try again"))
}

func (n *Node) tagCall(w http.ResponseWriter, r *http.Request) {
	var c routeapi.Card
	if !readJSON(w, r, &c) {
		return
	}
	if len(c.Card) == 0 {
		fail(w, http.StatusBadRequest, errors.New("card: is missing or empty"))
		return
	}
	n.finishOnCall(w, r, func(on acd.OnCall) acd.Body { return acd.CallTagged{OnCall: on, Card: cardOf(c.Card)} })
}

func (n *Node) requestCallback(w http.ResponseWriter, r *http.Request) {
	var c routeapi.CallbackRequest
	if !readJSON(w, r, &c) {
		return
	}
	n.finishOnCall(w, r, func(on acd.OnCall) acd.Body { return acd.CallbackRequested{OnCall: on, Number: c.Number} })
}
