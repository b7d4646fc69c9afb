package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/archive"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeArchive(operator func(pattern string, h http.HandlerFunc)) {
	operator("GET "+routeapi.PathArchiveSnapshots, n.serveSnapshots)
	operator("GET "+routeapi.PathArchiveSnapshots+"/{index}", n.serveSnapshot)
	operator("GET "+routeapi.PathArchiveEntries, n.serveEntries)
	operator("GET "+routeapi.PathArchiveIndex, n.serveIndex)
}

// archiveOptions are nil where nothing is to be archived.
func archiveOptions(a config.Archive) *archive.Options {
	if a.Off {
		return nil
	}
	return &archive.Options{MaxAge: a.MaxAge, MaxBytes: int64(a.MaxMegabytes) << 20}
}

// raftDir is where the log, its snapshots and the archive are.
func (n *Node) raftDir() string { return filepath.Join(n.conf.Data, "raft") }

// archived answers the caller itself, and returns false, where there is no
// archive.
func (n *Node) archived(w http.ResponseWriter) (dir string, ok bool) {
	dir = raftstore.ArchiveDir(n.raftDir())
	if _, err := os.Stat(dir); err != nil {
		fail(w, http.StatusNotFound, fmt.Errorf("router %s keeps no archive: switch raft.archive on", n.conf.Node))
		return "", false
	}
	return dir, true
}

func (n *Node) serveSnapshots(w http.ResponseWriter, _ *http.Request) {
	dir, ok := n.archived(w)
	if !ok {
		return
	}
	list, err := archive.Snapshots(dir)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	out := []routeapi.ArchiveSnapshot{}
	for _, s := range list {
		out = append(out, routeapi.ArchiveSnapshot{Index: s.Index, At: time.Unix(0, s.Stamp).UTC(), Size: s.Size})
	}
	reply(w, out)
}

func (n *Node) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	dir, ok := n.archived(w)
	if !ok {
		return
	}
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("index %q: want a number", r.PathValue("index")))
		return
	}
	list, err := archive.Snapshots(dir)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	i := slices.IndexFunc(list, func(s archive.Snapshot) bool { return s.Index == index })
	if i < 0 {
		fail(w, http.StatusNotFound, fmt.Errorf("router %s has no snapshot of index %d", n.conf.Node, index))
		return
	}
	f, err := os.Open(list[i].Path)
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	defer f.Close()
	stream(w, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

func (n *Node) serveEntries(w http.ResponseWriter, r *http.Request) {
	dir, ok := n.archived(w)
	if !ok {
		return
	}
	q := r.URL.Query()
	from, err1 := strconv.ParseUint(q.Get("from"), 10, 64)
	to, err2 := strconv.ParseUint(q.Get("to"), 10, 64)
	if err := errors.Join(err1, err2); err != nil || from == 0 || to < from {
		fail(w, http.StatusBadRequest, fmt.Errorf("from %q, to %q: want two indexes, the first not above the second", q.Get("from"), q.Get("to")))
		return
	}
	if err := n.store.SyncArchive(); err != nil {
		fail(w, http.StatusServiceUnavailable, fmt.Errorf("write the archive out: %w", err))
		return
	}
	stream(w, func(w io.Writer) error { return archive.Export(w, dir, from, to) })
}

func (n *Node) serveIndex(w http.ResponseWriter, r *http.Request) {
	dir, ok := n.archived(w)
	if !ok {
		return
	}
	at, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("at"))
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("at %q: want a time such as 2026-03-01T09:00:00Z", r.URL.Query().Get("at")))
		return
	}
	index, err := archive.IndexAt(dir, at.UnixNano())
	switch {
	case errors.Is(err, archive.ErrBefore):
		fail(w, http.StatusNotFound, fmt.Errorf("router %s: %w", n.conf.Node, err))
	case err != nil:
		fail(w, http.StatusInternalServerError, err)
	default:
		reply(w, routeapi.ArchiveIndex{Index: index})
	}
}

// stream answers with bytes as they come. What goes wrong on the way is in a
// trailer, since the answer has begun by then.
func stream(w http.ResponseWriter, write func(io.Writer) error) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", routeapi.HeaderError)
	w.WriteHeader(http.StatusOK)
	if err := write(w); err != nil {
		w.Header().Set(routeapi.HeaderError, err.Error())
	}
}
