package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"trunkline/raftstore"
	"trunkline/routerd/routeapi"
)

var clusterCommands = []command{
	{"cluster members", "", "who belongs to the replicated log, and who has a vote", view(routeapi.PathMembers, memberTable)},
	{"cluster add", "ID ADDR", `let a router join the log, without a vote
It must run at ADDR (host:port of raft.listen), be named ID, and have an empty log.
"cluster promote" gives it the vote once it has caught up.`, plain(clusterAdd)},
	{"cluster promote", "ID", `give a member of the log the vote
Refused while it lacks entries.`, plain(clusterPromote)},
	{"cluster remove", "ID", `take a member out of the log, for good
Refused if no healthy majority would remain, and, without -force, if fewer than three
voters would. Its files must be emptied before it may be added again.`, clusterRemove},
	{"cluster transfer", "[ID]", "give leadership away, to a router or to whoever is furthest", clusterTransfer},
	{"cluster backup", "FILE", `write the whole state to a file, with a checksum
From any router, as of everything acknowledged before. An existing file is not touched.`, plain(clusterBackup)},
	{"cluster restore", "FILE", `found a new cluster from a backup: when all of the old one is lost
Works on this machine's files: on one router, stopped, with an empty log. Without -yes
it says what it will do and asks.`, clusterRestore},
	{"cluster verify", "[FILE]", `check a backup, a log's folder, or that all routers hold the same state
With FILE, or -dir of a stopped router, no router is asked. Else the routers of -api tell the
hash of their state at one index of the log: exits 1 if two differ.`, clusterVerify},
}

func memberTable(w io.Writer, list []routeapi.Member) {
	fmt.Fprintln(w, "ROUTER\tADDRESS\tVOTE\tROLE")
	for _, m := range list {
		vote, role := "no", "follower"
		if m.Voter {
			vote = "yes"
		}
		if m.Leader {
			role = "leader"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.ID, m.Addr, vote, role)
	}
}

func clusterAdd(ctx context.Context, e *env, words []string) error {
	if err := need(words, "the router's name", "its address"); err != nil {
		return err
	}
	if err := post(ctx, e, "POST", routeapi.PathMembers, routeapi.AddMember{ID: words[0], Addr: words[1]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s belongs to the log, without a vote: routerctl cluster promote %s gives it one\n", words[0], words[0])
	return nil
}

func clusterPromote(ctx context.Context, e *env, words []string) error {
	if err := need(words, "the router"); err != nil {
		return err
	}
	if err := post(ctx, e, "POST", routeapi.PathMembers+"/"+url.PathEscape(words[0])+"/promote", struct{}{}, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s has a vote\n", words[0])
	return nil
}

func clusterRemove(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	force := fs.Bool("force", false, "even if fewer than three voters remain")
	yes := fs.Bool("yes", false, "do not ask")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the router"); err != nil {
			return err
		}
		if err := e.confirm(*yes, "Router "+words[0]+" will be taken out of the log. Its calls move to the others."); err != nil {
			return err
		}
		path := routeapi.PathMembers + "/" + url.PathEscape(words[0])
		if *force {
			path += "?force=true"
		}
		if err := post(ctx, e, "DELETE", path, struct{}{}, nil); err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "%s is no member any more: stop it, and empty its log before it is added again\n", words[0])
		return nil
	}
}

func clusterTransfer(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	yes := fs.Bool("yes", false, "do not ask")
	return func(ctx context.Context, e *env, words []string) error {
		to := ""
		if len(words) > 0 {
			to = words[0]
		}
		if len(words) > 1 {
			return need(words, "the router")
		}
		if err := e.confirm(*yes, "Leadership moves: new calls are held for some milliseconds."); err != nil {
			return err
		}
		if err := post(ctx, e, "POST", routeapi.PathTransfer, routeapi.Transfer{To: to}, nil); err != nil {
			return err
		}
		return show(ctx, e, routeapi.PathMembers, memberTable)
	}
}

// confirm asks before what can't be taken back.
func (e *env) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(e.stderr, "%s\nGo on? Type yes: ", what)
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	if strings.TrimSpace(line) == "yes" && (err == nil || errors.Is(err, io.EOF)) {
		return nil
	}
	return errors.New("nothing was done: answer yes, or give -yes")
}

// clusterBackup writes beside the file and moves it in place once it is whole.
func clusterBackup(ctx context.Context, e *env, words []string) (err error) {
	if err := need(words, "the file"); err != nil {
		return err
	}
	file := words[0]
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s is there already: choose another name", file)
	}
	c, err := e.client()
	if err != nil {
		return err
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(part)
		}
	}()
	info, err := c.backup(ctx, e.stderr, f)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	if e.json {
		return e.printer().asJSON(info)
	}
	printBackup(e.stdout, file, info)
	return nil
}

// backup streams a backup into w, and checks it on the way.
func (c *client) backup(ctx context.Context, progress io.Writer, w io.Writer) (raftstore.BackupInfo, error) {
	var errs []error
	for _, host := range c.hosts {
		req, err := http.NewRequestWithContext(ctx, "GET", "https://"+host+routeapi.PathBackup, nil)
		if err != nil {
			return raftstore.BackupInfo{}, err
		}
		res, err := c.http.Do(req)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer res.Body.Close()
		if res.StatusCode/100 != 2 {
			return raftstore.BackupInfo{}, refusal(res)
		}
		m := &meter{out: progress, what: "backup from " + host, next: time.Now().Add(time.Second)}
		info, err := raftstore.VerifyBackup(io.TeeReader(res.Body, io.MultiWriter(w, m)))
		if why := res.Trailer.Get(routeapi.HeaderError); why != "" {
			return info, fmt.Errorf("%s: %s", host, why)
		}
		if err != nil {
			return info, fmt.Errorf("backup from %s: %w", host, err)
		}
		return info, nil
	}
	return raftstore.BackupInfo{}, fmt.Errorf("no router answers: %w", errors.Join(errs...))
}

func printBackup(out io.Writer, file string, info raftstore.BackupInfo) {
	var members []string
	for _, p := range info.Peers {
		members = append(members, p.ID)
	}
	fmt.Fprintf(out, "%s is whole: index %d, %s UTC, cluster %s of %s, %d bytes of state, SHA-256 %s\n", file, info.Index,
		utc(time.Unix(0, info.Stamp).UTC()), info.Cluster, strings.Join(members, ", "), info.Size, info.Sum)
	if info.Stale {
		fmt.Fprintln(out, "made without a leader: the cluster may have acknowledged more than is in it")
	}
}
