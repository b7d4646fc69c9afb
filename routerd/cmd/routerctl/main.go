// Command routerctl shows and changes what the routers hold: it speaks to the
// HTTPS API of any of them with the operator's certificate. Tables are for
// people, -json is for programs. Some commands work on files alone and need no
// router.
//
// It exits 0 when done, 1 when not (and says on stderr what to do), and where a
// command compares, 1 when there is a difference and 2 when it can't tell.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	if !errors.Is(err, errDifferent) {
		fmt.Fprintln(os.Stderr, "routerctl:", err)
	}
	var t *trouble
	if errors.As(err, &t) {
		os.Exit(2)
	}
	os.Exit(1)
}

// errDifferent makes a comparison exit 1; what differs was printed.
var errDifferent = errors.New("different")

// trouble is why a comparison could not be made.
type trouble struct{ error }

func (t *trouble) Unwrap() error { return t.error }

// command is one thing routerctl can do.
type command struct {
	name string // one word or two
	args string // as in the usage line
	help string // the first line is its line in the list
	// setup declares the command's flags and returns what runs it.
	setup func(fs *flag.FlagSet) func(ctx context.Context, e *env, args []string) error
}

// plain is a command without flags of its own.
func plain(f func(ctx context.Context, e *env, args []string) error) func(*flag.FlagSet) func(context.Context, *env, []string) error {
	return func(*flag.FlagSet) func(context.Context, *env, []string) error { return f }
}

// env is what a command works with.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool

	api, ca, cert, key string
}

// client speaks to the routers named by the flags.
func (e *env) client() (*client, error) { return newClient(e.api, e.ca, e.cert, e.key) }

func (e *env) printer() printer { return printer{out: e.stdout, json: e.json} }

// flags declares what every command understands.
func (e *env) flags(fs *flag.FlagSet) {
	fs.StringVar(&e.api, "api", e.api, "host:port of the routers' API, comma-separated; the first that answers is asked")
	fs.StringVar(&e.ca, "ca", e.ca, "certificate file of the private CA")
	fs.StringVar(&e.cert, "cert", e.cert, "operator's certificate file")
	fs.StringVar(&e.key, "key", e.key, "operator's key file")
	fs.BoolVar(&e.json, "json", e.json, "print JSON")
}

// patience bounds a question to the routers.
const patience = 15 * time.Second

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	fs := flag.NewFlagSet("routerctl", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { usage(stderr, fs) }
	e.flags(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return errors.New("which command?")
	}
	c, rest := find(fs.Args())
	if c == nil {
		return fmt.Errorf("%q is not a command: routerctl -h lists them", strings.Join(fs.Args()[:min(2, fs.NArg())], " "))
	}
	sub := flag.NewFlagSet(c.name, flag.ContinueOnError)
	sub.SetOutput(stderr)
	do := c.setup(sub)
	own := flagNames(sub)
	e.flags(sub)
	sub.Usage = func() { c.usage(stderr, sub, own) }
	words, err := parseMixed(sub, rest)
	if err != nil {
		return err
	}
	return do(ctx, e, words)
}

// find returns the command of the words, the longest name that fits.
func find(words []string) (*command, []string) {
	for n := min(2, len(words)); n > 0; n-- {
		name := strings.Join(words[:n], " ")
		if i := slices.IndexFunc(commands(), func(c command) bool { return c.name == name }); i >= 0 {
			return &commands()[i], words[n:]
		}
	}
	return nil, nil
}

// parseMixed takes flags from wherever they stand and returns the other words.
// A lone "--" ends the flags.
func parseMixed(fs *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		consumed := len(args) - fs.NArg()
		if consumed > 0 && args[consumed-1] == "--" {
			return append(words, fs.Args()...), nil
		}
		if fs.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, fs.Arg(0)), fs.Args()[1:]
	}
}

func flagNames(fs *flag.FlagSet) map[string]bool {
	names := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { names[f.Name] = true })
	return names
}

func usage(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: routerctl [flags] COMMAND [flags] [arguments]; routerctl COMMAND -h says more\n\n")
	for _, c := range commands() {
		first, _, _ := strings.Cut(c.help, "\n")
		fmt.Fprintf(w, "  %-32s %s\n", strings.TrimSpace(c.name+" "+c.args), first)
	}
	fmt.Fprintf(w, "\nflags:\n")
	fs.PrintDefaults()
}

// usage explains the command; own are its flags without everybody's.
func (c *command) usage(w io.Writer, fs *flag.FlagSet, own map[string]bool) {
	fmt.Fprintf(w, "usage: routerctl %s\n\n%s\n", strings.TrimSpace(c.name+" [flags] "+c.args), c.help)
	if len(own) > 0 {
		fmt.Fprintf(w, "\nflags:\n")
		shown := flag.NewFlagSet("", flag.ContinueOnError)
		shown.SetOutput(w)
		fs.VisitAll(func(f *flag.Flag) {
			if own[f.Name] {
				shown.Var(f.Value, f.Name, f.Usage)
				shown.Lookup(f.Name).DefValue = f.DefValue
			}
		})
		shown.PrintDefaults()
	}
	fmt.Fprintf(w, "\nand -api, -ca, -cert, -key, -json: see routerctl -h\n")
}

// need checks how many words a command got; what names them.
func need(words []string, what ...string) error {
	switch {
	case len(words) < len(what):
		return fmt.Errorf("%s is missing", what[len(words)])
	case len(words) > len(what):
		return fmt.Errorf("%q is one word too many", words[len(what)])
	}
	return nil
}
