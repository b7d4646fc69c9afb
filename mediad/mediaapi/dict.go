package mediaapi

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// toDict turns a struct with `ng` tags into a dictionary, leaving zero values
// out, but for those tagged ",keep".
func toDict(v reflect.Value) map[string]any {
	dict := map[string]any{}
	t := v.Type()
	for i := range t.NumField() {
		key, keep := strings.CutSuffix(t.Field(i).Tag.Get("ng"), ",keep")
		if f := v.Field(i); keep || !f.IsZero() {
			dict[key] = toValue(f)
		}
	}
	return dict
}

func toValue(f reflect.Value) any {
	switch f.Kind() {
	case reflect.String:
		return f.String()
	case reflect.Bool:
		return f.Bool()
	case reflect.Int64:
		return f.Int()
	case reflect.Uint64:
		return f.Uint()
	case reflect.Struct:
		return toDict(f)
	case reflect.Pointer:
		return toValue(f.Elem())
	case reflect.Slice:
		list := make([]any, f.Len())
		for j := range list {
			list[j] = toValue(f.Index(j))
		}
		return list
	case reflect.Map:
		dict := map[string]any{}
		for _, k := range f.MapKeys() {
			dict[k.String()] = toValue(f.MapIndex(k))
		}
		return dict
	}
	panic("mediaapi: field of kind " + f.Kind().String())
}

// fromDict fills a struct with `ng` tags. A value of the wrong kind is an
// error: guessing at a control message moves somebody's media.
func fromDict(dict map[string]any, v reflect.Value) error {
	norm := make(map[string]any, len(dict))
	for k, e := range dict {
		norm[normalKey(k)] = e
	}
	t := v.Type()
	for i := range t.NumField() {
		key, _ := strings.CutSuffix(t.Field(i).Tag.Get("ng"), ",keep")
		e, ok := norm[normalKey(key)]
		if !ok {
			continue
		}
		if err := setField(v.Field(i), e); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	}
	return nil
}

func setField(f reflect.Value, e any) error {
	switch f.Kind() {
	case reflect.String:
		s, err := asString(e)
		if err != nil {
			return err
		}
		f.SetString(s)
	case reflect.Bool:
		b, err := asBool(e)
		if err != nil {
			return err
		}
		f.SetBool(b)
	case reflect.Int64:
		s, err := asString(e)
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("not a number")
		}
		f.SetInt(n)
	case reflect.Uint64:
		s, err := asString(e)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return fmt.Errorf("not an unsigned number")
		}
		f.SetUint(n)
	case reflect.Slice:
		return setList(f, e)
	case reflect.Struct:
		d, ok := e.(map[string]any)
		if !ok {
			return fmt.Errorf("not a dictionary")
		}
		return fromDict(d, f)
	case reflect.Map:
		return setMap(f, e)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
		return setField(f.Elem(), e)
	}
	return nil
}

func setMap(f reflect.Value, e any) error {
	d, ok := e.(map[string]any)
	if !ok {
		return fmt.Errorf("not a dictionary")
	}
	out := reflect.MakeMapWithSize(f.Type(), len(d))
	for k, e := range d {
		v := reflect.New(f.Type().Elem()).Elem()
		if err := setField(v, e); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(k), v)
	}
	f.Set(out)
	return nil
}

func setList(f reflect.Value, e any) error {
	list, ok := e.([]any)
	if !ok { // one value alone stands for a list of one
		list = []any{e}
	}
	out := reflect.MakeSlice(f.Type(), len(list), len(list))
	for i, e := range list {
		o := out.Index(i)
		if o.Kind() != reflect.Struct {
			s, err := asString(e)
			if err != nil {
				return err
			}
			o.SetString(s)
			continue
		}
		d, ok := e.(map[string]any)
		if !ok {
			return fmt.Errorf("not a list of dictionaries")
		}
		if err := fromDict(d, o); err != nil {
			return err
		}
	}
	f.Set(out)
	return nil
}

func asString(e any) (string, error) {
	switch e := e.(type) {
	case string:
		return e, nil
	case int64:
		return strconv.FormatInt(e, 10), nil
	case uint64:
		return strconv.FormatUint(e, 10), nil
	case json.Number:
		return e.String(), nil
	}
	return "", fmt.Errorf("not a plain value")
}

func asBool(e any) (bool, error) {
	if b, ok := e.(bool); ok {
		return b, nil
	}
	s, err := asString(e)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(s) {
	case "1", "yes", "true", "on":
		return true, nil
	case "0", "no", "false", "off", "":
		return false, nil
	}
	return false, fmt.Errorf("neither yes nor no")
}

func normalKey(k string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '_':
			return '-'
		}
		return r
	}, strings.ToLower(k))
}

func normalCommand(c string) string {
	return strings.ReplaceAll(normalKey(c), "-", " ")
}

// jsonable replaces what JSON readers elsewhere would round: unsigned values
// above 2^53 are written as strings, which asString reads back.
func jsonable(v any) any {
	switch v := v.(type) {
	case uint64:
		if v > 1<<53 {
			return strconv.FormatUint(v, 10)
		}
	case int64:
		if v > 1<<53 || v < -(1<<53) || v == math.MinInt64 {
			return strconv.FormatInt(v, 10)
		}
	case map[string]any:
		for k, e := range v {
			v[k] = jsonable(e)
		}
	case []any:
		for i, e := range v {
			v[i] = jsonable(e)
		}
	}
	return v
}
