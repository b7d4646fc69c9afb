package sip

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// digitsOf are the digits an Output tells, "" for none.
func digitsOf(o Output) (digits string) {
	for _, e := range o.Events {
		if d, ok := e.(Digits); ok {
			digits += d.Digits
		}
	}
	return digits
}

func TestInfoBodies(t *testing.T) {
	l, cseq := talking(t), 1
	f := func(contentType, body string, code int, digits string, edits ...string) *Response {
		t.Helper()
		cseq++
		raw := within("INFO", cseq, edits...)
		if body != "" {
			raw = withBody(raw, contentType, body)
		}
		o := l.Request(start, mustRequest(t, raw), edgeFlow)
		res := only(t, o)
		if res.Code != code || digitsOf(o) != digits {
			t.Errorf("%s %q: %d and %q, want %d and %q", contentType, body, res.Code, digitsOf(o), code, digits)
		}
		if (code == 200) != o.Commit {
			t.Errorf("%s %q: commit %v with %d", contentType, body, o.Commit, code)
		}
		return res
	}
	for _, key := range strings.Split(keys, "") {
		f("application/dtmf-relay", "Signal="+key+"\r\nDuration=160\r\n", 200, key)
		f("application/dtmf", key, 200, key)
	}
	f("Application/DTMF-Relay; charset=utf-8", " signal = 1 \n duration = 250", 200, "1")
	f("application/dtmf-relay", "Duration=160\r\nSignal=a\r\n", 200, "A")
	f("application/dtmf-relay", "Signal=10\r\nDuration=160", 200, "*")
	f("application/dtmf-relay", "Signal=11\r\nDuration=160", 200, "#")
	f("application/dtmf-relay", "Signal=15\r\nDuration=160", 200, "D")
	f("application/dtmf", "1234#\r\n", 200, "1234#")
	f("application/dtmf", strings.Repeat("7", maxDigits), 200, strings.Repeat("7", maxDigits))
	// Understood, and no digit.
	f("", "", 200, "")
	f("application/dtmf-relay", "Signal=16\r\nDuration=160", 200, "")
	f("application/dtmf-relay", "Signal=!\r\n", 200, "")
	// Refused.
	for _, body := range []string{"Signal=\r\n", "Signal=12345\r\n", "Signal=x", "Signal=17", "Duration=160", "Signal=1\r\nSignal=2", "\x00\xff", "Signal=\u0661"} {
		f("application/dtmf-relay", body, 400, "")
	}
	for _, body := range []string{" \r\n", "1 2", "x", strings.Repeat("7", maxDigits+1), "\u0661"} {
		f("application/dtmf", body, 400, "")
	}
	f("application/dtmf-relay", "Signal=5\r\n"+strings.Repeat("X=1\r\n", 100), 400, "")
	if res := f("application/media_control+xml", "<x/>", 415, ""); res.Get("Accept") != "application/dtmf-relay, application/dtmf" {
		t.Errorf("415 with Accept %q", res.Get("Accept"))
	}
	if res := f("application/dtmf-relay", "x", 415, "", "+Content-Encoding: gzip"); res.Get("Accept-Encoding") != "identity" {
		t.Errorf("415 with Accept-Encoding %q", res.Get("Accept-Encoding"))
	}
	if res := f("application/xml", "<x/>", 469, "", "+Info-Package: poc-floor"); !res.has("Recv-Info") {
		t.Error("469 without Recv-Info")
	}
	f("", "", 469, "", "+Info-Package: poc-floor")
	f("application/dtmf-relay", "Signal=9", 200, "9", "+Info-Package: infoDtmf")
	if l.State() != Confirmed {
		t.Errorf("the leg is %s", l.State())
	}
}

