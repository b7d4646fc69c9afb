package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"trunkline/routerd/routeapi"
)

var taskCommands = []command{
	{"task create", "NUMBER QUEUE", `call a customer at a time, and connect an agent of a queue
The task takes its place in the queue at -due; when it comes to the head an agent is
reserved, the customer called and the two connected. A call from that number meanwhile
cancels it. The same -id twice is one task.`, taskCreate},
	{"task list", "", "outbound tasks that are not over", view(routeapi.PathTasks, taskTable)},
	{"task cancel", "ID", "end a task that has connected nobody yet", taskCancel},
	{"callback", "CALL [NUMBER]", `let a waiting caller go and call back when the ticket is at the head
To NUMBER, or to the caller's. The queue must have callbacks.`, plain(callback)},
	{"transfer", "CALL TARGET", `give a talking call away for its agent
TARGET is queue=ID, agent=ID, chain=ID or number=+E164. The call keeps its ticket.`, transfer},
	{"pause-recording", "CALL", `keep nothing of what is said from now on: a card's number is told
The parties hear each other. It lasts until resume-recording.`, plain(recording(true))},
	{"resume-recording", "CALL", "go on with a recording that was paused", plain(recording(false))},
	{"supervise", "CALL MODE", `listen in on the agent who talks, whisper to that one, join both, or take the call
MODE is listen, whisper, join, take, or none to end it. The supervisor's phone is rung at
first; MODE can be changed while it rings and later.`, supervise},
	{"agent-help", "AGENT", "press an agent's help button, or take that back; agents shows who asks", help},
	{"wrap-up", "AGENT", "end an agent's wrap-up, or move its end", wrapUp},
	{"tag", "CALL KEY=VALUE...", `put what is known of a caller onto the call's card
An empty value removes the key.`, plain(tag)},
}

func taskCreate(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	var t routeapi.NewTask
	fs.StringVar(&t.ID, "id", "", "the task's `ID`, so that a repeat is the same task; drawn if not given")
	due := fs.String("due", "", "the `MOMENT`: 2026-03-01T09:30, with a zone as in RFC 3339, or +2h from now; none: now")
	expire := fs.String("expire", "", "the `MOMENT` after which the customer is not called any more; none: 24 h after -due")
	zone := fs.String("zone", "UTC", "time `ZONE` of moments without one")
	fs.IntVar(&t.Priority, "priority", 0, "-9 to 9, as a number's")
	fs.IntVar(&t.Attempts, "attempts", 0, "to reach the customer; 0: 3")
	retry := fs.Duration("retry", 0, "between attempts; 0: 5 minutes")
	var card []string
	fs.Func("card", "`KEY=VALUE` for the agent's card; may be given again", func(s string) error {
		card = append(card, s)
		return nil
	})
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the customer's number", "the queue"); err != nil {
			return err
		}
		t.Number, t.Queue, t.Retry = words[0], words[1], retry.Seconds()
		if t.ID == "" {
			t.ID = "ctl-" + strings.ToLower(rand.Text()[:16])
		}
		var err error
		if t.Due, err = future(*due, *zone, time.Now()); err != nil {
			return fmt.Errorf("-due: %w", err)
		}
		if t.Expire, err = future(*expire, *zone, time.Now()); err != nil {
			return fmt.Errorf("-expire: %w", err)
		}
		if t.Card, err = keyValues(card); err != nil {
			return fmt.Errorf("-card: %w", err)
		}
		var made routeapi.Task
		if err := post(ctx, e, "POST", routeapi.PathTasks, t, &made); err != nil {
			return err
		}
		if e.json {
			return e.printer().asJSON(made)
		}
		return e.printer().table(func(w io.Writer) { taskTable(w, []routeapi.Task{made}) })
	}
}

// future reads a moment that is to come; "" is none.
func future(text, zone string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if in, ok := strings.CutPrefix(text, "+"); ok {
		d, err := time.ParseDuration(in)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is no time from now such as +2h", text)
		}
		return now.Add(d).UTC(), nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("-zone: %w", err)
	}
	if _, err := time.ParseDuration(text); err == nil {
		return time.Time{}, fmt.Errorf("%q lies in the past: write +%s", text, text)
	}
	return parseMoment(text, loc, now)
}

// keyValues reads KEY=VALUE words; none is nil.
func keyValues(words []string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not KEY=VALUE", w)
		}
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("%q is given twice", key)
		}
		m[key] = value
	}
	return m, nil
}

