package scenarios

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trunkline/loadtest/lab"
	"trunkline/routerd/routeapi"
)

var only = flag.String("only", "all", "scenarios to run, by names or patterns, with commas")

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(context.Context) int { return m.Run() }))
}

// TestScenarios is the suite. Its daemons are those of bin/.
func TestScenarios(t *testing.T) {
	all, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := Select(all, strings.Split(*only, ","))
	if err != nil {
		t.Fatal(err)
	}
	tools, err := lab.SetUp(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tier, err := Start(t.Context(), Config{Lab: lab.Options{Dir: filepath.Join(dir, "lab"), Toolchain: tools}, Out: filepath.Join(dir, "sipp"), Log: os.Stderr}, all)
	if err != nil {
		t.Fatal(err)
	}
	var broken []error
	tier.RunAll(t.Context(), chosen, func(r Result) {
		if r.Err != nil {
			broken = append(broken, r.Err)
			t.Error(r.Err)
		}
	})
	fmt.Fprintln(os.Stderr, Summary(len(chosen), broken))
	if len(broken) > 0 {
		t.Logf("r1 ends with:\n%s", tier.Lab().Tail("r1", 20))
	}
	if err := tier.Stop(); err != nil {
		t.Error(err)
	}
}

// least is how many scenarios there are to be at least.
const least = 60

// What a person types is what is run, and meets nobody else's ports.
func TestEveryScenarioKeepsToItsOwn(t *testing.T) {
	all, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < least {
		t.Errorf("%d scenarios, want %d at least", len(all), least)
	}
	for _, s := range all {
		used := map[string]bool{}
		for _, c := range s.Commands {
			host, port, err := net.SplitHostPort(c.Addr)
			if err != nil || !strings.HasPrefix(host, "127.10.") || !strings.HasSuffix(port, fmt.Sprintf("%03d", s.ID)) {
				t.Errorf("%s: %s is not a place of scenario %d: %v", s.Name, c.Addr, s.ID, err)
			}
			if used[c.Addr] {
				t.Errorf("%s: two phones at %s", s.Name, c.Addr)
			}
			used[c.Addr] = c.Background
		}
	}
	if _, err := tree(all); err != nil {
		t.Error(err)
	}
}

func TestComplaintsBecomeSentences(t *testing.T) {
	f := func(complaint, step, saw string) {
		t.Helper()
		dir := t.TempDir()
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("uac.xml", `<scenario name="a: b"><send/><!-- The call is
			answered --><recv response="200"><action><ereg regexp="m=video 0"/></action></recv><label id="1"/><pause/></scenario>`)
		write("1-uac.errors", complaint)
		s := &Scenario{Name: "x", Promise: "p", Dir: dir}
		b := s.broken(&process{Command: Command{File: "uac.xml"}, name: "1-uac", dir: dir})
		if b == nil || b.Step != step || b.Saw != saw {
			t.Errorf("%q: got %+v, want %q %q", complaint, b, step, saw)
		}
	}
	f("Aborting call on unexpected message for Call-Id '1-9@127.10.7.1': while expecting '200' (index 1), received 'SIP/2.0 486 Busy Here\r\nVia: x", "The call is answered (recv 200)", `received "SIP/2.0 486 Busy Here"`)
	f("Call-Id: 1-9@h, receive timeout on message a: b:1 without label to jump to (ontimeout attribute): aborting call", "The call is answered (recv 200)", "nothing came")
	f("Aborting call on unexpected message for Call-Id '1-9@h': while pausing (index 2), received 'BYE sip:x SIP/2.0\r\n", "pause", `received "BYE sip:x SIP/2.0"`)
	f("2026-11-26 1.2: Failed regexp match: looking in body: 'v=0\r\no=', with regexp 'm=video 0'", "The call is answered (recv 200)", `"v=0\r\no=" is not "m=video 0"`)
	f("something new", "", "something new")
}

func TestFactsFit(t *testing.T) {
	have := routeapi.Fact{Kind: "offer.made", Agent: "a1", Attrs: map[string]string{"offer": "1"}}
	f := func(want string, ok bool) {
		t.Helper()
		if fits(have, want) != ok {
			t.Errorf("%q fits: %v", want, !ok)
		}
	}
	f("offer.made", true)
	f("offer.made agent=a1 offer=1", true)
	f("offer.made queue= missed=", true)
	f("offer.made offer=2", false)
	f("offer.lost", false)
}

func TestCommandsOfAReadme(t *testing.T) {
	f := func(readme string, want int, ok bool) {
		t.Helper()
		got, err := commands(readme)
		if (err == nil) != ok || len(got) != want {
			t.Errorf("%q: %v, %v", readme, got, err)
		}
	}
	f("```sh\nsipp h -sf a.xml -i 127.0.0.1 -p 1 &\nsipp h -sf b.xml -i 127.0.0.1 -p 2 -t t1\n```\n", 2, true)
	f("sipp outside -i 1 -p 2\n", 0, true)
	f("```\nsipp h -sf a.xml\n```\n", 0, false)
	f("```\nsipp h -key 'a b' -i 1 -p 2\n```\n", 0, false)
	f("```\nsipp h -i 1 -p 2\n", 0, false)
}

func TestAListeningPortIsSeen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if open, err := bound("tcp", l.Addr().String()); err != nil || !open {
		t.Errorf("a listener is not seen: %v", err)
	}
	l.Close()
	if open, err := bound("tcp", l.Addr().String()); err != nil || open {
		t.Errorf("a closed listener is seen: %v", err)
	}
}
