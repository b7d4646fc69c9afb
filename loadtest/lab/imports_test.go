package lab

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// importRules say what each part may import of ours: itself, what is below it,
// and what is listed. The longest matching folder rules; a folder without a
// rule may import nothing of ours. Third parties' modules are held back only
// where a rule says so.
var importRules = map[string]struct {
	ours    []string
	stdOnly bool
}{
	"routerd/acd":           {nil, true},
	"routerd/acd/acdwire":   {[]string{"routerd/acd"}, false},
	"routerd/acd/acdtest":   {[]string{"routerd/acd"}, false},
	"routerd/routeapi":      {nil, true},
	"mediad/mediaapi":       {nil, true},
	"raftstore":             {nil, false},
	"routerd/internal":      {[]string{"routerd/internal", "routerd/acd", "routerd/routeapi", "raftstore", "mediad/mediaapi"}, false},
	"routerd/cmd/routerctl": {[]string{"routerd/routeapi", "routerd/acd", "routerd/internal/config", "routerd/internal/replay", "routerd/internal/whatif", "raftstore"}, false},
	"routerd":               {[]string{"routerd", "raftstore", "mediad/mediaapi"}, false},
	"mediad":                {[]string{"mediad", "raftstore/gossip"}, false},

	"mediad/internal/record/exportproof": {[]string{"loadtest/check", "mediad/internal"}, false},

	"loadtest":           {[]string{"loadtest", "routerd/routeapi", "mediad/mediaapi", "routerd/acd"}, false},
	"loadtest/raftproof": {[]string{"loadtest/check", "raftstore"}, false},
	"loadtest/sipproof":  {[]string{"loadtest/check", "loadtest/lab", "routerd/acd", "mediad/mediaapi", "raftstore/gossip"}, false},
	"loadtest/acdproof":  {[]string{"loadtest/check", "routerd/acd"}, false},
}

// importFault says what is wrong with an import of path by a file in dir, or "".
func importFault(dir, path string) string {
	rule, at := importRules[""], ""
	for folder, r := range importRules {
		if within(dir, folder) && len(folder) > len(at) {
			rule, at = r, folder
		}
	}
	ours, isOurs := strings.CutPrefix(path, "trunkline/")
	if !isOurs {
		if first, _, _ := strings.Cut(path, "/"); rule.stdOnly && strings.Contains(first, ".") {
			return at + " may import only the standard library"
		}
		return ""
	}
	if at != "" && within(ours, at) {
		return ""
	}
	for _, allowed := range rule.ours {
		if within(ours, allowed) {
			return ""
		}
	}
	return dir + " may not import it"
}

func within(dir, folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") }

func TestPartsImportOnlyWhatTheyMay(t *testing.T) {
	top, err := sourcesAbove()
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "bin") && path != top {
			return fs.SkipDir
		}
		// A test may use a tool its package may not ship with.
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		dir, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if fault := importFault(filepath.ToSlash(dir), name); fault != "" {
				t.Errorf("%s imports %s: %s", path, name, fault)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("only %d files found below %s", files, top)
	}
}

func TestImportRules(t *testing.T) {
	f := func(dir, path string, ok bool) {
		t.Helper()
		if got := importFault(dir, path); (got == "") != ok {
			t.Errorf("%s importing %s: %q", dir, path, got)
		}
	}
	f("routerd/acd", "container/heap", true)
	f("routerd/acd", "github.com/x/y", false)
	f("routerd/acd", "trunkline/raftstore", false)
	f("routerd/acd/acdwire", "trunkline/routerd/acd", true)
	f("routerd/acd/acdwire", "trunkline/raftstore", false)
	f("raftstore", "trunkline/routerd/acd", false)
	f("raftstore/gossip", "github.com/hashicorp/memberlist", true)
	f("routerd/internal/node", "trunkline/mediad/mediaapi", true)
	f("routerd/internal/node", "trunkline/mediad/internal/srtp", false)
	f("routerd/cmd/routerctl", "trunkline/routerd/internal/config", true)
	f("routerd/cmd/routerctl", "trunkline/routerd/internal/node", false)
	f("mediad", "trunkline/raftstore/gossip", true)
	f("mediad", "trunkline/raftstore", false)
	f("mediad/internal/record", "trunkline/mediad/internal/codec", true)
	f("mediad", "trunkline/routerd/acd", false)
	f("loadtest/demo", "trunkline/loadtest/lab", true)
	f("loadtest/demo", "trunkline/raftstore", false)
	f("loadtest/raftproof", "trunkline/raftstore/raftstoretest", true)
	f("loadtest/raftproof", "trunkline/routerd/acd", false)
	f("portal", "trunkline/routerd/acd", false)
}
