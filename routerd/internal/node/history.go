package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/routeapi"
)

// pageRows is how many facts one router gives another at once, and pagePatience
// how long that may take.
const (
	pageRows     = 4000
	pagePatience = 30 * time.Second
)

// servePeerFacts gives a router a page of this one's file.
func (n *Node) servePeerFacts(w http.ResponseWriter, r *http.Request) {
	after, err := indexParam(r.URL.Query(), "after", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	page, err := n.facts.Page(r.Context(), after, pageRows)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/cbor")
	if err := page.Write(w); err != nil && r.Context().Err() == nil {
		n.log.Warn("a page of facts could not be sent", "err", err)
	}
}

// facts asks another router for the facts behind an index.
func (p *peers) facts(ctx context.Context, from acd.NodeID, after uint64) (facts.Page, error) {
	addr, ok := p.addr(from)
	if !ok {
		return facts.Page{}, errors.New("it is not alive")
	}
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+addr+routeapi.PathPeerFacts+"?after="+strconv.FormatUint(after, 10), nil)
	if err != nil {
		return facts.Page{}, err
	}
	res, err := (&http.Client{Transport: p.http.Transport}).Do(req)
	if err != nil {
		return facts.Page{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // as much of the reason as came
		return facts.Page{}, fmt.Errorf("%s: %s", res.Status, body)
	}
	return facts.ReadPage(res.Body)
}

// serveFactsDigest lets the files of two routers be compared.
func (n *Node) serveFactsDigest(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err1 := indexParam(q, "after", 0)
	upto, err2 := indexParam(q, "upto", math.MaxInt64)
	if err := errors.Join(err1, err2); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	d, err := n.facts.Digest(r.Context(), after, upto)
	switch {
	case errors.Is(err, facts.ErrUpgrading):
		fail(w, http.StatusServiceUnavailable, err)
	case err != nil:
		fail(w, http.StatusInternalServerError, err)
	default:
		reply(w, routeapi.FactsDigest{
			Node: string(n.id), Floor: n.facts.Floor(), Cursor: n.facts.Cursor(), After: d.After, Upto: d.Upto,
			Facts: d.Facts, Records: d.Records, SHA256: d.SHA256,
		})
	}
}

func indexParam(q url.Values, key string, none uint64) (uint64, error) {
	s := q.Get(key)
	if s == "" {
		return none, nil
	}
	v, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%s %q: want a log index", key, s)
	}
	return v, nil
}
