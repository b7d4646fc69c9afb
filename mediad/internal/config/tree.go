package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// tree fills a struct from YAML and remembers on which line each path stands,
// so that every fault can be told at once with its place. (The library's own
// strict decoder stops at the first.)
type tree struct {
	file   string
	lines  map[string]int // by path: "sip.listen[0]"
	faults []error
}

// fault notes what is wrong at a path, or at its nearest parent that is there.
func (t *tree) fault(path, format string, args ...any) {
	line := 1
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if n, ok := t.lines[p]; ok {
			line = n
			break
		}
	}
	t.faults = append(t.faults, fmt.Errorf("%s:%d: %s: %s", t.file, line, path, fmt.Sprintf(format, args...)))
}

// decode reads text into the struct that into points to.
func (t *tree) decode(text []byte, into any) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		line := 1
		what := err.Error()
		var e yaml.Error
		if errors.As(err, &e) {
			what = e.GetMessage()
			if e.GetToken() != nil {
				line = e.GetToken().Position.Line
			}
		}
		t.faults = append(t.faults, fmt.Errorf("%s:%d: not YAML: %s", t.file, line, what))
		return
	}
	switch {
	case len(file.Docs) > 1:
		t.faults = append(t.faults, fmt.Errorf("%s: more than one document", t.file))
	case len(file.Docs) == 1 && file.Docs[0].Body != nil:
		t.fill("", file.Docs[0].Body, reflect.ValueOf(into).Elem())
	}
}

func (t *tree) fill(path string, node ast.Node, v reflect.Value) {
	if path != "" {
		t.lines[path] = node.GetToken().Position.Line
	}
	if _, null := node.(*ast.NullNode); null {
		return
	}
	switch v.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(text(node))
		if err != nil || d < 0 {
			t.fault(path, "%q is no duration such as 30s", text(node))
			return
		}
		v.SetInt(int64(d))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		t.fillStruct(path, node, v)
	case reflect.Slice:
		seq, ok := node.(*ast.SequenceNode)
		if !ok {
			t.fault(path, "want a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
		for i, e := range seq.Values {
			t.fill(fmt.Sprintf("%s[%d]", path, i), e, v.Index(i))
		}
	case reflect.Int:
		n, err := strconv.Atoi(text(node))
		if err != nil {
			t.fault(path, "%q is no whole number", text(node))
			return
		}
		v.SetInt(int64(n))
	case reflect.String:
		if _, ok := node.(ast.ScalarNode); !ok {
			t.fault(path, "want one value")
			return
		}
		v.SetString(text(node))
	}
}

// text is a scalar as it was written, without quotes.
func text(node ast.Node) string {
	if s, ok := node.(*ast.StringNode); ok {
		return s.Value
	}
	if s, ok := node.(ast.ScalarNode); ok {
		return s.GetToken().Value
	}
	return node.String()
}

func (t *tree) fillStruct(path string, node ast.Node, v reflect.Value) {
	m, ok := node.(ast.MapNode)
	if !ok {
		t.fault(path, "want keys and values")
		return
	}
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key().GetToken().Value
		sub := key
		if path != "" {
			sub = path + "." + key
		}
		t.lines[sub] = it.Key().GetToken().Position.Line
		f, known := fields[key]
		switch {
		case !known:
			t.fault(sub, "unknown key")
		case seen[key]:
			t.fault(sub, "given twice")
		default:
			t.fill(sub, it.Value(), f)
		}
		seen[key] = true
	}
}