// A far end that sends each key both ways is heard once, and one that changes
// over because its new session has no events is heard again.
func TestDigitsComeOneWay(t *testing.T) {
	info := func(l *Leg, cseq int, key string) string {
		t.Helper()
		return digitsOf(l.Request(start, mustRequest(t, withBody(within("INFO", cseq), "application/dtmf", key)), edgeFlow))
	}
	l := talking(t)
	got := digitsOf(l.Heard(1, "1")) + info(l, 2, "1") + digitsOf(l.Heard(2, "2")) + info(l, 3, "2")
	if got != "12" {
		t.Errorf("each key by event, then by INFO: %q", got)
	}
	l = rebuild(t, l)
	if got := info(l, 4, "3") + digitsOf(l.Heard(3, "3")); got != "3" {
		t.Errorf("the next key after a takeover: %q", got)
	}
	l.Request(start, mustRequest(t, withBody(within("INVITE", 5), "application/sdp", "a=rtpmap:101 telephone-event/8000")), edgeFlow)
	l.AnswerOffer(start, 200, []byte("answer"))
	l.Request(start, mustRequest(t, within("ACK", 5)), edgeFlow)
	if got := info(l, 6, "4") + digitsOf(l.Heard(4, "4")); got != "4" {
		t.Errorf("after a re-INVITE that keeps events: %q", got)
	}
	l.Request(start, mustRequest(t, withBody(within("INVITE", 7), "application/sdp", "a=rtpmap:8 PCMA/8000")), edgeFlow)
	l.AnswerOffer(start, 200, []byte("answer"))
	l.Request(start, mustRequest(t, within("ACK", 7)), edgeFlow)
	if got := info(l, 8, "5"); got != "5" {
		t.Errorf("after a re-INVITE without events: %q", got)
	}

	l = talking(t)
	if got := info(l, 2, "1") + digitsOf(l.Heard(1, "1")) + info(l, 3, "2") + digitsOf(l.Heard(2, "2")); got != "12" {
		t.Errorf("each key by INFO, then by event: %q", got)
	}
}

// Whatever part of the worker's list is told again, and by whichever node the
// leg is run, each event counts once and in order.
func TestEventsCountOnceAndInOrder(t *testing.T) {
	l := talking(t)
	f := func(serial uint64, told, want string) {
		t.Helper()
		o := l.Heard(serial, told)
		if got := digitsOf(o); got != want || o.Commit != (want != "") || len(o.Send) != 0 {
			t.Errorf("told %q up to %d: %q commit=%v, want %q", told, serial, got, o.Commit, want)
		}
	}
	f(0, "", "")
	f(2, "12", "12")
	f(2, "12", "")
	f(1, "1", "")
	l = rebuild(t, l)
	f(4, "1234", "34")
	f(9, "9", "9") // the worker had to drop some: what it still has counts
	f(9, "56789", "")
	if l.HeardUpTo() != 9 {
		t.Errorf("heard up to %d", l.HeardUpTo())
	}
	l.Bye(start)
	f(10, "0", "")
}

// A key may be part of a card number.
func TestDigitsStayOutOfTheRecord(t *testing.T) {
	l := talking(t)
	before, err := l.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	l.Request(start, mustRequest(t, withBody(within("INFO", 2), "application/dtmf", "4929123456")), edgeFlow)
	l.Request(start, mustRequest(t, withBody(within("INFO", 3), "application/dtmf", "4929123456 x")), edgeFlow)
	l.Heard(10, "4929123456")
	after, err := l.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(after, []byte("4929123456")) || bytes.Contains(after, []byte("4929")) {
		t.Error("a record holds digits")
	}
	if reflect.DeepEqual(before, after) {
		t.Error("a record does not tell that digits came")
	}
}

// FuzzInfo: whatever an INFO bears, its digits are keys and few.
func FuzzInfo(f *testing.F) {
	f.Add("application/dtmf-relay", []byte("Signal=5\r\nDuration=160\r\n"))
	f.Add("application/dtmf", []byte("12#"))
	f.Add("application/dtmf-relay;x=\"", []byte("signal==1"))
	f.Add("", []byte{0, 0xff})
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		req := &Request{Method: "INFO", head: head{headers: []Header{{"Content-Type", contentType}}, body: body}}
		digits, refusal := infoDigits(req)
		if refusal != nil && (digits != "" || refusal.Code < 400) {
			t.Fatalf("refused with %d and digits %q", refusal.Code, digits)
		}
		if len(digits) > maxDigits || strings.Trim(digits, keys) != "" {
			t.Fatalf("digits %q", digits)
		}
	})
}
