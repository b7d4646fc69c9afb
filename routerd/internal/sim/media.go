package sim

import (
	"fmt"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// worker is a mediad as the routers see it: there or not. What it does with
// packets is not this package's business.
type worker struct {
	host
	id          acd.WorkerID
	incarnation uint64
	addresses   []string
}

func newWorker(w *World, i int) *worker {
	m := &worker{id: acd.WorkerID(fmt.Sprintf("m%d", i+1)), addresses: []string{fmt.Sprintf("10.4.%d.1", i+1), fmt.Sprintf("10.4.%d.2", i+1)}}
	m.host = host{w: w, name: string(m.id)}
	m.boot()
	return m
}

func (m *worker) boot() {
	if m.up {
		return
	}
	m.incarnation++
	m.start()
	m.w.note(m.name, "boots", "", "", m.incarnation)
}

func (m *worker) crash() {
	m.w.note(m.name, "dies", "", "", m.incarnation)
	m.stop()
}

const (
	mediaTimeout  = time.Second
	mediaPatience = 5 * time.Second
)

// pickAddress is node.pickAddress.
func (r *router) pickAddress() (address string, ok bool) {
	load := map[acd.WorkerID]int{}
	for _, h := range r.machine.MediaHosts() {
		load[h.Worker] += h.Calls
	}
	fewest := 0
	for _, w := range r.machine.Workers() {
		if w.Alive && w.Home != "" && r.gossip.has(string(w.ID)) && (!ok || load[w.ID] < fewest) {
			fewest, address, ok = load[w.ID], w.Home, true
		}
	}
	return address, ok
}

// ask gives an order to whoever hosts the address and follows the address when
// it moves (node.atAddress). It returns 0 or a SIP code.
func (a *actor) ask(address string) int {
	r := a.n
	giveUp := r.w.now + mediaPatience
	for {
		if h, ok := r.machine.MediaHost(address); ok {
			m := r.w.worker(h.Worker)
			switch {
			case !m.up: // refused at once: the fastest sign of its death
				r.workerDied(m.id, h.Incarnation)
			case m.incarnation == h.Incarnation && !m.paused && r.w.net.open(r.name, m.name) && r.w.net.open(m.name, r.name):
				if !a.t.sleep(r.w.between(200*time.Microsecond, 2*time.Millisecond)) {
					return 500
				}
				if m.up && m.incarnation == h.Incarnation {
					return 0
				}
			default:
				if !a.t.sleep(min(mediaTimeout, giveUp-r.w.now)) {
					return 500
				}
			}
		}
		if r.w.now >= giveUp {
			return 503
		}
		if !a.t.sleep(10 * time.Millisecond) {
			return 500
		}
	}
}

func (w *World) worker(id acd.WorkerID) *worker {
	for _, m := range w.workers {
		if m.id == id {
			return m
		}
	}
	return nil
}

func sdpOf(address string) string {
	return "v=0\r\no=- 1 1 IN IP4 " + address + "\r\ns=-\r\nc=IN IP4 " + address +
		"\r\nt=0 0\r\nm=audio 30000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n"
}

// uselessSDP is an answer that can't be used.
const uselessSDP = "v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\nm=audio 0 RTP/AVP 8\r\n"

// promptLength is in the prompt's name: "hello-1500ms".
func promptLength(name string) time.Duration {
	_, after, ok := strings.Cut(name, "-")
	if !ok {
		return time.Second
	}
	d, err := time.ParseDuration(after)
	if err != nil {
		return time.Second
	}
	return d
}
