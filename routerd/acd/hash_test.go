package acd

import (
	"fmt"
	"reflect"
	"testing"
)

// fill sets every field to a value of its own and every slice to one element.
func fill(v reflect.Value, next *uint64) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), next)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), next)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), next)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.String:
		*next++
		v.SetString(fmt.Sprint("v", *next))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		*next++
		v.SetUint(*next % 256)
	case reflect.Uint32, reflect.Uint64:
		*next++
		v.SetUint(*next)
	case reflect.Int, reflect.Int64:
		*next++
		v.SetInt(int64(*next))
	default:
		panic(v.Kind().String())
	}
}

// leaves calls f for every value below v that has no parts, with a way to it.
func leaves(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Tag.Get("cbor") == "-" && field.Name != "Calls" {
				continue // not state: see AgentInfo; facts count by FactsSum
			}
			leaves(v.Field(i), path+"."+field.Name, f)
		}
	case reflect.Array:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Slice:
		leaves(v.Index(0), path+"[0]", f)
	case reflect.Pointer:
		leaves(v.Elem(), path, f)
	default:
		f(path, v)
	}
}

// TestHashSeesEveryField: replicas that differ in anything have another hash. A
// field added to the state and not to hash.go is found here.
func TestHashSeesEveryField(t *testing.T) {
	var s State
	var next uint64
	fill(reflect.ValueOf(&s).Elem(), &next)
	before := s.Hash()
	n := 0
	leaves(reflect.ValueOf(&s).Elem(), "State", func(path string, v reflect.Value) {
		n++
		old := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		default:
			v.SetUint(v.Uint() ^ 1)
		}
		if s.Hash() == before {
			t.Errorf("%s does not count", path)
		}
		v.Set(old)
	})
	if n < 100 || s.Hash() != before {
		t.Fatalf("the test is broken: %d fields", n)
	}
}

// TestFactSumSeesEveryField: the same for the history's running sum, and what is
// read back is what was written.
func TestFactSumSeesEveryField(t *testing.T) {
	var f Fact
	var next uint64
	fill(reflect.ValueOf(&f).Elem(), &next)
	sum := func() uint64 {
		m := New()
		m.index, m.factN, m.now = f.Index, f.N, f.At
		w := m.fact(f)
		for _, a := range f.Attrs {
			w.text(a.Key, a.Value)
		}
		m.facts.close()
		if got := m.FactsAfter(0, 0); len(got) != 1 || !reflect.DeepEqual(got[0], f) {
			t.Fatalf("wrote %+v, read %+v", f, got)
		}
		return m.facts.sum
	}
	before := sum()
	leaves(reflect.ValueOf(&f).Elem(), "Fact", func(path string, v reflect.Value) {
		old := reflect.ValueOf(v.Interface())
		if v.Kind() == reflect.String {
			v.SetString(v.String() + "x")
		} else if v.Kind() == reflect.Int64 {
			v.SetInt(v.Int() + 1)
		} else {
			v.SetUint(v.Uint() + 1)
		}
		if sum() == before {
			t.Errorf("%s does not count", path)
		}
		v.Set(old)
	})
}
