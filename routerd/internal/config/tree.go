package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// tree is a YAML document that is read into structs by their yaml tags. Unlike
// the library's own decoder it doesn't stop at the first fault: unknown keys,
// keys given twice and values of a wrong type are all found, and whatever can
// be read is read, so that it can be validated too.
//
// Faults carry paths such as "sip.listen[0]" and the lines they stand on.
type tree struct {
	name    string // heads the faults
	root    ast.Node
	anchors map[string]ast.Node
	visited int // nodes, so that aliases of aliases end
	faults  []located
}

// located is a fault and where it stands.
type located struct {
	line int
	text string
}

// Bounds of what a document may cost to read. The largest trees have some ten
// thousand agents, a few hundred thousand nodes.
const (
	maxSource  = 16 << 20
	maxNesting = 100
	maxNodes   = 2_000_000
)

// parse reads the document's structure. Its error is a fault of syntax, and
// the only one.
func parse(name string, src []byte) (*tree, error) {
	if len(src) > maxSource {
		return nil, fmt.Errorf("%s:1: the file has %d bytes, at most %d are read", name, len(src), maxSource)
	}
	if line := nestsTooDeep(src); line > 0 {
		return nil, fmt.Errorf("%s:%d: nested too deeply", name, line)
	}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) {
			return nil, fmt.Errorf("%s:%d: %s", name, ye.GetToken().Position.Line, ye.GetMessage())
		}
		return nil, fmt.Errorf("%s:1: %w", name, err)
	}
	t := &tree{name: name, anchors: map[string]ast.Node{}}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if t.root != nil {
			return nil, fmt.Errorf("%s:%d: a second document: one file is one tree", name, lineOf(doc.Body))
		}
		t.root = doc.Body
	}
	return t, nil
}

// nestsTooDeep returns the line on which brackets or dashes nest deeper than a
// parser that recurses should be given, or 0. It may err only for a file with
// hundreds of open brackets in its texts.
func nestsTooDeep(src []byte) int {
	line, depth, dashes := 1, 0, 0
	for i, b := range src {
		switch b {
		case '\n':
			line, dashes = line+1, 0
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '-', '?':
			if i+1 < len(src) && src[i+1] == ' ' {
				dashes++
			}
		}
		if depth > 5*maxNesting || dashes > 5*maxNesting {
			return line
		}
	}
	return 0
}

// into fills v, a pointer to a struct; what is wrong is noted in t.faults.
func (t *tree) into(v any) {
	if t.root != nil {
		t.read(t.root, reflect.ValueOf(v).Elem(), "", 0)
	}
}

// bad notes a fault on the line of a node.
func (t *tree) bad(n ast.Node, path, format string, args ...any) {
	t.note(lineOf(n), path, fmt.Sprintf(format, args...))
}

func (t *tree) note(line int, path, text string) {
	if path != "" {
		text = path + ": " + text
	}
	t.faults = append(t.faults, located{line, text})
}

// at notes a fault at a path that may lead nowhere: the line is then the
// nearest parent's.
func (t *tree) at(path, format string, args ...any) {
	t.note(t.lineAt(path), path, fmt.Sprintf(format, args...))
}

