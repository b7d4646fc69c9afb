package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"trunkline/raftstore"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
	"trunkline/routerd/routeapi"
)

func clusterVerify(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	dir := fs.String("dir", "", "check a stopped router's log instead: its DATA/raft `DIR`")
	return func(ctx context.Context, e *env, words []string) error {
		switch {
		case len(words) > 1:
			return need(words, "the file")
		case len(words) == 1 && *dir != "":
			return errors.New("cluster verify: a file, or -dir")
		case len(words) == 1:
			return verifyFile(e, words[0])
		case *dir != "":
			return verifyDir(e, *dir)
		}
		return verifyRouters(ctx, e)
	}
}

func verifyFile(e *env, file string) error {
	info, m, err := checkBackup(file)
	if err != nil {
		return err
	}
	if e.json {
		return e.printer().asJSON(info)
	}
	printBackup(e.stdout, file, info)
	printState(e.stdout, m)
	return nil
}

func verifyDir(e *env, dir string) error {
	var m *acd.Machine
	info, err := raftstore.VerifyDir(dir, func(r io.Reader) error {
		s, err := acdwire.DecodeState(r)
		if err == nil {
			m, err = acd.Restore(s)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if e.json {
		return e.printer().asJSON(info)
	}
	fmt.Fprintf(e.stdout, "%s is whole: cluster %s, term %d, entries %d to %d, %d bytes, %d snapshots\n",
		dir, info.Cluster, info.Term, info.First, info.Last, info.Bytes, len(info.Snapshots))
	if m != nil {
		printState(e.stdout, m)
	}
	return nil
}

// compared is what one router says of its state.
type compared struct {
	Host string `json:"host"`
	routeapi.State
	Error string `json:"error,omitempty"`
}

// ahead is by how many entries the index to compare lies before the furthest
// router: it must still be to come everywhere when the question arrives.
const ahead = 300

// verifyRouters asks every router for the hash of its state at one index.
func verifyRouters(ctx context.Context, e *env) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	var all []compared
	for step := uint64(ahead); step <= ahead<<4; step *= 2 {
		at, err := c.furthest(ctx)
		if err != nil {
			return err
		}
		var late bool
		if all, late = c.states(ctx, at+step); !late {
			break
		}
	}
	if err := printCompared(e, all); err != nil {
		return err
	}
	hashes := map[string]bool{}
	for _, s := range all {
		if s.Error != "" {
			return fmt.Errorf("not every router could be compared: %s: %s", s.Host, s.Error)
		}
		hashes[s.Hash] = true
	}
	if len(hashes) > 1 {
		return errors.New("the routers' states DIFFER: the odd one must be replaced, see the runbook on routers; keep its data folder")
	}
	return nil
}

func printCompared(e *env, all []compared) error {
	if e.json {
		return e.printer().asJSON(all)
	}
	return e.printer().table(func(w io.Writer) {
		fmt.Fprintln(w, "ROUTER\tINDEX\tSTATE")
		for _, s := range all {
			if s.Error != "" {
				fmt.Fprintf(w, "%s\t-\t%s\n", s.Host, s.Error)
			} else {
				fmt.Fprintf(w, "%s\t%d\t%s\n", s.Node, s.Index, s.Hash)
			}
		}
	})
}

// furthest is the highest index any router has applied.
func (c *client) furthest(ctx context.Context) (index uint64, err error) {
	var errs []error
	for _, host := range c.hosts {
		var s routeapi.Status
		if _, err := c.ask(ctx, host, "GET", routeapi.PathStatus, nil, &s); err != nil {
			errs = append(errs, err)
			continue
		}
		index = max(index, s.Applied)
	}
	if index == 0 {
		return 0, fmt.Errorf("no router answers: %w", errors.Join(errs...))
	}
	return index, nil
}

// states asks all routers at once. late says that one was past the index.
func (c *client) states(ctx context.Context, at uint64) (all []compared, late bool) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	all = make([]compared, len(c.hosts))
	var wg sync.WaitGroup
	for i, host := range c.hosts {
		all[i].Host = host
		wg.Go(func() {
			_, err := c.ask(ctx, host, "GET", fmt.Sprintf("%s?at=%d", routeapi.PathState, at), nil, &all[i].State)
			if err != nil {
				all[i].Error = err.Error()
			}
			var refused *apiError
			if errors.As(err, &refused) && refused.status == http.StatusConflict {
				all[i].Error = "late"
			}
		})
	}
	wg.Wait()
	for _, s := range all {
		late = late || s.Error == "late"
	}
	return all, late
}
