package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/memberlist"
)

// events takes what memberlist sees. It is called with memberlist's locks held
// and therefore only notes.
type events struct{ g *Gossip }

func (e events) NotifyJoin(n *memberlist.Node)   { e.g.note(n, true) }
func (e events) NotifyUpdate(n *memberlist.Node) { e.g.note(n, true) }
func (e events) NotifyLeave(n *memberlist.Node)  { e.g.note(n, false) }

func (g *Gossip) note(n *memberlist.Node, alive bool) {
	m := Member{Name: n.Name, Addr: addrOf(n), Meta: bytes.Clone(n.Meta)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if alive {
		g.members[m.Name] = m
	} else {
		delete(g.members, m.Name)
	}
	g.queue = append(g.queue, Change{m, alive})
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// deliver moves changes from the queue to their reader.
func (g *Gossip) deliver() {
	defer close(g.changes)
	for {
		g.mu.Lock()
		batch := g.queue
		g.queue = nil
		g.mu.Unlock()
		for _, c := range batch {
			select {
			case g.changes <- c:
			case <-g.done:
				return
			}
		}
		select {
		case <-g.wake:
		case <-g.done:
			return
		}
	}
}

// delegate hands out Meta; the rest of memberlist's delegate is unused.
type delegate struct{ g *Gossip }

func (d delegate) NodeMeta(int) []byte {
	d.g.metaMu.Lock()
	defer d.g.metaMu.Unlock()
	return d.g.meta
}
func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// libraryLogger takes memberlist's lines, one level lower: what it calls an
// error is a peer that does not answer.
func libraryLogger(to *slog.Logger) *log.Logger { return log.New(lines{to}, "", 0) }

type lines struct{ to *slog.Logger }

func (l lines) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	level := slog.LevelDebug
	for prefix, lower := range map[string]slog.Level{
		"[ERR] ": slog.LevelWarn, "[WARN] ": slog.LevelInfo, "[INFO] ": slog.LevelDebug, "[DEBUG] ": slog.LevelDebug,
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			line, level = rest, lower
		}
	}
	l.to.Log(context.Background(), level, "gossip: "+strings.TrimPrefix(line, "memberlist: "))
	return len(b), nil
}