// err is all faults joined, by line, or nil.
func (t *tree) err() error {
	slices.SortStableFunc(t.faults, func(a, b located) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, f := range t.faults {
		errs = append(errs, fmt.Errorf("%s:%d: %s", t.name, f.line, f.text))
	}
	return errors.Join(errs...)
}

// value takes anchors, aliases and tags off a node.
func (t *tree) value(n ast.Node) ast.Node {
	for range maxNesting {
		switch x := n.(type) {
		case *ast.AnchorNode:
			t.anchors[x.Name.GetToken().Value] = x.Value
			n = x.Value
		case *ast.AliasNode:
			n = t.anchors[x.Value.GetToken().Value]
		case *ast.TagNode:
			n = x.Value
		default:
			return n
		}
	}
	return nil
}

// read reads a node into v.
func (t *tree) read(n ast.Node, v reflect.Value, path string, depth int) {
	at := n
	if n = t.value(n); n == nil {
		if at != nil {
			t.bad(at, path, "no such anchor, or one within itself")
		}
		return
	}
	if t.visited++; t.visited == maxNodes || depth == maxNesting {
		t.bad(at, path, "nested or repeated by aliases too often")
	}
	if t.visited >= maxNodes || depth >= maxNesting {
		return
	}
	if _, ok := n.(*ast.NullNode); ok {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		t.readStruct(n, v, path, depth)
	case reflect.Map:
		t.readMap(n, v, path, depth)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			t.bad(n, path, "want a list")
			return
		}
		if t.visited+len(list.Values) > maxNodes {
			t.bad(n, path, "too long a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
		for i, item := range list.Values {
			t.read(item, v.Index(i), path+"["+strconv.Itoa(i)+"]", depth+1)
		}
	default:
		t.readScalar(n, v, path)
	}
}

// entries are a mapping's; ok is false for another kind of node.
func entries(n ast.Node) (list []*ast.MappingValueNode, ok bool) {
	switch x := n.(type) {
	case *ast.MappingNode:
		return x.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{x}, true
	}
	return nil, false
}

func (t *tree) readStruct(n ast.Node, v reflect.Value, path string, depth int) {
	list, ok := entries(n)
	if !ok {
		t.bad(n, path, "want keys and values")
		return
	}
	fields := fieldsOf(v.Type())
	seen := make(map[string]int, len(list))
	for _, e := range list { // first, so that what stands beside a merge replaces it
		if e.Key.IsMergeKey() {
			t.merge(e.Value, v, path, depth)
		}
	}
	for _, e := range list {
		if e.Key.IsMergeKey() {
			continue
		}
		key := keyOf(e)
		at := join(path, key)
		if line, twice := seen[key]; twice {
			t.bad(e.Key, at, "key given twice, first on line %d", line)
			continue
		}
		seen[key] = lineOf(e.Key)
		i, ok := fields[key]
		if !ok {
			t.bad(e.Key, at, "unknown key%s", suggest(key, fields))
			continue
		}
		field := v.Field(i)
		field.SetZero() // of what a merge brought
		t.read(e.Value, field, at, depth+1)
	}
}

// merge reads what stands behind "<<": a mapping, or a list of them of which
// the first that has a key counts.
func (t *tree) merge(n ast.Node, v reflect.Value, path string, depth int) {
	if list, ok := t.value(n).(*ast.SequenceNode); ok {
		for _, item := range slices.Backward(list.Values) {
			t.read(item, v, path, depth+1)
		}
		return
	}
	t.read(n, v, path, depth+1)
}

func (t *tree) readMap(n ast.Node, v reflect.Value, path string, depth int) {
	list, ok := entries(n)
	if !ok {
		t.bad(n, path, "want keys and values")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range list {
		item := reflect.New(v.Type().Elem()).Elem()
		key := keyOf(e)
		if v.MapIndex(reflect.ValueOf(key)).IsValid() {
			t.bad(e.Key, join(path, key), "key given twice")
		}
		t.read(e.Value, item, join(path, key), depth+1)
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

func (t *tree) readScalar(n ast.Node, v reflect.Value, path string) {
	text, ok := scalar(n)
	if !ok {
		t.bad(n, path, "want a single value")
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.bad(n, path, "%q is not a duration with units, such as 15s or 1h30m", text)
			return
		}
		v.SetInt(int64(d))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			t.bad(n, path, "%q is neither true nor false", text)
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, err := strconv.Atoi(text)
		if err != nil {
			t.bad(n, path, "%q is not a whole number", text)
			return
		}
		v.SetInt(int64(i))
	default:
		panic(fmt.Sprintf("config: %s: no reader for %s", path, v.Type()))
	}
}

// scalar is a single value as it was written: a number in the place of a text
// is that text.
func scalar(n ast.Node) (string, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// fieldsOf maps a struct's yaml keys to its fields' numbers.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := yamlName(t.Field(i)); name != "" {
			fields[name] = i
		}
	}
	return fields
}

// yamlName is a field's key, or "" for one that no file has.
func yamlName(f reflect.StructField) string {
	if name := f.Tag.Get("yaml"); name != "-" {
		return name
	}
	return ""
}

// suggest finds the key that was meant.
func suggest(key string, fields map[string]int) string {
	best, distance := "", 3
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if d := edits(key, name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": is %q meant?", best)
}

// edits is the Levenshtein distance of two keys; of a long one it is as good
// as infinite.
func edits(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0]++
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left = row[j+1]
			row[j+1] = min(left+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}

func keyOf(e *ast.MappingValueNode) string {
	if text, ok := scalar(e.Key); ok {
		return text
	}
	return e.Key.GetToken().Value
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// lineOf is where a node begins.
func lineOf(n ast.Node) int {
	switch x := n.(type) {
	case *ast.MappingNode:
		if !x.IsFlowStyle && len(x.Values) > 0 {
			return lineOf(x.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return lineOf(x.Key)
	}
	if tok := n.GetToken(); tok != nil {
		return tok.Position.Line
	}
	return 1
}

// lineAt finds the line of the node at a path, or of its nearest parent. A
// value's line is its key's.
func (t *tree) lineAt(path string) int {
	if t.root == nil {
		return 1
	}
	node, line := t.value(t.root), lineOf(t.root)
	for step := range strings.SplitSeq(strings.ReplaceAll(path, "[", ".["), ".") {
		var next ast.Node
		if index, ok := strings.CutPrefix(step, "["); ok {
			i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
			if list, ok := node.(*ast.SequenceNode); ok && err == nil && i < len(list.Values) {
				next, line = list.Values[i], lineOf(list.Values[i])
			}
		} else if e := t.entry(node, step, 0); e != nil {
			next, line = e.Value, lineOf(e.Key)
		}
		if next == nil {
			break
		}
		if node = t.value(next); node == nil {
			break
		}
	}
	return line
}

// entry finds a mapping's key, those that are merged in last.
func (t *tree) entry(n ast.Node, key string, depth int) *ast.MappingValueNode {
	if n == nil || depth > maxNesting {
		return nil
	}
	list, _ := entries(n)
	for _, e := range list {
		if !e.Key.IsMergeKey() && keyOf(e) == key {
			return e
		}
	}
	for _, e := range list {
		if e.Key.IsMergeKey() {
			if found := t.entry(t.value(e.Value), key, depth+1); found != nil {
				return found
			}
		}
	}
	return nil
}
