package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"trunkline/routerd/internal/replay"
	"trunkline/routerd/routeapi"
)

// past are the flags that say where the past is read from.
type past struct{ backup, archive string }

func pastFlags(fs *flag.FlagSet) *past {
	p := &past{}
	fs.StringVar(&p.backup, "backup", "", "backup `FILE` to begin from, if it is not past the moment")
	fs.StringVar(&p.archive, "archive", "", "archive `DIR` to read, a router's DATA/raft/archive or a copy of it; without -backup and -archive the routers of -api are asked")
	return p
}

// files are what is needed to rebuild the state at from and to go on to to.
// What is fetched for it is in a folder that done removes.
func (p *past) files(ctx context.Context, e *env, from, to replay.Target) (f replay.Files, done func(), err error) {
	if p.backup != "" || p.archive != "" {
		return replay.Files{Backup: p.backup, Archive: p.archive}, func() {}, nil
	}
	c, err := e.client()
	if err != nil {
		return f, nil, fmt.Errorf("-backup, -archive or -api are needed: %w", err)
	}
	dir, err := os.MkdirTemp("", "routerctl-")
	if err != nil {
		return f, nil, err
	}
	done = func() { os.RemoveAll(dir) }
	if err := c.fetchArchive(ctx, e.stderr, dir, from, to); err != nil {
		done()
		return f, nil, err
	}
	return replay.Files{Archive: dir}, done, nil
}

// fetchArchive copies the newest snapshot that is not past from, and the entries
// behind it up to to, into a folder that reads as an archive.
func (c *client) fetchArchive(ctx context.Context, progress io.Writer, dir string, from, to replay.Target) error {
	var list []routeapi.ArchiveSnapshot
	if err := c.get(ctx, routeapi.PathArchiveSnapshots, &list); err != nil {
		return err
	}
	var base routeapi.ArchiveSnapshot
	for _, s := range list {
		if from.Index != 0 && s.Index <= from.Index || from.Index == 0 && !s.At.After(from.Time) {
			base = s
		}
	}
	if base.Index != 0 {
		name := filepath.Join(dir, fmt.Sprintf("%020d-%d.snap", base.Index, base.At.UnixNano()))
		if err := c.download(ctx, progress, routeapi.PathArchiveSnapshots+"/"+strconv.FormatUint(base.Index, 10), name); err != nil {
			return err
		}
	}
	last := to.Index
	if last == 0 {
		var found routeapi.ArchiveIndex
		err := c.get(ctx, routeapi.PathArchiveIndex+"?at="+url.QueryEscape(to.Time.UTC().Format(time.RFC3339Nano)), &found)
		if refused := (*apiError)(nil); errors.As(err, &refused) && refused.status == http.StatusNotFound && base.Index != 0 {
			return nil // nothing followed the snapshot by then
		}
		if err != nil {
			return err
		}
		last = found.Index
	}
	if last <= base.Index {
		return nil
	}
	name := filepath.Join(dir, fmt.Sprintf("%020d.log", base.Index+1))
	return c.download(ctx, progress, fmt.Sprintf("%s?from=%d&to=%d", routeapi.PathArchiveEntries, base.Index+1, last), name)
}

// download writes an answer to a file and tells how far it is.
func (c *client) download(ctx context.Context, progress io.Writer, path, file string) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var errs []error
	for _, host := range c.hosts {
		started, err := c.downloadFrom(ctx, progress, host, path, f)
		if started || err == nil {
			return err
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("no router answers: %w", errors.Join(errs...))
}

func (c *client) downloadFrom(ctx context.Context, progress io.Writer, host, path string, f *os.File) (started bool, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+host+path, nil)
	if err != nil {
		return false, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return true, refusal(res)
	}
	meter := &meter{out: progress, what: "from " + host, next: time.Now().Add(time.Second)}
	if _, err := io.Copy(io.MultiWriter(f, meter), res.Body); err != nil {
		return true, fmt.Errorf("from %s: %w", host, err)
	}
	if why := res.Trailer.Get(routeapi.HeaderError); why != "" {
		return true, fmt.Errorf("%s: %s", host, why)
	}
	return true, f.Sync()
}

// meter tells once a second how much has gone by.
type meter struct {
	out  io.Writer
	what string
	n    int64
	next time.Time
}

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	if now := time.Now(); now.After(m.next) {
		m.next = now.Add(time.Second)
		fmt.Fprintf(m.out, "%s: %.1f MB\n", m.what, float64(m.n)/1e6)
	}
	return len(p), nil
}