func taskTable(w io.Writer, tasks []routeapi.Task) {
	fmt.Fprintln(w, "TASK\tSTATE\tNUMBER\tQUEUE\tDUE (UTC)\tEXPIRES\tPRIORITY\tCALL")
	for _, t := range tasks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", t.ID, t.State, t.Number, t.Queue,
			t.Due.UTC().Format("2006-01-02 15:04:05"), t.Expire.UTC().Format("2006-01-02 15:04:05"), t.Priority, dash(t.Call))
	}
}

func taskCancel(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	reason := fs.String("reason", "", "why, as the history shows it")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the task"); err != nil {
			return err
		}
		path := routeapi.PathTasks + "/" + url.PathEscape(words[0])
		if *reason != "" {
			path += "?reason=" + url.QueryEscape(*reason)
		}
		return post(ctx, e, "DELETE", path, struct{}{}, nil)
	}
}

// callPath is what can be done to a call.
func callPath(call, what string) string {
	return routeapi.PathCalls + "/" + url.PathEscape(call) + "/" + what
}

func callback(ctx context.Context, e *env, words []string) error {
	if len(words) == 1 {
		words = append(words, "")
	}
	if err := need(words, "the call", "the number"); err != nil {
		return err
	}
	return post(ctx, e, "POST", callPath(words[0], "callback"), routeapi.CallbackRequest{Number: words[1]}, nil)
}

func recording(paused bool) func(context.Context, *env, []string) error {
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the call"); err != nil {
			return err
		}
		return post(ctx, e, "POST", callPath(words[0], "recording"), routeapi.Recording{Paused: &paused}, nil)
	}
}

func tag(ctx context.Context, e *env, words []string) error {
	if len(words) < 2 {
		return need(words, "the call", "KEY=VALUE")
	}
	card, err := keyValues(words[1:])
	if err != nil {
		return err
	}
	return post(ctx, e, "POST", callPath(words[0], "card"), routeapi.Card{Card: card}, nil)
}

func transfer(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	agent := fs.String("agent", "", "who talks now; the call's agent if not given")
	reason := fs.String("reason", "", "who calls and why, for the far agent's card")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the call", "the target"); err != nil {
			return err
		}
		kind, name, ok := strings.Cut(words[1], "=")
		keys := map[string]string{"queue": "queue", "agent": "to_agent", "chain": "chain", "number": "number"}
		if !ok || name == "" || keys[kind] == "" {
			return fmt.Errorf("%q is no target: queue=ID, agent=ID, chain=ID or number=+E164", words[1])
		}
		if *agent == "" {
			var err error
			if *agent, err = talker(ctx, e, words[0]); err != nil {
				return err
			}
		}
		body := map[string]string{"agent": *agent, keys[kind]: name}
		if *reason != "" {
			body["reason"] = *reason
		}
		return post(ctx, e, "POST", callPath(words[0], "transfer"), body, nil)
	}
}

func supervise(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	by := fs.String("by", "", "the `AGENT` who supervises")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the call", "the mode"); err != nil {
			return err
		}
		if *by == "" {
			return errors.New("-by says who supervises, and is missing")
		}
		return post(ctx, e, "POST", callPath(words[0], "supervise"), routeapi.Supervision{Supervisor: *by, Mode: words[1]}, nil)
	}
}

func help(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	reason := fs.String("reason", "", "what for, as supervisors see it")
	back := fs.Bool("off", false, "help is not needed any more")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the agent"); err != nil {
			return err
		}
		return post(ctx, e, "POST", routeapi.PathHelp, routeapi.Help{Agent: words[0], Asked: !*back, Reason: *reason}, nil)
	}
}

// talker is the agent a call talks with.
func talker(ctx context.Context, e *env, call string) (string, error) {
	c, err := e.client()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var calls []routeapi.Call
	if err := c.get(ctx, routeapi.PathCalls, &calls); err != nil {
		return "", err
	}
	for _, open := range calls {
		switch {
		case open.ID != call:
		case open.State != "talking" || open.Agent == "":
			return "", fmt.Errorf("call %s talks with no agent: it is %s", call, open.State)
		default:
			return open.Agent, nil
		}
	}
	return "", fmt.Errorf("no open call %s: routerctl calls lists them", call)
}

func wrapUp(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	remaining := fs.Duration("remaining", 0, "how long it goes on from now, at most what the queue allows; 0 ends it")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the agent"); err != nil {
			return err
		}
		if *remaining < 0 {
			return errors.New("-remaining: must not be negative")
		}
		return post(ctx, e, "POST", "/v1/wrap-up", map[string]any{"agent": words[0], "remaining": remaining.Seconds()}, nil)
	}
}
