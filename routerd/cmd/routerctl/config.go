package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/aymanbagabas/go-udiff"

	"trunkline/routerd/internal/config"
	"trunkline/routerd/routeapi"
)

var configCommands = []command{
	{"validate", "FILE", `find every fault of a routing tree, without a router
Each fault is one line: file:line: path: reason. Exits 1 if there are any.`, plain(validate)},
	{"diff", "FILE", `what a routing tree would change of the one in force
Things are compared by their names: "+" is added, "-" removed, "~" changed. Exits 0
if nothing differs, 1 if something does, 2 if it can't be told.`, diff},
	{"apply", "FILE", `put a routing tree into force, whole or not at all
It is refused when another one was applied since the difference was made. Calls that
are under way keep the rules they came in with where the change would hurt them.`, apply},
	{"history", "", `the trees that were applied: when, by whom, why, and what changed
The routers keep the last versions only; what changed is told where the one before
is kept too.`, history},
	{"show", "[VERSION]", "print the routing.yaml in force, or that of a version", plain(showTree)},
	{"rollback", "VERSION", `apply what an earlier version said, as a new version
Refused, as apply is, when somebody else applies at the same time.`, rollback},
}

func validate(_ context.Context, e *env, words []string) error {
	if err := need(words, "the file"); err != nil {
		return err
	}
	tree, err := config.LoadRouting(words[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s is good: %d trunks, %d numbers, %d queues, %d agents\n",
		words[0], len(tree.Trunks), len(tree.Numbers), len(tree.Queues), len(tree.Agents))
	return nil
}

// tree is a routing.yaml in force: none has version 0.
type tree struct {
	version uint64
	src     []byte
}

// treeOf gets the routing.yaml of a version; "" is the one in force.
func treeOf(ctx context.Context, c *client, version string) (tree, error) {
	path := routeapi.PathRouting
	if version != "" {
		path = routeapi.PathRoutingVersions + "/" + url.PathEscape(version)
	}
	src, head, err := c.text(ctx, path)
	if err != nil {
		return tree{}, err
	}
	v, err := strconv.ParseUint(head.Get(routeapi.HeaderVersion), 10, 64)
	if err != nil {
		return tree{}, fmt.Errorf("the router did not say which version it sent: %w", err)
	}
	return tree{v, src}, nil
}

// inForce is treeOf of the one in force, or an empty one where there is none.
func inForce(ctx context.Context, c *client) (tree, error) {
	t, err := treeOf(ctx, c, "")
	if e := (*apiError)(nil); errors.As(err, &e) && e.status == 404 {
		versions, err := versions(ctx, c)
		if err != nil || len(versions) == 0 {
			return tree{}, err
		}
		return tree{version: versions[len(versions)-1].Version}, nil // applied without its text
	}
	return t, err
}

func versions(ctx context.Context, c *client) (list []routeapi.ConfigVersion, err error) {
	err = c.get(ctx, routeapi.PathRoutingVersions, &list)
	return list, err
}

// changes are the differences of two texts, of which now was read from a file.
func changes(was tree, name string, now []byte) ([]config.Change, error) {
	next, err := config.ParseRouting(name, now)
	if err != nil {
		return nil, err
	}
	before, err := config.ParseRouting(fmt.Sprintf("version %d", was.version), was.src)
	if err != nil {
		return nil, fmt.Errorf("the tree in force can't be read by this routerctl: %w", err)
	}
	return config.Diff(before, next), nil
}

func diff(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	asText := fs.Bool("text", false, "print a unified difference of the texts, comments and order included")
	version := fs.String("version", "", "compare with that version instead of the one in force")
	return func(ctx context.Context, e *env, words []string) error {
		different, err := diffFile(ctx, e, words, *version, *asText)
		if err != nil {
			return &trouble{err}
		}
		if different {
			return errDifferent
		}
		return nil
	}
}

func diffFile(ctx context.Context, e *env, words []string, version string, asText bool) (different bool, err error) {
	if err := need(words, "the file"); err != nil {
		return false, err
	}
	now, err := os.ReadFile(words[0])
	if err != nil {
		return false, err
	}
	c, err := e.client()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var was tree
	if version == "" {
		was, err = inForce(ctx, c)
	} else {
		was, err = treeOf(ctx, c, version)
	}
	if err != nil {
		return false, err
	}
	if asText {
		text := udiff.Unified(fmt.Sprintf("version %d", was.version), words[0], string(was.src), string(now))
		_, err = io.WriteString(e.stdout, text)
		return text != "", err
	}
	list, err := changes(was, words[0], now)
	if err != nil {
		return false, err
	}
	return len(list) > 0, printChanges(e, list)
}

func printChanges(e *env, list []config.Change) error {
	if e.json {
		if list == nil {
			list = []config.Change{}
		}
		return e.printer().asJSON(list)
	}
	for _, c := range list {
		fmt.Fprintln(e.stdout, c)
	}
	fmt.Fprintln(e.stdout, config.Summary(list))
	return nil
}

func apply(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	comment := fs.String("comment", "", "why, for the history")
	force := fs.Bool("force", false, "whatever is in force meanwhile")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the file"); err != nil {
			return err
		}
		src, err := os.ReadFile(words[0])
		if err != nil {
			return err
		}
		if _, err := config.ParseRouting(words[0], src); err != nil {
			return fmt.Errorf("nothing was applied:\n%w", err)
		}
		c, err := e.client()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		was, err := inForce(ctx, c)
		if err != nil {
			return err
		}
		return put(ctx, e, c, was, words[0], src, *comment, *force)
	}
}

