package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"trunkline/raftstore"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeCluster(operator func(pattern string, h http.HandlerFunc)) {
	operator("GET "+routeapi.PathMembers, n.serveMembers)
	operator("POST "+routeapi.PathMembers, n.addMember)
	operator("POST "+routeapi.PathMembers+"/{id}/promote", n.promoteMember)
	operator("DELETE "+routeapi.PathMembers+"/{id}", n.removeMember)
	operator("POST "+routeapi.PathTransfer, n.transferLeadership)
	operator("GET "+routeapi.PathBackup, n.serveBackup)
	operator("GET "+routeapi.PathState, n.serveState)
}

// changePatience bounds a change of members: one that is added must answer, one
// that gets the vote must have caught up.
const changePatience = 15 * time.Second

// change carries out a change of members and says what came of it.
func (n *Node) change(w http.ResponseWriter, r *http.Request, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), changePatience)
	defer cancel()
	err := do(ctx)
	switch {
	case err == nil:
		n.log.Info("members changed", "by", certName(r), "what", r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, raftstore.ErrNoMember):
		fail(w, http.StatusNotFound, err)
	case errors.Is(err, raftstore.ErrFewVoters):
		fail(w, http.StatusConflict, fmt.Errorf("%w: add another first, or force it", err))
	case errors.Is(err, raftstore.ErrRefused):
		fail(w, http.StatusConflict, err)
	default:
		fail(w, http.StatusServiceUnavailable, fmt.Errorf("%w: do a majority of routers run?", err))
	}
}

func (n *Node) serveMembers(w http.ResponseWriter, _ *http.Request) {
	s := n.store.Stats()
	out := []routeapi.Member{}
	for _, p := range s.Peers {
		out = append(out, routeapi.Member{ID: p.ID, Addr: p.Addr, Voter: p.Voter, Leader: p.ID == s.Leader})
	}
	reply(w, out)
}

func (n *Node) addMember(w http.ResponseWriter, r *http.Request) {
	var m routeapi.AddMember
	if !readJSON(w, r, &m) {
		return
	}
	if m.ID == "" {
		fail(w, http.StatusBadRequest, errors.New("id: is missing"))
		return
	}
	if _, _, err := net.SplitHostPort(m.Addr); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("addr: %q is not host:port", m.Addr))
		return
	}
	n.change(w, r, func(ctx context.Context) error { return n.store.Add(ctx, m.ID, m.Addr) })
}

func (n *Node) promoteMember(w http.ResponseWriter, r *http.Request) {
	n.change(w, r, func(ctx context.Context) error { return n.store.Promote(ctx, r.PathValue("id")) })
}

func (n *Node) removeMember(w http.ResponseWriter, r *http.Request) {
	force := false
	if s := r.URL.Query().Get("force"); s != "" {
		var err error
		if force, err = strconv.ParseBool(s); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("force: %q is neither true nor false", s))
			return
		}
	}
	n.change(w, r, func(ctx context.Context) error { return n.store.Remove(ctx, r.PathValue("id"), force) })
}

func (n *Node) transferLeadership(w http.ResponseWriter, r *http.Request) {
	var t routeapi.Transfer
	if !readJSON(w, r, &t) {
		return
	}
	n.change(w, r, func(ctx context.Context) error { return n.store.Transfer(ctx, t.To) })
}

func (n *Node) serveBackup(w http.ResponseWriter, r *http.Request) {
	stream(w, func(w io.Writer) error {
		info, err := n.store.Backup(r.Context(), w)
		if err == nil {
			n.log.Info("backed up", "by", certName(r), "index", info.Index, "bytes", info.Size)
		}
		return err
	})
}

// maxBody bounds the JSON bodies of the API.
const maxBody = 64 << 10

// readJSON reads a body of one JSON value without unknown fields. It answers the
// caller itself, and returns false, if it is none.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil && dec.More() {
		err = errors.New("more than one JSON value")
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("body: over %d bytes", large.Limit))
	case err != nil:
		fail(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
	}
	return err == nil
}
