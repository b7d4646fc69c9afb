package session

import (
	"net/netip"
	"time"

	"trunkline/mediad/internal/ports"
	"trunkline/mediad/internal/standby"
	"trunkline/mediad/mediaapi"
)

// host is a media address that this worker hosts.
type host struct {
	addr    netip.Addr
	epoch   uint64
	pool    *ports.Pool
	standby string // worker
	remote  string // its replication host:port
	link    *standby.Link
}

func (h *host) closeLink() {
	if h.link != nil {
		h.link.Close()
		h.link = nil
	}
}

// Adopt hosts an address without being told to: for a worker that stands
// alone. It takes no lock on the address from anybody else.
func (e *Engine) Adopt(addr netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hosts[addr] == nil {
		e.hosts[addr] = &host{addr: addr, pool: ports.NewPool(e.cfg.Ports)}
	}
}

// Hosted lists the addresses hosted here with their epochs.
func (e *Engine) Hosted() map[netip.Addr]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := map[netip.Addr]uint64{}
	for a, h := range e.hosts {
		m[a] = h.epoch
	}
	return m
}

// pickHost returns the wanted address, or the emptiest if none is wanted.
func (e *Engine) pickHost(want string) (*host, error) {
	if want != "" {
		addr, _ := netip.ParseAddr(want)
		return e.hosts[addr], nil // Do has checked
	}
	var best *host
	for _, h := range e.hosts {
		if best == nil || h.pool.Free() > best.pool.Free() || h.pool.Free() == best.pool.Free() && h.addr.Less(best.addr) {
			best = h
		}
	}
	if best == nil {
		return nil, refuse(503, mediaapi.ReasonNotHosted)
	}
	return best, nil
}

// host takes word of who hosts an address. Repeats are harmless: every router
// sends it.
func (e *Engine) host(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	addr, err := netip.ParseAddr(r.Address)
	if err != nil {
		return mediaapi.Reply{}, nil, refuse(400, "media-address %q is no IP address", r.Address)
	}
	if (r.Standby == "") != (r.Replication == "") {
		return mediaapi.Reply{}, nil, refuse(400, "standby and replication go together")
	}
	if seen := e.epochs[addr]; r.Epoch < seen {
		return mediaapi.Reply{}, nil, refuse(409, "epoch %d of %s is over, %d began", r.Epoch, addr, seen)
	}
	e.epochs[addr] = r.Epoch
	h := e.hosts[addr]
	if r.Worker != "" && r.Worker != e.cfg.Worker {
		if h != nil {
			e.letGo(h)
		}
		e.cfg.Replicas.Fence(addr.String(), r.Epoch)
		return mediaapi.Reply{}, nil, nil
	}
	if h == nil {
		h = &host{addr: addr, pool: ports.NewPool(e.cfg.Ports)}
		e.hosts[addr] = h
		if rep := e.cfg.Replicas.Take(addr.String(), r.Epoch); rep != nil {
			e.takeOver(h, rep, r.Epoch)
		}
	}
	by := r.Standby
	if by == e.cfg.Worker {
		by = "" // nobody stands by for himself
	}
	e.setStandby(h, r.Epoch, by, r.Replication)
	return mediaapi.Reply{Worker: e.cfg.Worker, Address: addr.String()}, nil, nil
}

// setStandby sends state to the named worker from now on. A new epoch makes a
// new connection: the old one's hello is out of date.
func (e *Engine) setStandby(h *host, epoch uint64, name, remote string) {
	if h.link != nil && h.epoch == epoch && h.standby == name && h.remote == remote {
		return
	}
	defer e.guard()
	h.closeLink()
	h.epoch, h.standby, h.remote = epoch, name, remote
	if name == "" {
		return
	}
	h.link = standby.Connect(standby.LinkConfig{
		Hello:    standby.Hello{Worker: e.cfg.Worker, Incarnation: e.cfg.Incarnation, Address: h.addr.String(), Epoch: epoch},
		Local:    e.cfg.Replication,
		Remote:   remote,
		TLS:      e.cfg.TLS(name),
		Snapshot: func(begin func([]standby.Entry)) { e.snapshot(h, begin) },
		Fenced:   func(over uint64) { e.fenced(h, over) },
		Logger:   e.log,
	})
}

// fenced is how a host that was away learns that it is no longer the host.
func (e *Engine) fenced(h *host, over uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hosts[h.addr] != h || h.epoch >= over {
		return
	}
	e.log.Error("media address was taken over by another worker: letting it go", "address", h.addr.String(),
		"epoch", h.epoch, "by_epoch", over)
	e.epochs[h.addr] = max(e.epochs[h.addr], over)
	e.letGo(h)
}

// letGo closes what is on an address without a word to its standby: the calls
// go on elsewhere. What came here before they did is still passed on.
func (e *Engine) letGo(h *host) {
	defer e.guard()
	h.closeLink()
	delete(e.hosts, h.addr)
	for _, c := range e.calls {
		if c.host == h {
			c.shard.readOut(c)
			e.removeCall(c)
		}
	}
}

// readOut takes what a call's sockets still hold.
func (s *shard) readOut(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, l := range c.legs {
		s.receive(l.tokens[0], now)
		s.receive(l.tokens[1], now)
	}
}

