package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"trunkline/routerd/routeapi"
)

const digestHelp = `whether all routers hold the same history
Compares what their files hold, from the highest beginning to the lowest end, and
exits 1 if it differs, 2 if one of them can't be asked.`

func showDigests(ctx context.Context, e *env, words []string) error {
	if err := need(words); err != nil {
		return err
	}
	c, err := e.client()
	if err != nil {
		return &trouble{err}
	}
	return compareDigests(ctx, c, e.printer())
}

// compareDigests compares the history of all routers, part by part: the same
// range of log indexes must have the same digest everywhere.
func compareDigests(ctx context.Context, c *client, p printer) error {
	first, missing := askDigests(ctx, c, 0, 0)
	if len(first) == 0 {
		return &trouble{errors.Join(missing...)}
	}
	var different []error
	after, end := uint64(0), first[0].Cursor
	for _, d := range first {
		after, end = max(after, d.Floor), min(end, d.Cursor)
	}
	whole := make([]routeapi.FactsDigest, len(first))
	copy(whole, first)
	for i := range whole {
		whole[i].After, whole[i].Upto, whole[i].Facts, whole[i].Records = after, after, 0, 0
	}
	for same := true; same && after < end; {
		part, gone := askDigests(ctx, c, after, end)
		if len(part) != len(whole) {
			return &trouble{errors.Join(gone...)}
		}
		for i, d := range part {
			whole[i].Facts += d.Facts
			whole[i].Records += d.Records
			whole[i].Upto, whole[i].SHA256 = d.Upto, d.SHA256
			if d.SHA256 != part[0].SHA256 || d.Upto != part[0].Upto {
				same = false
				different = append(different, fmt.Errorf("between log indexes %d and %d the history of %s is not that of %s", after, max(d.Upto, part[0].Upto), d.Node, part[0].Node))
			}
		}
		if part[0].Upto <= after {
			break
		}
		after = part[0].Upto
	}
	var err error
	if p.json {
		err = p.asJSON(whole)
	} else {
		err = p.table(func(w io.Writer) {
			fmt.Fprintln(w, "NODE\tAFTER\tUPTO\tFACTS\tRECORDS\tLAST SHA-256\tFILE FROM\tTO")
			for _, d := range whole {
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.16s\t%d\t%d\n", d.Node, d.After, d.Upto, d.Facts, d.Records, d.SHA256, d.Floor, d.Cursor)
			}
		})
	}
	switch {
	case err != nil:
		return &trouble{err}
	case len(different) > 0:
		return errors.Join(different...)
	case len(missing) > 0:
		return &trouble{errors.Join(missing...)}
	}
	return nil
}

// askDigests asks every router.
func askDigests(ctx context.Context, c *client, after, upto uint64) (all []routeapi.FactsDigest, errs []error) {
	for _, host := range c.hosts {
		var d routeapi.FactsDigest
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		_, err := c.ask(ctx, host, "GET", fmt.Sprintf("%s?after=%d&upto=%d", routeapi.PathFactsDigest, after, upto), nil, &d)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", host, err))
			continue
		}
		all = append(all, d)
	}
	return all, errs
}
