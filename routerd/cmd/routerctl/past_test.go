package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore/archive"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
	"trunkline/routerd/routeapi"
)

const morningTree = `
trunks:
- {id: sbc-a}
numbers:
- {number: "+100", queue: sales}
queues:
- {id: sales, wrap_up: 10s}
agents:
- {id: ann, queues: [sales]}
- {id: bob, queues: [sales]}
`

var nine = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// morning archives an hour in which a call a minute came in, each for three
// minutes, for two agents: half of the callers can't be served, and give up
// after a minute.
func morning(t *testing.T) (dir string, last uint64) {
	t.Helper()
	dir = t.TempDir()
	w, err := archive.Open(dir, archive.Options{Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := acd.New()
	apply := func(at time.Time, body acd.Body) acd.Result {
		t.Helper()
		last++
		cmd := acd.Command{Session: "s", Seq: last, Floor: last, Body: body}
		data, err := acdwire.EncodeCommand(cmd)
		if err != nil {
			t.Fatal(err)
		}
		w.Append(last-1, archive.Record{Index: last, Term: 1, Stamp: at.UnixNano(), Data: data})
		cmd.Stamp = acd.Time(at.UnixNano())
		res, _ := m.Apply(last, cmd)
		if !res.Applied {
			t.Fatalf("%T: %+v", body, res)
		}
		return res
	}
	before := nine.Add(-time.Minute)
	apply(before, acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a"}}, Numbers: []acd.Number{{Number: "+100", Queue: "sales"}}, Queues: []acd.Queue{{ID: "sales", WrapUp: 10 * time.Second}},
		Agents: []acd.Agent{{ID: "ann", Queues: []acd.QueueID{"sales"}}, {ID: "bob", Queues: []acd.QueueID{"sales"}}},
	}})
	owner := acd.Owner{Node: "r1", Incarnation: apply(before, acd.NodeStarted{Node: "r1"}).Incarnation}
	apply(before, acd.WorkerStarted{Worker: "m1", Incarnation: 1, Addresses: []string{"m1.1"}})
	for _, a := range []acd.AgentID{"ann", "bob"} {
		apply(before, acd.RegistrationChanged{Agent: a, Contact: acd.Contact{URI: "sip:" + string(a), SIPID: string(a), CSeq: 1}, Expires: 3 * time.Hour})
		apply(before, acd.AgentStatusSet{Agent: a, Status: acd.Available})
	}
	talking := map[acd.CallID]time.Time{} // until
	media := acd.Media{Address: "m1.1"}
	for i := range 60 {
		now := nine.Add(time.Duration(i) * time.Minute)
		for c, until := range talking { // any order: two at most, each its own
			if !until.After(now) {
				call, _ := m.Call(c)
				on := acd.OnCall{Call: c, Epoch: call.Epoch}
				apply(now, acd.LegEnded{OnCall: on, Leg: call.Caller, Cause: "bye"})
				apply(now, acd.LegEnded{OnCall: on, Leg: call.AgentLeg, Cause: "hangup"})
				delete(talking, c)
			}
		}
		now = now.Add(15 * time.Second) // wrap-ups are over
		apply(now, acd.Ticked{})
		id := acd.CallID(fmt.Sprint("c", i))
		on := acd.OnCall{Call: id, Epoch: apply(now, acd.CallArrived{OnCall: acd.OnCall{Call: id}, Owner: owner, Trunk: "sbc-a", From: "+79991234567", To: "+100"}).Epoch}
		apply(now, acd.LegAnswered{OnCall: on, Leg: acd.CallerLeg, Media: media})
		call, _ := m.Call(id)
		if call.Offers == 0 { // nobody is free
			apply(now.Add(40*time.Second), acd.LegEnded{OnCall: on, Leg: acd.CallerLeg, Cause: "bye"})
			continue
		}
		apply(now.Add(2*time.Second), acd.LegAnswered{OnCall: on, Leg: call.Legs[1].ID, Media: media})
		talking[id] = now.Add(3 * time.Minute)
	}
	w.Sync()
	w.Close()
	return dir, last
}

