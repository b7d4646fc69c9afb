package node

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// errNoWorker means that no live media worker hosts the address asked for, or
// that none lives at all.
var errNoWorker = errors.New("no live media worker")

// mediaTimeout bounds one order to a worker; mediaPatience bounds the wait for
// an address that is just moving from a dead worker to its standby.
const (
	mediaTimeout  = time.Second
	mediaPatience = 5 * time.Second
)

// workers keeps one control connection to every media worker the machine
// knows. A connection that breaks and can't be made again because nobody
// listens is the fastest sign of a worker's death; it is reported, and the
// committed WorkerDied decides.
type workers struct {
	tls  *tls.Config
	log  *slog.Logger
	died func(acd.WorkerID, uint64)            // report a death; must not block
	up   func(acd.WorkerID) []mediaapi.Request // the addresses to host, told on each new connection
	keys func(mediaapi.Reply)                  // takes what far ends press; must not block

	mu    sync.Mutex
	links map[acd.WorkerID]*workerLink
}

// workerLink is the connection to one life of one worker.
type workerLink struct {
	worker      acd.WorkerID
	incarnation uint64
	control     string
	stop        context.CancelFunc

	mu     sync.Mutex
	client *mediaapi.Client // nil while not connected
	ready  chan struct{}    // closed when client is set

	again  chan struct{} // holds a token when pending keys are to be told again
	asking atomic.Bool   // whether it lives
}

func newWorkers(conf *tls.Config, log *slog.Logger, died func(acd.WorkerID, uint64), up func(acd.WorkerID) []mediaapi.Request, keys func(mediaapi.Reply)) *workers {
	return &workers{tls: conf, log: log, died: died, up: up, keys: keys, links: map[acd.WorkerID]*workerLink{}}
}

// remind has every worker tell again what keys nobody has dealt with: a call's
// new owner may have left some to the old one.
func (w *workers) remind() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.links {
		select {
		case l.again <- struct{}{}:
		default:
		}
	}
}

// know makes sure a link to this life of the worker is kept, and no other.
func (w *workers) know(ctx context.Context, id acd.WorkerID, incarnation uint64, control string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.links[id]; l != nil {
		if l.incarnation == incarnation {
			return
		}
		l.stop()
	}
	ctx, stop := context.WithCancel(ctx)
	l := &workerLink{worker: id, incarnation: incarnation, control: control, stop: stop, ready: make(chan struct{}), again: make(chan struct{}, 1)}
	w.links[id] = l
	go w.keep(ctx, l)
}

// forget drops the link to a life that the machine says is over.
func (w *workers) forget(id acd.WorkerID, incarnation uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.links[id]; l != nil && l.incarnation == incarnation {
		l.stop()
		delete(w.links, id)
	}
}

// keep dials the worker for as long as its life is known.
func (w *workers) keep(ctx context.Context, l *workerLink) {
	name := string(l.worker) + ".worker.trunkline.internal"
	conf := w.tls.Clone()
	conf.ServerName = name
	wait := redialAtOnce
	for {
		dialCtx, cancel := context.WithTimeout(ctx, mediaTimeout)
		c, err := mediaapi.Dial(dialCtx, l.control, conf)
		cancel()
		if err != nil {
			if errors.Is(err, syscall.ECONNREFUSED) {
				w.died(l.worker, l.incarnation)
			} else if wait == redialAtMost {
				w.log.Warn("media worker can't be reached", "worker", l.worker, "addr", l.control, "err", err)
			}
			if !pause(ctx, wait) {
				return
			}
			wait = min(2*wait, redialAtMost)
			continue
		}
		w.serve(ctx, l, c)
		if ctx.Err() != nil {
			return
		}
		wait = redialAtOnce
	}
}

// A process that is killed closes its connections some moments before its
// listener, so the first attempt may still find that and break; the next ones
// come fast, since silence at the far ends hangs on them.
const (
	redialAtOnce = 2 * time.Millisecond
	redialAtMost = time.Second
)

// serve makes the connection usable until it breaks.
func (w *workers) serve(ctx context.Context, l *workerLink, c *mediaapi.Client) {
	defer c.Close()
	for _, host := range w.up(l.worker) {
		hostCtx, cancel := context.WithTimeout(ctx, mediaTimeout)
		if _, err := c.Do(hostCtx, host); err != nil {
			w.log.Warn("media worker refused an address", "worker", l.worker, "addr", host.Address, "err", err)
		}
		cancel()
	}
	l.mu.Lock()
	l.client = c
	close(l.ready)
	l.mu.Unlock()
	for live := true; live; {
		w.listen(ctx, l, c)
		select {
		case <-ctx.Done():
			live = false
		case <-c.Done():
			live = false
		case <-l.again:
			live = pause(ctx, remindOnce)
		}
	}
	l.mu.Lock()
	l.client = nil
	l.ready = make(chan struct{})
	l.mu.Unlock()
}