// put applies src in the place of was and says what that changed.
func put(ctx context.Context, e *env, c *client, was tree, name string, src []byte, comment string, force bool) error {
	if was.version != 0 && string(was.src) == string(src) {
		fmt.Fprintf(e.stdout, "nothing to apply: version %d says the same\n", was.version)
		return nil
	}
	list, err := changes(was, name, src)
	if err != nil {
		fmt.Fprintln(e.stderr, "routerctl: the difference can't be shown:", err)
	}
	query := url.Values{"comment": {comment}}
	if !force && was.version != 0 {
		query.Set("base", strconv.FormatUint(was.version, 10))
	}
	var v routeapi.ConfigVersion
	if err := c.do(ctx, "PUT", routeapi.PathRouting+"?"+query.Encode(), src, &v); err != nil {
		return fmt.Errorf("nothing was applied: %w", err)
	}
	if e.json {
		return e.printer().asJSON(v)
	}
	for _, c := range list {
		fmt.Fprintln(e.stdout, c)
	}
	fmt.Fprintf(e.stdout, "version %d is in force: %s\n", v.Version, config.Summary(list))
	return nil
}

// versionRow is a line of history.
type versionRow struct {
	routeapi.ConfigVersion
	Changes string `json:"changes,omitempty"` // since the version before
}

func history(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	most := fs.Int("n", 10, "show the last `N` versions")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words); err != nil {
			return err
		}
		c, err := e.client()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 4*patience)
		defer cancel()
		list, err := versions(ctx, c)
		if err != nil {
			return err
		}
		rows := make([]versionRow, 0, len(list))
		var was tree
		for i, v := range list {
			row := versionRow{ConfigVersion: v}
			if i+*most >= len(list)-1 && v.HasText { // one more than is shown, to compare with
				now, err := treeOf(ctx, c, strconv.FormatUint(v.Version, 10))
				if err != nil {
					return err
				}
				if diff, err := changes(was, "", now.src); err == nil && (was.src != nil || v.Version == 1) {
					row.Changes = config.Summary(diff)
				}
				was = now
			}
			rows = append(rows, row)
		}
		rows = rows[max(0, len(rows)-*most):]
		if e.json {
			return e.printer().asJSON(rows)
		}
		return e.printer().table(func(w io.Writer) {
			fmt.Fprintln(w, "VERSION\tINDEX\tTIME (UTC)\tBY\tCHANGES\tCOMMENT")
			for _, r := range rows {
				fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\n", r.Version, r.Index, r.At.Format("2006-01-02 15:04:05"), r.By, dash(r.Changes), dash(r.Comment))
			}
		})
	}
}

func showTree(ctx context.Context, e *env, words []string) error {
	version := ""
	if len(words) > 0 {
		version = words[0]
	}
	if len(words) > 1 {
		return need(words, "the version")
	}
	c, err := e.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t, err := treeOf(ctx, c, version)
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(t.src)
	return err
}

func rollback(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	comment := fs.String("comment", "", "why, for the history; \"rollback to version N\" if not given")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the version"); err != nil {
			return err
		}
		c, err := e.client()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		was, err := inForce(ctx, c)
		if err != nil {
			return err
		}
		old, err := treeOf(ctx, c, words[0])
		if err != nil {
			return err
		}
		if *comment == "" {
			*comment = "rollback to version " + words[0]
		}
		return put(ctx, e, c, was, "version "+words[0], old.src, *comment, false)
	}
}
