package load

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

const password = "correct-horse"

func agentName(i int) string { return fmt.Sprintf("agent%04d", i) }

// routing has room for every call of the run: the load tests the rate, the
// demo tests the limits.
func (r *run) routing() *acd.Config {
	c := &acd.Config{
		MaxChannels: 2 * r.cfg.Rate,
		Trunks:      []acd.Trunk{{ID: lab.SBCA, Channels: r.cfg.Rate}, {ID: lab.SBCB, Channels: r.cfg.Rate}},
		Numbers:     []acd.Number{{Number: lab.SalesNumber, Greeting: lab.Greeting, Queue: lab.SalesQueue}},
		Queues: []acd.Queue{{
			ID: lab.SalesQueue, Music: lab.Music, RingTimeout: 15 * time.Second, WrapUp: 100 * time.Millisecond,
			MaxWait: 5 * time.Minute, MaxLength: r.cfg.Rate, MissedLimit: 3, RejectDelay: time.Second,
		}},
	}
	for i := range r.cfg.Agents {
		sum := sha256.Sum256([]byte(agentName(i) + ":" + lab.Realm + ":" + password))
		c.Agents = append(c.Agents, acd.Agent{
			ID: acd.AgentID(agentName(i)), Name: agentName(i), Queues: []acd.QueueID{lab.SalesQueue},
			HA1SHA256: hex.EncodeToString(sum[:]), AutoAvailable: true,
		})
	}
	return c
}

// times is what the tier's history says of the run.
type times struct {
	served  int
	toAgent []time.Duration // from arrival to the bridge
	wait    []time.Duration // from the queue to the bridge
}

// readTimes reads the CDRs; their times are machine times in nanoseconds.
func readTimes(ended []routeapi.Fact) times {
	var t times
	for _, f := range ended {
		if f.Attrs["outcome"] != "served" {
			continue
		}
		t.served++
		arrived, enqueued, bridged := stamp(f, "arrived"), stamp(f, "enqueued"), stamp(f, "bridged")
		t.toAgent = append(t.toAgent, time.Duration(bridged-arrived))
		t.wait = append(t.wait, time.Duration(bridged-enqueued))
	}
	return t
}

func stamp(f routeapi.Fact, name string) int64 {
	n, _ := strconv.ParseInt(f.Attrs[name], 10, 64) // absent is 0
	return n
}
