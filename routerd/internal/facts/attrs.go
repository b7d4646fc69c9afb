package facts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"trunkline/routerd/acd"
)

// encodeAttrs writes attributes as a JSON object of strings whose members stand
// in the machine's order, "" for none: the order is part of a fact.
func encodeAttrs(attrs []acd.Attr) (string, error) {
	if len(attrs) == 0 {
		return "", nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	text := func(s string) error {
		if plainText(s) {
			b.WriteByte('"')
			b.WriteString(s)
			b.WriteByte('"')
			return nil
		}
		if err := enc.Encode(s); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the encoder ends with a newline
		return nil
	}
	for i, a := range attrs {
		b.WriteByte(",{"[max(0, 1-i)])
		if err := text(a.Key); err != nil {
			return "", err
		}
		b.WriteByte(':')
		if err := text(a.Value); err != nil {
			return "", err
		}
	}
	b.WriteByte('}')
	return b.String(), nil
}

// plainText tells whether JSON writes s as it is: nearly all that is, and the
// encoder costs more than the rest of a row.
func plainText(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// decodeAttrs is the inverse of encodeAttrs.
func decodeAttrs(s string) ([]acd.Attr, error) {
	if s == "" {
		return nil, nil
	}
	dec := json.NewDecoder(strings.NewReader(s))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("attributes are no JSON object")
	}
	attrs := make([]acd.Attr, 0, strings.Count(s, ":"))
	for dec.More() {
		var a acd.Attr
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("attributes: %w", err)
		}
		a.Key, _ = key.(string)
		if err := dec.Decode(&a.Value); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", a.Key, err)
		}
		attrs = append(attrs, a)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the attributes")
	}
	return attrs, nil
}
