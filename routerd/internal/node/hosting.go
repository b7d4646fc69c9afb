package node

import (
	"context"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// hostOf is the worker that hosts a media address now.
func (n *Node) hostOf(address string) (id acd.WorkerID, ok bool) {
	n.view(func(m *acd.Machine) {
		h, found := m.MediaHost(address)
		id, ok = h.Worker, found
	})
	return id, ok
}

// pickAddress chooses where a new call's media goes: the home address of the
// live worker with the fewest calls. The calls are counted from the log, so all
// routers see the same; gossip tells who drains or has no ports left.
func (n *Node) pickAddress() (address string, ok bool) {
	takes := map[acd.WorkerID]bool{}
	for _, m := range n.gossip.Members() {
		if meta, ok := workerMeta(m); ok && !meta.Draining && meta.FreePorts > 0 {
			takes[acd.WorkerID(m.Name)] = true
		}
	}
	fewest := 0
	n.view(func(m *acd.Machine) {
		load := map[acd.WorkerID]int{}
		for _, h := range m.MediaHosts() {
			load[h.Worker] += h.Calls
		}
		for _, w := range m.Workers() {
			if w.Alive && w.Home != "" && takes[w.ID] && (!ok || load[w.ID] < fewest) {
				fewest, address, ok = load[w.ID], w.Home, true
			}
		}
	})
	return address, ok
}

// hostMedia tells the worker concerned, and the address's new host, who hosts
// a media address. Every router does; a repeat is harmless.
func (n *Node) hostMedia(ctx context.Context, o acd.HostMedia) {
	n.knowWorkers()
	if o.Worker == "" {
		return
	}
	if _, err := n.workers.do(ctx, o.Worker, hostRequest(o)); err != nil {
		n.log.Warn("media worker was not told of its address", "worker", o.Worker, "addr", o.Address, "epoch", o.Epoch, "err", err)
	}
}

func hostRequest(o acd.HostMedia) mediaapi.Request {
	return mediaapi.Request{Command: mediaapi.Host, Address: o.Address, Worker: string(o.Worker), Epoch: o.Epoch,
		Standby: string(o.Standby), Replication: o.Replication}
}

// hostedBy lists what a worker must know when its connection is made: the
// addresses it hosts.
func (n *Node) hostedBy(id acd.WorkerID) (out []mediaapi.Request) {
	n.view(func(m *acd.Machine) {
		for _, h := range m.MediaHosts() {
			if h.Worker != id {
				continue
			}
			o := acd.HostMedia{Address: h.Address, Worker: h.Worker, Standby: h.Standby, Epoch: h.Epoch}
			for _, w := range m.Workers() {
				if w.ID == h.Standby {
					o.Replication = w.Replication
				}
			}
			out = append(out, hostRequest(o))
		}
	})
	return out
}

// knowWorkers keeps links to exactly the workers the machine holds alive.
func (n *Node) knowWorkers() {
	var all []acd.Worker
	n.view(func(m *acd.Machine) { all = m.Workers() })
	for _, w := range all {
		if w.Alive {
			n.workers.know(n.life, w.ID, w.Incarnation, w.Control)
		} else {
			n.workers.forget(w.ID, w.Incarnation)
		}
	}
}
