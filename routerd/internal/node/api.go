package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// serveAPI answers routerctl and the other routers until ctx ends.
func (n *Node) serveAPI(ctx context.Context) error {
	conf, err := n.conf.PeerTLS()
	if err != nil {
		return err
	}
	ln, err := tls.Listen("tcp", n.conf.API.Listen, conf)
	if err != nil {
		return fmt.Errorf("open the API: %w", err)
	}
	srv := &http.Server{Handler: n.apiHandler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

func (n *Node) apiHandler() http.Handler {
	mux := http.NewServeMux()
	operator := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, requireRole(roleOperator, h)) }
	operator("GET "+routeapi.PathStatus, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.status()) })
	operator("GET "+routeapi.PathCalls, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.calls()) })
	operator("GET "+routeapi.PathQueues, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.queues()) })
	operator("GET "+routeapi.PathAgents, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.agents()) })
	operator("GET "+routeapi.PathCluster, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.cluster()) })
	operator("GET "+routeapi.PathTrunks, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.trunks()) })
	operator("GET "+routeapi.PathFacts, n.serveFacts)
	operator("GET "+routeapi.PathCDR, n.serveCDR)
	operator("GET "+routeapi.PathTotals, n.serveTotals)
	operator("GET "+routeapi.PathFactsDigest, n.serveFactsDigest)
	n.routeConfig(operator)
	n.routeArchive(operator)
	n.routeCluster(operator)
	n.routeACD(operator)
	n.routeAgents(operator)
	n.routeCalls(operator)
	n.routeSupervise(operator)
	n.routeUpgrade(operator)
	mux.Handle("POST "+routeapi.PathPeerSIP, requireRole(roleRouter, n.servePeer))
	mux.Handle("GET "+routeapi.PathPeerFacts, requireRole(roleRouter, n.servePeerFacts))
	return mux
}

// requireRole lets in only holders of a certificate with the role.
func requireRole(role string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := CheckRole(r.TLS.PeerCertificates[0], role); err != nil {
			fail(w, http.StatusForbidden, err)
			return
		}
		h(w, r)
	})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // the peer going away is its own affair
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(routeapi.Error{Error: err.Error()})
}

// serveFacts answers from this node's own projection.
func (n *Node) serveFacts(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, after := 200, uint64(0)
	var err error
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 100_000 {
			fail(w, http.StatusBadRequest, fmt.Errorf("limit %q: want a number from 1 to 100000", s))
			return
		}
	}
	if s := q.Get("after"); s != "" {
		if after, err = strconv.ParseUint(s, 10, 64); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("after %q: want a log index", s))
			return
		}
	}
	facts, err := n.facts.Query(r.Context(), q.Get("call"), after, limit)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	full := false
	if s := q.Get("full"); s != "" {
		if full, err = strconv.ParseBool(s); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("full %q: want true or false", s))
			return
		}
	}
	if full {
		n.log.Info("facts are read with unmasked numbers", "operator", r.TLS.PeerCertificates[0].Subject.CommonName)
	} else {
		maskFacts(facts)
	}
	reply(w, facts)
}

// commitFor proposes on behalf of an API caller and says what came of it.
func (n *Node) commitFor(w http.ResponseWriter, r *http.Request, body acd.Body) {
	res, ok := n.proposeFor(w, r, body)
	switch {
	case !ok:
	case !res.Applied && res.Reason != acd.ReasonUnchanged:
		fail(w, http.StatusConflict, fmt.Errorf("refused: %s", res.Reason))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// proposeFor proposes on behalf of an API caller and waits until this node has
// applied it. It answers the caller itself, and returns false, if nothing was
// committed.
func (n *Node) proposeFor(w http.ResponseWriter, r *http.Request, body acd.Body) (acd.Result, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	res, index, err := n.proposer.propose(ctx, body)
	if err != nil {
		if large, ok := tooLarge(err); ok {
			fail(w, http.StatusRequestEntityTooLarge, large)
		} else {
			fail(w, http.StatusServiceUnavailable, fmt.Errorf("not committed: %w: do a majority of routers run?", err))
		}
		return res, false
	}
	n.waitApplied(ctx.Done(), index)
	return res, true
}
