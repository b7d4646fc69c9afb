package sip

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// Feedback is what a server tells its clients of its load (RFC 7339): which share
// of new requests they should keep away, for how long.
type Feedback struct {
	Loss     int // per cent, 0 to 100
	Validity time.Duration
	Seq      time.Time // later ones count
}

// stamp writes feedback into the topmost Via of a response if the client asked for
// it there, by oc, and knows the loss algorithm; a client that names none does.
func (f Feedback) stamp(response []byte) []byte {
	const via = "\r\nVia: "
	start := bytes.Index(response, []byte(via))
	if start < 0 || !bytes.HasPrefix(response, []byte("SIP/2.0 ")) {
		return response
	}
	start += len(via)
	length := bytes.Index(response[start:], []byte("\r\n"))
	if length < 0 || !bytes.Contains(response[start:start+length], []byte(";oc")) {
		return response
	}
	value := string(response[start : start+length])
	v, err := parseVia(value)
	if err != nil {
		return response
	}
	if _, asked := v.Params.Get("oc"); !asked {
		return response
	}
	if algo, named := v.Params.Get("oc-algo"); named && !strings.Contains(algo, "loss") {
		return response
	}
	seq := strconv.FormatInt(f.Seq.Unix(), 10) + "." + strconv.FormatInt(1000+f.Seq.UnixMilli()%1000, 10)[1:]
	for _, p := range []Param{
		{"oc", strconv.Itoa(f.Loss)}, {"oc-algo", `"loss"`}, {"oc-validity", strconv.FormatInt(f.Validity.Milliseconds(), 10)}, {"oc-seq", seq},
	} {
		value = setParam(value, p.Name, p.Value)
	}
	out := make([]byte, 0, len(response)+64)
	out = append(out, response[:start]...)
	out = append(out, value...)
	return append(out, response[start+length:]...)
}