// remindOnce gathers the reminders of calls that move together.
const remindOnce = 50 * time.Millisecond

// A worker that its standby calls silent is asked whether it lives, and so is the
// standby. The one is taken for dead if it says nothing for silencePatience while
// the other answers within promptly. Where both are slow, or this router was itself
// held up, it is the machine or the network that is, and nothing is concluded: a
// worker that is short of processor time must not be taken for one that hangs, or
// one after the other would be.
const (
	silencePatience = 250 * time.Millisecond
	promptly        = 50 * time.Millisecond
)

// suspect looks into what a standby says of a worker.
func (w *workers) suspect(ctx context.Context, standby *workerLink, s mediaapi.Silent) {
	w.mu.Lock()
	l := w.links[acd.WorkerID(s.Worker)]
	w.mu.Unlock()
	if l == nil || l.incarnation != s.Incarnation || !l.asking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer l.asking.Store(false)
		began := time.Now()
		witness := make(chan bool, 1)
		go func() {
			witness <- w.answers(ctx, standby, promptly)
		}()
		alive := w.answers(ctx, l, silencePatience)
		late := time.Since(began) > silencePatience+promptly
		if alive || !<-witness || late || ctx.Err() != nil {
			return // the standby tells again if it hears nothing still
		}
		w.log.Warn("media worker is silent to its standby and answers nothing", "worker", l.worker, "incarnation", l.incarnation)
		w.died(l.worker, l.incarnation)
	}()
}

// answers tells whether a worker says anything within a time.
func (w *workers) answers(ctx context.Context, l *workerLink, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := w.do(ctx, l.worker, mediaapi.Request{Command: mediaapi.Ping})
	var refused *mediaapi.Error
	return err == nil || errors.As(err, &refused)
}

// beginAnew tells a life of a worker, to which no link is kept, that it is over.
func (w *workers) beginAnew(ctx context.Context, id acd.WorkerID, meta mediaapi.WorkerMeta) error {
	ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	conf := w.tls.Clone()
	conf.ServerName = string(id) + ".worker.trunkline.internal"
	c, err := mediaapi.Dial(ctx, meta.Control, conf)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do(ctx, mediaapi.Request{Command: mediaapi.BeginAnew, Incarnation: meta.Incarnation})
	return err
}

// listen has the worker tell of keys, and of silent workers, on this connection.
func (w *workers) listen(life context.Context, l *workerLink, c *mediaapi.Client) {
	ctx, cancel := context.WithTimeout(life, mediaTimeout)
	defer cancel()
	tell := func(r mediaapi.Reply) {
		for _, s := range r.Silent {
			w.suspect(life, l, s)
		}
		w.keys(r)
	}
	if err := c.Subscribe(ctx, mediaapi.Request{Command: mediaapi.Events}, tell); err != nil && ctx.Err() == nil {
		w.log.Warn("media worker does not tell of keys", "worker", l.worker, "err", err)
	}
}

// do sends one order to a worker's present connection.
func (w *workers) do(ctx context.Context, id acd.WorkerID, req mediaapi.Request) (mediaapi.Reply, error) {
	w.mu.Lock()
	l := w.links[id]
	w.mu.Unlock()
	if l == nil {
		return mediaapi.Reply{}, errNoWorker
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	for {
		l.mu.Lock()
		c, ready := l.client, l.ready
		l.mu.Unlock()
		if c != nil {
			return c.Do(ctx, req)
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return mediaapi.Reply{}, errNoWorker
		}
	}
}

// atAddress sends an order to whoever hosts the media address, and follows the
// address when it moves: orders are idempotent, so one whose worker died
// before it answered is given again to the standby.
func (n *Node) atAddress(ctx context.Context, address string, req mediaapi.Request) (mediaapi.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, mediaPatience)
	defer cancel()
	req.Address = address
	for {
		rep, err := mediaapi.Reply{}, errNoWorker
		if id, ok := n.hostOf(address); ok {
			rep, err = n.workers.do(ctx, id, req)
		}
		var refused *mediaapi.Error
		if err == nil || errors.As(err, &refused) && refused.Reason != mediaapi.ReasonNotHosted {
			return rep, err
		}
		if !pause(ctx, 10*time.Millisecond) {
			return rep, err
		}
	}
}
