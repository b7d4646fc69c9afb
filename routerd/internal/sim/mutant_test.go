package sim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutant is a fault planted into a copy of a source file.
type mutant struct {
	name string
	file string // below the module's root
	// old is replaced by new and must stand there exactly once.
	old, new string
	promises []string // one of these must be found broken
}

// mutants are the five faults that a simulator of this machine must find, and
// some more. A mutant whose place has changed fails the test: move it along.
var mutants = []mutant{
	{
		"an agent under offer counts as idle", "routerd/acd/agent.go",
		"case Reserved:\n\t\treturn isReserved", "case Reserved:\n\t\treturn notExcluded",
		[]string{PromiseOneCall},
	},
	{
		"a lost offer costs the call its place in line", "routerd/acd/queue.go",
		"\t\tm.join(c, q)\n\t} else {\n\t\tq.withdraw(c)", "\t\tif c.Offers == 0 {\n\t\t\tm.join(c, q)\n\t\t}\n\t} else {\n\t\tq.withdraw(c)",
		[]string{PromiseOrder, PromiseTerminal}, // or a call that waits beside an idle agent
	},
	{
		"the end of a greeting fires twice", "routerd/acd/timers.go",
		"\tt.drop(timerKey{timer.Kind, timer.ID, timer.Sub}, e)\n\treturn timer, true",
		"\tt.drop(timerKey{timer.Kind, timer.ID, timer.Sub}, e)\n\tif timer.Kind == timerGreeting && timer.Sub == \"\" {\n\t\tt.set(timer.At+1, timer.Kind, timer.ID, \"again\")\n\t}\n\treturn timer, true",
		[]string{PromiseTimer},
	},
	{
		"timers fire at half their time", "routerd/acd/timers.go",
		"m.timers.set(m.now.Add(max(d, 1)), kind, id, sub)", "m.timers.set(m.now.Add(max(d/2, 1)), kind, id, sub)",
		[]string{PromiseTimer},
	},
	{
		"calls of a dead router move in the order of a map", "routerd/acd/cluster.go",
		"slices.SortFunc(orphans, func(a, b *call) int { return cmp.Compare(a.ID, b.ID) })",
		"slices.SortFunc(orphans, func(a, b *call) int { return 0 })",
		[]string{PromiseReplica},
	},
	{
		"commands of an old owner are taken", "routerd/acd/machine.go",
		"if head.Epoch != c.Epoch {", "if head.Epoch > c.Epoch {",
		[]string{PromiseEpoch},
	},
	{
		"a CDR is written for the legs of a call once more", "routerd/acd/call.go",
		"\tm.callEndedFact(c)\n", "\tm.callEndedFact(c)\n\tm.callEndedFact(c)\n",
		[]string{PromiseTerminal},
	},
}

// mutantSeeds is up to how many seeds a mutant must be found in. Without any
// they all hold, see TestEveryPromiseHolds.
const mutantSeeds = "40"

var found = regexp.MustCompile(`(?m)^FAILED +seed (\d+) at [^:]+: ([a-z-]+): (.*)$`)

func TestPlantedFaultsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator once for each planted fault; make test runs it")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			program := m.build(t, root)
			out, _ := exec.Command(program, "-seeds", mutantSeeds, "-stop", "1").CombinedOutput()
			hit := found.FindStringSubmatch(string(out))
			if hit == nil {
				t.Fatalf("not found in %s seeds:\n%s", mutantSeeds, out)
			}
			t.Logf("found by seed %s: %s: %s", hit[1], hit[2], hit[3])
			if !slices.Contains(m.promises, hit[2]) {
				t.Errorf("it breaks %s, not one of %v", hit[2], m.promises)
			}
		})
	}
}

// build compiles the simulator with the fault in it; nothing of the source tree
// is touched.
func (m mutant) build(t *testing.T, root string) string {
	t.Helper()
	path := filepath.Join(root, m.file)
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(src), m.old); n != 1 {
		t.Fatalf("this planted fault is stale: %s has its place %d times, not once:\n%s", m.file, n, m.old)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(src), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "simulate")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./simulate")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}
