package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"trunkline/loadtest/lab"
)

// Accounts of the tier that `loadtest up` runs.
var upAgents = []lab.Agent{
	{ID: "ann", Name: "Ann", Password: "trunkline"},
	{ID: "bob", Name: "Bob", Password: "trunkline"},
	{ID: "bea", Name: "Bea", Password: "trunkline"},
}

// runUp starts the tier and keeps it until it is told to stop.
func runUp(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	var c common
	c.register(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	o, err := c.options(ctx, out)
	if err != nil {
		return err
	}
	o.Agents, o.Progress = upAgents, out
	l, err := lab.Start(ctx, o)
	if err != nil {
		return err
	}
	printPlaces(l, out)
	<-ctx.Done()
	fmt.Fprintln(out, "stopping everything")
	return l.Stop()
}

func printPlaces(l *lab.Lab, out io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	p("\nThe tier is up. Ctrl-C stops it.\n")
	p("Callers: SIP over UDP or TCP, SRTP by SDES")
	for _, n := range []string{lab.SBCA, lab.SBCB} {
		p("  sip:%s@%s:%d   through %s", lab.SalesNumber, l.Addr(n), lab.PortSIP, n)
	}
	p("Agents: user ann, bob or bea, password %q, domain %s, SRTP by SDES", upAgents[0].Password, lab.ClusterHost)
	for _, n := range []string{lab.Edge1, lab.Edge2} {
		p("  sip:%s:%d (UDP, TCP)   sip:%s:%d (TLS)   through %s", l.Addr(n), lab.PortAgents, l.Addr(n), lab.PortAgentsTLS, n)
	}
	p("API (certificate %s)", l.PKI().File("ops.pem"))
	for _, n := range l.Names() {
		if len(n) == 2 && n[0] == 'r' {
			p("  %s", l.API(n))
		}
	}
	p("Metrics and health")
	for _, n := range l.Names() {
		if n != lab.SBCA && n != lab.SBCB {
			p("  http://%s:%d/metrics   %s", l.Addr(n), lab.PortMetrics, n)
		}
	}
	p("Logs\n  %s", filepath.Join(l.Dir(), "log"))
	p("Try")
	p("  %s", l.RouterctlLine("status"))
	p("  %s", l.RouterctlLine("calls"))
	p("  %s %s dispatcher.list", filepath.Join(l.Dir(), "run", "kamcmd"), lab.Edge1)
	p("")
}
