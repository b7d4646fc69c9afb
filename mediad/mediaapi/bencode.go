package mediaapi

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
)

// maxDepth bounds nesting in what comes from the network; rtpengine's own
// messages go four deep.
const maxDepth = 32

var errBencode = errors.New("malformed bencode")

// appendBencode writes v, which is a string, int64, uint64, bool, []any or
// map[string]any. Dictionary keys are sorted, as bencode asks.
func appendBencode(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		b = strconv.AppendInt(b, int64(len(v)), 10)
		b = append(b, ':')
		return append(b, v...)
	case int64:
		b = append(b, 'i')
		b = strconv.AppendInt(b, v, 10)
		return append(b, 'e')
	case uint64:
		b = append(b, 'i')
		b = strconv.AppendUint(b, v, 10)
		return append(b, 'e')
	case bool:
		if v {
			return append(b, "i1e"...)
		}
		return append(b, "i0e"...)
	case []any:
		b = append(b, 'l')
		for _, e := range v {
			b = appendBencode(b, e)
		}
		return append(b, 'e')
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		b = append(b, 'd')
		for _, k := range keys {
			b = appendBencode(b, k)
			b = appendBencode(b, v[k])
		}
		return append(b, 'e')
	}
	panic(fmt.Sprintf("mediaapi: no bencode for %T", v))
}

// parseBencode reads one value from the front of b.
func parseBencode(b []byte, depth int) (v any, rest []byte, err error) {
	if depth > maxDepth || len(b) == 0 {
		return nil, nil, errBencode
	}
	switch c := b[0]; {
	case c == 'i':
		return parseBencodeInt(b[1:])
	case c >= '0' && c <= '9':
		return parseBencodeString(b)
	case c == 'l':
		list := []any{}
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			if v, b, err = parseBencode(b, depth+1); err != nil {
				return nil, nil, err
			}
			list = append(list, v)
		}
		if len(b) == 0 {
			return nil, nil, errBencode
		}
		return list, b[1:], nil
	case c == 'd':
		dict := map[string]any{}
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			var key string
			if key, b, err = parseBencodeString(b); err != nil {
				return nil, nil, err
			}
			if v, b, err = parseBencode(b, depth+1); err != nil {
				return nil, nil, err
			}
			dict[key] = v
		}
		if len(b) == 0 {
			return nil, nil, errBencode
		}
		return dict, b[1:], nil
	}
	return nil, nil, errBencode
}

func parseBencodeInt(b []byte) (any, []byte, error) {
	for i, c := range b {
		if c != 'e' {
			continue
		}
		// An unsigned 64-bit value is a legal bencode integer too (epochs).
		if n, err := strconv.ParseInt(string(b[:i]), 10, 64); err == nil {
			return n, b[i+1:], nil
		}
		n, err := strconv.ParseUint(string(b[:i]), 10, 64)
		if err != nil {
			return nil, nil, errBencode
		}
		return n, b[i+1:], nil
	}
	return nil, nil, errBencode
}

func parseBencodeString(b []byte) (string, []byte, error) {
	n := 0
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && i < 8:
			n = n*10 + int(c-'0')
		case c == ':' && i > 0:
			if b = b[i+1:]; n > len(b) {
				return "", nil, errBencode
			}
			return string(b[:n]), b[n:], nil
		default:
			return "", nil, errBencode
		}
	}
	return "", nil, errBencode
}
