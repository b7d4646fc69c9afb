package gossip_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"trunkline/raftstore/gossip"
	"trunkline/raftstore/raftstoretest"
)

var siteKey = func() []byte { k := sha256.Sum256([]byte("site")); return k[:] }()

// start starts a member that is closed at the test's end.
func start(t *testing.T, cfg gossip.Config) *gossip.Gossip {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Key == nil {
		cfg.Key = siteKey
	}
	cfg.Logger = raftstoretest.Logger(t).With("member", cfg.Name)
	g, err := gossip.Start(cfg)
	if err != nil {
		t.Fatalf("start %s: %v", cfg.Name, err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func names(g *gossip.Gossip) string {
	var list []string
	for _, m := range g.Members() {
		list = append(list, m.Name)
	}
	return strings.Join(list, " ")
}

func awaitNames(t *testing.T, g *gossip.Gossip, want string) {
	t.Helper()
	raftstoretest.Await(t, "members "+want, func() bool { return names(g) == want })
}

func says(g *gossip.Gossip, name, meta string) bool {
	for _, m := range g.Members() {
		if m.Name == name {
			return string(m.Meta) == meta
		}
	}
	return false
}

func TestMembersFindEachOtherInAnyOrderOfStart(t *testing.T) {
	// The seed of the first two starts last, and another seed is dead.
	seed, dead := raftstoretest.FreeAddr(t), raftstoretest.FreeAddr(t)
	join := []string{dead, seed}
	a := start(t, gossip.Config{Name: "a", Join: join})
	b := start(t, gossip.Config{Name: "b", Join: join})
	awaitNames(t, a, "a")
	c := start(t, gossip.Config{Name: "c", Listen: seed, Join: join})
	for _, g := range []*gossip.Gossip{a, b, c} {
		awaitNames(t, g, "a b c")
	}
}

func TestDeathIsSeenSoon(t *testing.T) {
	seed := raftstoretest.FreeAddr(t)
	join := []string{seed}
	var all []*gossip.Gossip
	for i := range 5 {
		cfg := gossip.Config{Name: fmt.Sprintf("m%d", i), Join: join}
		if i == 0 {
			cfg.Listen = seed
		}
		all = append(all, start(t, cfg))
	}
	for _, g := range all {
		awaitNames(t, g, "m0 m1 m2 m3 m4")
	}
	died := time.Now()
	all[4].Close()
	for _, g := range all[:4] {
		awaitNames(t, g, "m0 m1 m2 m3")
	}
	took := time.Since(died)
	t.Logf("death known to all after %s", took)
	if took > 5*time.Second {
		t.Errorf("death known to all after %s, want about 1 s", took)
	}
	var last gossip.Change
	for {
		select {
		case c := <-all[0].Changes():
			last = c
			continue
		default:
		}
		break
	}
	if last.Member.Name != "m4" || last.Alive {
		t.Errorf("last change is %+v, want the death of m4", last)
	}
}

func TestLeaveIsSeenAtOnce(t *testing.T) {
	a := start(t, gossip.Config{Name: "a"})
	b := start(t, gossip.Config{Name: "b", Join: []string{a.Addr()}})
	awaitNames(t, a, "a b")
	if err := b.Leave(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	awaitNames(t, a, "a")
}

func TestMetaSpreads(t *testing.T) {
	a := start(t, gossip.Config{Name: "a"})
	var load atomic.Int64
	b := start(t, gossip.Config{Name: "b", Join: []string{a.Addr()}, Meta: func() []byte {
		return fmt.Appendf(nil, "load %d", load.Load())
	}})
	raftstoretest.Await(t, "the first meta", func() bool { return says(a, "b", "load 0") })
	load.Store(7) // noticed without being told
	raftstoretest.Await(t, "the changed meta", func() bool { return says(a, "b", "load 7") })
	load.Store(8)
	b.Update()
	raftstoretest.Await(t, "the updated meta", func() bool { return says(a, "b", "load 8") })
	if !says(b, "b", "load 8") {
		t.Error("b does not know its own meta")
	}
}

func TestMetaThatIsTooLongIsNotTold(t *testing.T) {
	a := start(t, gossip.Config{Name: "a"})
	var size, asked atomic.Int64
	size.Store(5)
	b := start(t, gossip.Config{Name: "b", Join: []string{a.Addr()}, Meta: func() []byte {
		n := size.Load()
		if n > gossip.MetaMax {
			asked.Add(1)
		}
		return bytes.Repeat([]byte("x"), int(n))
	}})
	raftstoretest.Await(t, "the short meta", func() bool { return says(a, "b", "xxxxx") })
	size.Store(gossip.MetaMax + 1)
	b.Update()
	// Asked a second time, it has been refused a first.
	raftstoretest.Await(t, "the long meta to be refused", func() bool { return asked.Load() > 1 })
	if !says(a, "b", "xxxxx") || !says(b, "b", "xxxxx") {
		t.Error("a meta that is too long replaced the one before")
	}
	size.Store(gossip.MetaMax)
	b.Update()
	raftstoretest.Await(t, "the longest meta", func() bool { return says(a, "b", strings.Repeat("x", gossip.MetaMax)) })
}

func TestWrongKeyIsRefused(t *testing.T) {
	a := start(t, gossip.Config{Name: "a"})
	other := sha256.Sum256([]byte("another site"))
	b := start(t, gossip.Config{Name: "b", Join: []string{a.Addr()}, Key: other[:]})
	c := start(t, gossip.Config{Name: "c", Join: []string{a.Addr()}})
	awaitNames(t, c, "a c")
	awaitNames(t, a, "a c")
	// b tries twice a second: give it as long as c's death takes to be seen.
	c.Close()
	awaitNames(t, a, "a")
	if got := names(b); got != "b" {
		t.Errorf("b sees %q, want itself only", got)
	}
	for _, key := range [][]byte{nil, make([]byte, 31)} {
		if _, err := gossip.Start(gossip.Config{Name: "x", Listen: "127.0.0.1:0", Key: key}); err == nil {
			t.Errorf("started with a key of %d bytes", len(key))
		}
	}
}

func TestRestartedMemberIsAcceptedAtOnce(t *testing.T) {
	a := start(t, gossip.Config{Name: "a"})
	life := func(n int, listen string) *gossip.Gossip {
		return start(t, gossip.Config{Name: "b", Listen: listen, Join: []string{a.Addr()},
			Meta: func() []byte { return fmt.Appendf(nil, "life %d", n) }})
	}
	b := life(1, "127.0.0.1:0")
	raftstoretest.Await(t, "the first life", func() bool { return says(a, "b", "life 1") })
	addr := b.Addr()
	// Back before anyone saw it die.
	b.Close()
	b = life(2, addr)
	raftstoretest.Await(t, "the second life", func() bool { return says(a, "b", "life 2") })
	// Back after its death was seen.
	b.Close()
	awaitNames(t, a, "a")
	b = life(3, addr)
	raftstoretest.Await(t, "the third life", func() bool { return says(a, "b", "life 3") })
	awaitNames(t, b, "a b")
	// Back at another address, as soon as the old one is known to be dead.
	b.Close()
	b = life(4, "127.0.0.1:0")
	raftstoretest.Await(t, "the fourth life", func() bool { return says(a, "b", "life 4") })
	awaitNames(t, b, "a b")
}

func TestRestartedSeedIsFoundAgain(t *testing.T) {
	seed := raftstoretest.FreeAddr(t)
	s := start(t, gossip.Config{Name: "seed", Listen: seed})
	a := start(t, gossip.Config{Name: "a", Join: []string{seed}})
	awaitNames(t, a, "a seed")
	s.Close()
	awaitNames(t, a, "a")
	// The seed knows nobody and joins nobody: the others must find it.
	s = start(t, gossip.Config{Name: "seed", Listen: seed})
	awaitNames(t, s, "a seed")
	awaitNames(t, a, "a seed")
}
