package acd

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is all the machine may import: nothing that knows the world.
var allowed = []string{
	"cmp", "crypto/sha256", "encoding/binary", "errors", "fmt", "hash", "maps", "math/bits", "slices", "strconv", "strings", "time",
}

// allowedOfTime is all it may use of package time: the type and its units.
var allowedOfTime = []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}

// TestMachineIsPure: no clock, no goroutine, no channel, no import beyond the
// list, and no iteration over a map unless a comment on its line says why the
// order can't show.
func TestMachineIsPure(t *testing.T) {
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	if _, err := conf.Check("acd", fset, files, info); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		checkImports(t, fset, f)
		reasons := make(map[int]bool) // lines with an "any order" comment
		for _, group := range f.Comments {
			if strings.Contains(group.Text(), "any order: ") {
				reasons[fset.Position(group.Pos()).Line] = true
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			at := func() token.Position { return fset.Position(n.Pos()) }
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
				t.Errorf("%s: %T has no place in the machine", at(), n)
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "time" && id.Obj == nil && !slices.Contains(allowedOfTime, n.Sel.Name) {
					t.Errorf("%s: time.%s", at(), n.Sel.Name)
				}
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "maps" && id.Obj == nil && n.Sel.Name != "Keys" {
					t.Errorf("%s: maps.%s: only slices.Sorted(maps.Keys(...))", at(), n.Sel.Name)
				}
			case *ast.RangeStmt:
				if _, ok := info.Types[n.X].Type.Underlying().(*types.Map); ok && !reasons[at().Line] {
					t.Errorf("%s: ranges over a map without a comment \"any order: why\"", at())
				}
				if call, ok := n.X.(*ast.CallExpr); ok && isMapsKeys(call) {
					t.Errorf("%s: ranges over a map's keys unsorted", at())
				}
			}
			return true
		})
	}
}

func isMapsKeys(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == "maps"
}

func checkImports(t *testing.T, fset *token.FileSet, f *ast.File) {
	t.Helper()
	for _, imp := range f.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil || !slices.Contains(allowed, path) || imp.Name != nil {
			t.Errorf("%s: imports %s", fset.Position(imp.Pos()), imp.Path.Value)
		}
	}
}
