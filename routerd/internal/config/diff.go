package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// Change is one difference of two routing trees.
type Change struct {
	Op   string `json:"op"`   // "+" added, "-" removed, "~" changed
	Path string `json:"path"` // things by their names: agents[ann].skills[english].level
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

func (c Change) String() string {
	switch {
	case c.Op == "~":
		return fmt.Sprintf("~ %s: %s → %s", c.Path, c.Old, c.New)
	case c.Op == "+" && c.New != "":
		return fmt.Sprintf("+ %s: %s", c.Path, c.New)
	case c.Op == "-" && c.Old != "":
		return fmt.Sprintf("- %s: %s", c.Path, c.Old)
	}
	return c.Op + " " + c.Path
}

// Diff lists what makes two trees different, in the order of the tree. Things
// that have a name are compared by it, wherever they stand; rules, rings,
// steps and the like by their place, which decides what they do.
func Diff(was, now acd.Config) []Change {
	var d differ
	d.structs("", reflect.ValueOf(was), reflect.ValueOf(now))
	return d.changes
}

// Summary counts changes by what they concern: "2 agents added, 1 queue
// changed, max_channels changed".
func Summary(changes []Change) string {
	verbs := map[string]string{"+": "added", "-": "removed", "~": "changed"}
	var order []string // "agents added"
	things := map[string]map[string]bool{}
	for _, c := range changes {
		thing, rest, listed := strings.Cut(c.Path, "]")
		kind, _, _ := strings.Cut(thing, "[")
		verb := verbs[c.Op]
		if rest != "" {
			verb = "changed" // within the thing
		}
		if !listed { // there is one of them, and it has no name
			kind, _, _ = strings.Cut(kind, ".")
			thing, verb = "", "changed"
		}
		k := kind + " " + verb
		if things[k] == nil {
			things[k] = map[string]bool{}
			order = append(order, k)
		}
		things[k][thing] = true
	}
	var parts []string
	for _, k := range order {
		switch n := len(things[k]); {
		case things[k][""]:
			parts = append(parts, k)
		case n == 1:
			kind, verb, _ := strings.Cut(k, " ")
			parts = append(parts, "1 "+strings.TrimSuffix(kind, "s")+" "+verb)
		default:
			parts = append(parts, strconv.Itoa(n)+" "+k)
		}
	}
	if parts == nil {
		return "no changes"
	}
	return strings.Join(parts, ", ")
}

// names are the keys that tell the things of a list apart, the first that a
// type has; a list of anything else is compared by place.
var names = []string{"id", "number", "skill", "date"}

// nameField is a struct's naming field, or -1.
func nameField(t reflect.Type) int {
	if t.Kind() != reflect.Struct {
		return -1
	}
	switch t {
	case reflect.TypeFor[acd.Seat]():
		return fieldsOf(t)["queue"]
	case reflect.TypeFor[acd.Attr]():
		return fieldsOf(t)["key"]
	case reflect.TypeFor[acd.ChainStep]():
		return -1 // one number may be tried twice
	}
	fields := fieldsOf(t)
	for _, name := range names {
		if i, ok := fields[name]; ok {
			return i
		}
	}
	return -1
}

type differ struct{ changes []Change }

func (d *differ) add(op, path string, was, now string) {
	d.changes = append(d.changes, Change{op, path, was, now})
}

func (d *differ) values(path string, was, now reflect.Value) {
	switch {
	case was.Kind() == reflect.Struct:
		d.structs(path, was, now)
	case was.Kind() == reflect.Slice && nameField(was.Type().Elem()) >= 0:
		d.named(path, was, now)
	case was.Kind() == reflect.Slice && was.Type().Elem().Kind() == reflect.Struct:
		d.placed(path, was, now)
	case was.Kind() == reflect.Slice:
		d.plain(path, was, now)
	case !was.Equal(now):
		d.add("~", path, brief(path, was), brief(path, now))
	}
}

func (d *differ) structs(path string, was, now reflect.Value) {
	for i := range was.NumField() {
		if key := yamlName(was.Type().Field(i)); key != "" {
			d.values(join(path, key), was.Field(i), now.Field(i))
		}
	}
}

// named compares two lists of things that have names.
func (d *differ) named(path string, was, now reflect.Value) {
	field := nameField(was.Type().Elem())
	index := func(list reflect.Value) map[string]reflect.Value {
		m := make(map[string]reflect.Value, list.Len())
		for i := range list.Len() {
			m[list.Index(i).Field(field).String()] = list.Index(i)
		}
		return m
	}
	before, after := index(was), index(now)
	for i := range was.Len() {
		name := was.Index(i).Field(field).String()
		at := path + "[" + name + "]"
		if a, ok := after[name]; ok {
			d.structs(at, was.Index(i), a)
		} else {
			d.add("-", at, "", "")
		}
	}
	for i := range now.Len() {
		if name := now.Index(i).Field(field).String(); !before[name].IsValid() {
			d.add("+", path+"["+name+"]", "", brief(path, now.Index(i)))
		}
	}
}

// placed compares two lists of nameless things by their places.
func (d *differ) placed(path string, was, now reflect.Value) {
	for i := range max(was.Len(), now.Len()) {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case i >= now.Len():
			d.add("-", at, brief(path, was.Index(i)), "")
		case i >= was.Len():
			d.add("+", at, "", brief(path, now.Index(i)))
		default:
			d.structs(at, was.Index(i), now.Index(i))
		}
	}
}

// plain compares two lists of texts: what is new, what is gone, or a new order.
func (d *differ) plain(path string, was, now reflect.Value) {
	before, after := texts(was), texts(now)
	changed := false
	for _, s := range before {
		if !slices.Contains(after, s) {
			d.add("-", path, s, "")
			changed = true
		}
	}
	for _, s := range after {
		if !slices.Contains(before, s) {
			d.add("+", path, "", s)
			changed = true
		}
	}
	if !changed && !slices.Equal(before, after) {
		d.add("~", path, brief(path, was), brief(path, now))
	}
}

func texts(list reflect.Value) []string {
	out := make([]string, list.Len())
	for i := range out {
		out[i] = list.Index(i).String()
	}
	return out
}

// maxBrief is how many bytes of a value a line of a diff shows.
const maxBrief = 120

// brief shows a value on one line, zero fields left out. Digests are shortened:
// they are as good as passwords, and nobody reads them.
func brief(path string, v reflect.Value) string {
	s := flow(v, path[strings.LastIndexAny(path, ".[")+1:])
	if len(s) > maxBrief {
		cut := maxBrief
		for cut > 0 && s[cut]&0xc0 == 0x80 { // within a character
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

func flow(v reflect.Value, key string) string {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return duration(time.Duration(v.Int()))
	}
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if key := yamlName(v.Type().Field(i)); key != "" && !v.Field(i).IsZero() {
				parts = append(parts, key+": "+flow(v.Field(i), key))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, flow(v.Index(i), key))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		switch s := v.String(); {
		case strings.HasPrefix(key, "ha1_") && len(s) > 6:
			return s[:6] + "…"
		case s == "" || strings.ContainsAny(s, " ,:[]{}#\"'\n"):
			return strconv.Quote(s)
		default:
			return s
		}
	}
	return fmt.Sprint(v.Interface())
}

// duration is d without the zeros behind: 5m, not 5m0s.
func duration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