// takeOver goes on with another worker's calls. One that lives is relieved when all
// ports are bound here, and packets come here: it has passed on by then what came
// before, and nothing is lost. What is played begins then, so that nobody hears it
// twice.
func (e *Engine) takeOver(h *host, rep *standby.Replica, epoch uint64) {
	began, failed := time.Now(), 0
	var play []func()
	for _, rc := range rep.Calls {
		resume, err := e.takeOverCall(h, rc)
		if err != nil {
			failed++
			e.log.Error("call could not be taken over", "call_id", rc.Key, "err", err)
		}
		play = append(play, resume...)
	}
	e.cfg.Replicas.Relieve(rep, epoch)
	for _, resume := range play {
		resume()
	}
	for _, s := range e.shards {
		s.poller.Wake()
	}
	e.log.Info("media address taken over", "address", h.addr.String(), "from", rep.Worker, "calls", len(rep.Calls)-failed,
		"failed", failed, "took", time.Since(began))
}

// takeOverCall makes a call of its record, and returns what has its prompts go on.
func (e *Engine) takeOverCall(h *host, rc standby.Call) (play []func(), err error) {
	rec, marks, err := decodeCall(rc)
	if err != nil {
		return nil, err
	}
	if old := e.calls[rec.ID]; old != nil {
		return nil, refuse(409, "call-id is in use here")
	}
	c := &call{id: rec.ID, host: h, created: rec.Created, shard: e.shardOf(rec.ID), sides: rec.Sides, blocked: rec.Blocked, signal: rec.Signal}
	for i, lr := range rec.Legs {
		var m *mark
		if len(marks) == len(rec.Legs) {
			m = &marks[i]
		}
		l, err := e.takeOverLeg(c, lr, m)
		if err != nil {
			e.removeCall(c)
			return nil, err
		}
		if lr.Agreed && len(lr.Prompts) > 0 && (m == nil || m.pos != noPrompt) {
			play = append(play, func() { e.resumePrompt(l, lr, m) })
		}
	}
	c.shard.mu.Lock()
	for i, lr := range rec.Legs {
		if p := c.leg(lr.Peer); p != nil && lr.Peer != "" {
			c.legs[i].peer = p
			routeOneWay(c.legs[i], p)
		}
	}
	e.resumeTaping(c, rec.taping)
	for i, lr := range rec.Legs {
		c.legs[i].supervision = lr.Supervision
	}
	c.remix()
	for _, l := range c.legs {
		if l.digits.Pending != "" {
			c.shard.press(l) // the dead host may not have told them all
		}
	}
	for _, l := range c.legs {
		c.shard.add(l) // not before it is known who hears what it receives
	}
	c.shard.mu.Unlock()
	return play, nil
}

// takeOverLeg binds the same ports and sets every stream to its mark. Our own
// stream is a new one, under a new SSRC.
func (e *Engine) takeOverLeg(c *call, lr legRecord, m *mark) (*leg, error) {
	if !c.host.pool.Take(lr.Port) {
		return nil, refuse(409, "port %d is in use", lr.Port)
	}
	l := newLeg(c, lr.ID)
	l.Port, l.lives = lr.Port, lr.Lives+1
	l.caller, l.blocked = lr.Caller, lr.Blocked
	if !lr.Agreed {
		l.terms = lr.terms // our offer may still be answered
	} else {
		if err := l.agree(lr.terms); err != nil {
			c.host.pool.Put(lr.Port)
			return nil, err
		}
		l.tx.Succeed(l.lives)
		if m != nil {
			l.restore(m)
		}
	}
	if err := l.openSockets(true); err != nil {
		c.host.pool.Put(lr.Port)
		return nil, err
	}
	e.index(l)
	l.digits = lr.Digits
	c.shard.mu.Lock()
	l.fitBrowser(nil, false)
	c.shard.resumeKeying(l, lr.Keying, m)
	c.shard.mu.Unlock()
	return l, nil
}

// restore sets a leg to its mark. A stream that can't be restored starts anew;
// for a sender that would repeat an index, so it stays closed to that SSRC.
func (l *leg) restore(m *mark) {
	if m.to.IsValid() && m.to.Port() != 0 {
		l.to.Set(m.to)
	}
	if m.toRTCP.IsValid() && m.toRTCP.Port() != 0 {
		l.toRTCP.Set(m.toRTCP)
	}
	if l.rx == nil {
		return // its keys were still being agreed on
	}
	for _, x := range m.rx {
		_ = l.rx.Restore(l.Suite, l.PeerKey, x)
	}
	for _, x := range m.tx {
		_ = l.tx.Restore(x)
	}
}

func (e *Engine) resumePrompt(l *leg, lr legRecord, m *mark) {
	if e.cfg.Prompts == nil {
		return
	}
	p, skipped := e.newPlayer(l, lr.Prompts, lr.Loop)
	e.countMissing(l, skipped)
	if len(p.clips) == 0 {
		return
	}
	if m != nil {
		p.seek(int(m.pos))
	}
	s := l.call.shard
	s.mu.Lock()
	s.startPlaying(l, p)
	s.mu.Unlock()
}
