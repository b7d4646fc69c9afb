package sip

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// A far end's key presses come by INFO or as RTP events (RFC 4733), and from
// some gateways by both for the same key. The way the first one of a leg came
// is its way from then on, and what comes by the other is not counted. A
// digit may be part of a card number: none is ever logged, and a record holds
// only how many came.

// digitsBy is the way a leg's digits come.
type digitsBy uint8

const (
	byNone   digitsBy = iota // none has come
	byInfo                   // INFO requests
	byEvents                 // RTP events, told by the media worker
)

// The bodies of INFO that carry digits. Neither has an RFC; both are what
// gateways and phones send.
const (
	dtmfRelay = "application/dtmf-relay" // lines: Signal=5, Duration=160 (ms)
	dtmf      = "application/dtmf"       // the digits alone
)

// maxDigits bounds a burst in one INFO, maxDigitsBody its body.
const (
	maxDigits     = 32
	maxDigitsBody = 256
)

var (
	badDigits       = Refusal{Code: 400, Reason: "Malformed Digits"}
	notDigits       = Refusal{415, "Unsupported Media Type", []Header{{"Accept", dtmfRelay + ", " + dtmf}}}
	unknownPackage  = Refusal{469, "Bad Info Package", []Header{{"Recv-Info", ""}}} // RFC 6086 section 4.2.2
	foreignEncoding = Refusal{415, "Unsupported Media Type", []Header{{"Accept-Encoding", "identity"}}}
)

// info answers an INFO and reports its digits.
func (l *Leg) info(req *Request, flow Flow) Output {
	digits, refusal := infoDigits(req)
	if refusal != nil {
		return Output{Send: []Packet{l.answer(req, flow, *refusal, nil)}}
	}
	o := Output{Commit: true, Send: []Packet{l.answer(req, flow, Refusal{Code: 200, Reason: "OK"}, nil)}}
	if digits != "" && l.countsDigits(byInfo) {
		l.r.ByInfo += uint64(len(digits))
		o.Events = []Event{Digits{Digits: digits, Serial: l.r.ByInfo, Duration: infoDuration(req)}}
	}
	return o
}

// Heard takes digits that came as RTP events. serial is the number of the last
// one, counted from 1 over the leg's life: what was taken before, here or on
// another node, is left out, so it may be told any number of times.
func (l *Leg) Heard(serial uint64, digits string) Output {
	if serial <= l.r.Heard || l.r.State == Terminated || l.r.State == Ending {
		return Output{}
	}
	if fresh := serial - l.r.Heard; fresh < uint64(len(digits)) {
		digits = digits[uint64(len(digits))-fresh:]
	}
	l.r.Heard = serial
	digits = strings.ReplaceAll(digits, passed, "")
	if digits == "" || !l.countsDigits(byEvents) {
		return Output{}
	}
	return Output{Commit: true, Events: []Event{Digits{Digits: digits}}}
}

// passed stands for a key that passed to the connected leg as it was.
const passed = "-"

// HeardUpTo is the serial of the last RTP event taken.
func (l *Leg) HeardUpTo() uint64 { return l.r.Heard }

// countsDigits decides by which way digits come, with the first of them.
func (l *Leg) countsDigits(by digitsBy) bool {
	if l.r.DigitsBy == byNone {
		l.r.DigitsBy = by
	}
	return l.r.DigitsBy == by
}

// digitsRenegotiated lets another way begin when a new session of the far end
// has no events any more.
func (l *Leg) digitsRenegotiated() {
	if l.r.DigitsBy == byEvents && !bytes.Contains(bytes.ToLower(l.r.RemoteSDP), []byte("telephone-event/")) {
		l.r.DigitsBy = byNone
	}
}

// infoDigits reads the digits of an INFO: "" for one that means something else
// to its sender and nothing to us (no body, a flash hook).
func infoDigits(req *Request) (string, *Refusal) {
	body := req.Body()
	kind := mediaType(req.Get("Content-Type"))
	switch enc := req.Get("Content-Encoding"); {
	case len(body) == 0:
		if req.has("Info-Package") {
			return "", &unknownPackage
		}
		return "", nil
	case kind != dtmfRelay && kind != dtmf:
		if req.has("Info-Package") {
			return "", &unknownPackage
		}
		return "", &notDigits
	case enc != "" && !strings.EqualFold(enc, "identity"):
		return "", &foreignEncoding
	case len(body) > maxDigitsBody:
		return "", &badDigits
	case kind == dtmf:
		return plainDigits(strings.TrimSpace(string(body)))
	}
	return relayedDigit(string(body))
}

// infoDuration is how long an INFO says its key was down, 0 if it does not say.
func infoDuration(req *Request) time.Duration {
	for line := range strings.Lines(string(req.Body())) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if strings.EqualFold(strings.TrimSpace(name), "duration") {
			ms, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
			if err == nil {
				return time.Duration(ms) * time.Millisecond
			}
		}
	}
	return 0
}

// plainDigits reads application/dtmf: one key, or a burst of them.
func plainDigits(body string) (string, *Refusal) {
	if body == "" || len(body) > maxDigits {
		return "", &badDigits
	}
	digits := strings.ToUpper(body)
	for i := range len(digits) {
		if strings.IndexByte(keys, digits[i]) < 0 {
			return "", &badDigits
		}
	}
	return digits, nil
}

// keys in the order of their event codes (RFC 4733 section 3.2).
const keys = "0123456789*#ABCD"

// relayedDigit reads application/dtmf-relay: one key by its sign or its event
// code, and a flash hook, which is no digit.
func relayedDigit(body string) (string, *Refusal) {
	signal, found := "", false
	for line := range strings.Lines(body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "signal") {
			continue // Duration, and what else there may be
		}
		if found {
			return "", &badDigits
		}
		signal, found = strings.ToUpper(strings.TrimSpace(value)), true
	}
	switch signal {
	case "16", "!", "FLASH", "HF":
		return "", nil
	case "10", "11", "12", "13", "14", "15":
		code := 10 + signal[1] - '0'
		return keys[code : code+1], nil
	}
	if len(signal) != 1 || strings.IndexByte(keys, signal[0]) < 0 {
		return "", &badDigits
	}
	return signal, nil
}
