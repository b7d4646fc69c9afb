package sip

import (
	"strings"
	"testing"
	"time"
)

// RFC 7339 section 4 and 5.
func TestFeedbackGoesToWhoAsksForIt(t *testing.T) {
	at := time.UnixMilli(1_282_321_615_078)
	f := func(via, want string) {
		t.Helper()
		res := "SIP/2.0 503 Service Unavailable\r\nVia: " + via + "\r\nVia: SIP/2.0/TCP far;oc;branch=z9hG4bK2\r\nCall-ID: a;oc\r\nContent-Length: 0\r\n\r\n"
		got := string(Feedback{Loss: 20, Validity: 500 * time.Millisecond, Seq: at}.stamp([]byte(res)))
		if want := strings.Replace(res, via, want, 1); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", via, got, want)
		}
	}
	const said = `;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.078`
	f("SIP/2.0/TCP edge:5062;branch=z9hG4bK1;oc", "SIP/2.0/TCP edge:5062;branch=z9hG4bK1"+said)
	f(`SIP/2.0/TCP edge;oc;oc-algo="loss,A";branch=z9hG4bK1;rport=5`, "SIP/2.0/TCP edge;branch=z9hG4bK1;rport=5"+said)
	for _, no := range []string{
		"SIP/2.0/TCP edge;branch=z9hG4bK1", `SIP/2.0/TCP edge;oc;oc-algo="rate";branch=z9hG4bK1`, "SIP/2.0/TCP edge;branch=z9hG4bK1;octet=1", "nonsense;oc",
	} {
		f(no, no)
	}
	req := "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP edge;oc;branch=z9hG4bK1\r\n\r\n"
	if got := string(Feedback{Loss: 20}.stamp([]byte(req))); got != req {
		t.Errorf("a request was changed:\n%s", got)
	}
}
