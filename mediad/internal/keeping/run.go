package keeping

import (
	"context"
	"sync"
	"time"
)

const (
	passEvery  = time.Hour
	spaceEvery = 10 * time.Second
	lookEvery  = time.Minute // for segments that nobody told of
	firstRetry = time.Second
	mostRetry  = time.Minute
)

// Run keeps the folder until ctx ends: it hands over what is sealed, of which it
// is told by sealed, makes passes, and watches the disk.
func (k *Keeper) Run(ctx context.Context, sealed <-chan struct{}) {
	var wait sync.WaitGroup
	wait.Go(func() { k.handOverAll(ctx, sealed) })
	wait.Go(func() { every(ctx, passEvery, k.passByClock) })
	wait.Go(func() { every(ctx, spaceEvery, k.watchSpace) })
	wait.Wait()
}

// every calls f at once and then at each interval.
func every(ctx context.Context, interval time.Duration, f func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keeper) passByClock(ctx context.Context) {
	p, err := k.Pass(ctx, false)
	retentionErased.Add(p.Erased)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		retentionFailures.Inc()
		k.cfg.Logger.Error("retention did not go through", "erased", p.Erased, "err", err)
	default:
		lastPass.Store(k.now().Unix())
		retentionHeld.Store(int64(p.Held))
		if p.Erased > 0 {
			k.cfg.Logger.Info("recordings erased: their time is over", "keys", p.Erased, "held", p.Held)
		}
	}
}

func (k *Keeper) watchSpace(ctx context.Context) {
	n, err := k.MakeRoom(ctx)
	roomErased.Add(n)
	if err != nil && ctx.Err() == nil {
		retentionFailures.Inc()
		k.cfg.Logger.Error("recording disk is not watched", "err", err)
	}
}

// handOverAll tries again after a failure, ever more seldom.
func (k *Keeper) handOverAll(ctx context.Context, sealed <-chan struct{}) {
	if k.cfg.Store == nil {
		return
	}
	retry := firstRetry
	for ctx.Err() == nil {
		_, err := k.HandOver(ctx)
		switch {
		case err == nil:
			retry = firstRetry
			pause(ctx, lookEvery, sealed)
		case ctx.Err() == nil:
			storeFailures.Inc()
			k.cfg.Logger.Error("segments are not handed over", "retry", retry.String(), "err", err)
			pause(ctx, retry, nil)
			retry = min(2*retry, mostRetry)
		}
	}
}

// pause waits for the time, a token, or the end of ctx.
func pause(ctx context.Context, d time.Duration, token <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-token:
	case <-ctx.Done():
	}
}
