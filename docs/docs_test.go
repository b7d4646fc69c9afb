// Package docs holds tests that keep the documents true to the code.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// readAll calls f with every file under the folders whose name ends so.
func readAll(t *testing.T, suffix string, f func(path, text string), folders ...string) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name := d.Name(); d.IsDir() && (name == "out" || name == "bin" || name == ".git") {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, suffix) {
				return nil
			}
			text, err := os.ReadFile(path)
			f(path, string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// docs/metrics.md lists exactly the metrics that the code can expose.
func TestMetricsAreDocumented(t *testing.T) {
	name := regexp.MustCompile("[\"`]((?:routerd|mediad)_[a-z0-9]+_[a-z0-9_]+|routerd_ready)")
	code := map[string]bool{}
	readAll(t, ".go", func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range name.FindAllStringSubmatch(text, -1) {
			code[m[1]] = true
		}
	}, "../routerd", "../raftstore", "../mediad")
	doc, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)").FindAllStringSubmatch(string(doc), -1) {
		told[m[1]] = true
	}
	for m := range code {
		if !told[m] {
			t.Errorf("%s is in the code and not in docs/metrics.md", m)
		}
	}
	for m := range told {
		if !code[m] {
			t.Errorf("%s is in docs/metrics.md and not in the code", m)
		}
	}
}

// Every kind of fact has its row in docs/facts.md.
func TestFactsAreDocumented(t *testing.T) {
	src, err := os.ReadFile("../routerd/acd/facts.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("facts.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\tFact\w+\s+= "([a-z.-]+)"`).FindAllStringSubmatch(string(src), -1)
	if len(kinds) == 0 {
		t.Fatal("no kinds of facts found in the code")
	}
	for _, k := range kinds {
		if !strings.Contains(string(doc), "| `"+k[1]+"` |") {
			t.Errorf("fact %s has no row in docs/facts.md", k[1])
		}
	}
}

// Links in documents lead to files that exist.
func TestLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)`)
	readAll(t, ".md", func(path, text string) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: link to %s leads nowhere", path, m[1])
			}
		}
	}, "..")
}

// Every requirement id has a row of its own or stands in a range of one.
func TestEveryRequirementHasARow(t *testing.T) {
	doc, err := os.ReadFile("requirements.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	row := regexp.MustCompile(`(?m)^\| ([A-Z][0-9A-Z, -]*) \|`)
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		for _, part := range strings.Split(m[1], ", ") {
			addRange(have, part)
		}
	}
	for letter, last := range map[string]int{"T": 14, "C": 7, "N": 12, "E": 14, "G": 6, "I": 9} {
		for i := range last {
			id := letter + strconv.Itoa(i+1)
			if !have[id] {
				t.Errorf("requirement %s has no row in docs/requirements.md", id)
			}
		}
	}
	if !slices.Contains(strings.Split(string(doc), "\n"), "## K: the design the customer asked for") {
		t.Error("requirement K has no section")
	}
}

// addRange adds T3, or N6 to N12 for "N6-N12".
func addRange(have map[string]bool, part string) {
	from, to, ranged := strings.Cut(part, "-")
	if !ranged {
		have[part] = true
		return
	}
	first, err1 := strconv.Atoi(from[1:])
	last, err2 := strconv.Atoi(to[1:])
	for i := first; err1 == nil && err2 == nil && i <= last; i++ {
		have[from[:1]+strconv.Itoa(i)] = true
	}
}

// docs/parsers.md names every fuzz target there is, and no other.
func TestFuzzTargetsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("parsers.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)\\| `([a-z/]+)` (Fuzz[A-Za-z, ]+) \\|$").FindAllStringSubmatch(string(doc), -1) {
		for _, name := range strings.Split(row[2], ", ") {
			told[row[1]+" "+name] = true
		}
	}
	target := regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z]+)\(`)
	readAll(t, "_test.go", func(path, text string) {
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			at := strings.TrimPrefix(filepath.Dir(path), "../") + " " + m[1]
			if !told[at] {
				t.Errorf("%s has no row in docs/parsers.md", at)
			}
			delete(told, at)
		}
	}, "..")
	for at := range told {
		t.Errorf("%s is in docs/parsers.md and not in the code", at)
	}
}