// archiveAPI plays a router that serves an archive without snapshots.
func archiveAPI(dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch r.URL.Path {
		case routeapi.PathArchiveSnapshots:
			json.NewEncoder(w).Encode([]routeapi.ArchiveSnapshot{})
		case routeapi.PathArchiveIndex:
			at, err := time.Parse(time.RFC3339Nano, q.Get("at"))
			if err != nil {
				w.WriteHeader(400)
				return
			}
			index, err := archive.IndexAt(dir, at.UnixNano())
			if err != nil {
				w.WriteHeader(404)
				json.NewEncoder(w).Encode(routeapi.Error{Error: err.Error()})
				return
			}
			json.NewEncoder(w).Encode(routeapi.ArchiveIndex{Index: index})
		case routeapi.PathArchiveEntries:
			from, _ := strconv.ParseUint(q.Get("from"), 10, 64)
			to, _ := strconv.ParseUint(q.Get("to"), 10, 64)
			w.Header().Set("Trailer", routeapi.HeaderError)
			if err := archive.Export(w, dir, from, to); err != nil {
				w.Header().Set(routeapi.HeaderError, err.Error())
			}
		}
	})
}

func TestReplayShowsAPastMoment(t *testing.T) {
	dir, last := morning(t)
	c := newCtl(t, archiveAPI(dir))
	local := c.ok("replay", "-to", "2026-03-01T09:10", "-archive", dir)
	c.has(local, "configuration version", "ann", "sales", "CALL", "********4567")
	if remote := c.ok("replay", "-to", "2026-03-01T09:10"); remote != local {
		t.Errorf("the routers' archive gives\n%sthe folder\n%s", remote, local)
	}
	c.has(c.ok("replay", "-to", "3", "-diff", fmt.Sprint(last)), "~ agents[ann].status: logged-out → available", "differences between index 3")
	var v struct {
		Index uint64 `json:"index"`
	}
	if err := json.Unmarshal([]byte(c.ok("replay", "-json", "-to", "7")), &v); err != nil || v.Index != 7 {
		t.Errorf("index %d, %v", v.Index, err)
	}
	c.fails("the archive ends here", "replay", "-to", fmt.Sprint(last+1))
	c.fails("nothing is as old as that", "replay", "-to", "2026-02-01")
	c.fails("is no moment", "replay", "-to", "noon")
	c.fails("to which moment?", "replay")
}

func TestWhatIfShowsThreeColumns(t *testing.T) {
	dir, _ := morning(t)
	c := newCtl(t, archiveAPI(dir))
	same := write(t, "same.yaml", morningTree)
	out := c.ok("whatif", "-config", same, "-from", "2026-03-01T09:00", "-to", "2026-03-01T10:00", "-archive", dir, "-zone", "UTC")
	c.has(out, "60 calls, seed 1", "service level: answered within the threshold / (answered + abandoned - abandoned within 5s)", "RECORDED", "sales  service level", "occupancy")
	line := func(text, figure string) []string {
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, "sales") && strings.Contains(l, figure) {
				return strings.Fields(l)
			}
		}
		t.Fatalf("no %s in\n%s", figure, text)
		return nil
	}
	// The same configuration changes nothing against the simulation of itself.
	if got := line(out, "queued"); got[2] != "60" || got[6] != "+0" {
		t.Errorf("queued: %q", got)
	}
	if got := line(out, "answered"); got[6] != "+0" {
		t.Errorf("answered: %q", got)
	}
	// Without wrap-up more are answered; a third agent was not there that day.
	more := write(t, "more.yaml", strings.Replace(morningTree, "10s", "0s", 1)+"- {id: cat, queues: [sales]}\n")
	out = c.ok("whatif", "-config", more, "-from", "2026-03-01T09:00", "-to", "2026-03-01T10:00")
	c.has(out, "note: 1 agents had no phone on all of the stretch and serve nothing: cat", more)
	var f struct {
		Recorded, Forecast struct {
			Total struct {
				Answered int     `json:"answered"`
				Level    float64 `json:"service_level"`
			} `json:"total"`
		}
	}
	if err := json.Unmarshal([]byte(c.ok("whatif", "-json", "-config", more, "-from", "2026-03-01T09:00", "-to", "2026-03-01T10:00")), &f); err != nil {
		t.Fatal(err)
	}
	if f.Recorded.Total.Answered == 0 || f.Forecast.Total.Answered < f.Recorded.Total.Answered || f.Recorded.Total.Level == 0 {
		t.Errorf("got %+v", f)
	}
	c.fails("the archive does not reach back", "whatif", "-config", same, "-day", "2026-03-01")
	c.fails("which stretch?", "whatif", "-config", same)
	c.fails("which configuration?", "whatif", "-day", "2026-03-01")
	c.fails("is no date", "whatif", "-config", same, "-day", "today")
	c.fails("is not before", "whatif", "-config", same, "-from", "2026-03-01T10:00", "-to", "2026-03-01T09:00")
}
