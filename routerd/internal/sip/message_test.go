package sip

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// lines makes a message of lines, with the blank one at the end.
func lines(s ...string) []byte { return []byte(strings.Join(s, "\r\n") + "\r\n\r\n") }

// invite is a plain INVITE; edits replace, add ("+Name: v") or drop ("-Name")
// header lines, and "=line" replaces the start line.
func invite(edits ...string) []byte {
	l := []string{
		"INVITE sip:+498912345@r1.example:5060;transport=tcp SIP/2.0",
		"Via: SIP/2.0/TCP 127.0.0.1:5062;branch=z9hG4bKedge",
		"Via: SIP/2.0/TLS sbc.example:5061;branch=z9hG4bKsbc",
		"Max-Forwards: 69",
		`From: "Ann" <sip:+4917600@sbc.example>;tag=from1`,
		"To: <sip:+498912345@r1.example>",
		"Call-ID: abc@sbc.example",
		"CSeq: 1 INVITE",
		"Contact: <sip:+4917600@sbc.example:5061;transport=tls>",
		"Content-Length: 0",
	}
	for _, e := range edits {
		switch {
		case e[0] == '=':
			l[0] = e[1:]
		case e[0] == '+':
			l = append(l, e[1:])
		case e[0] == '-':
			var kept []string
			for _, x := range l {
				if !strings.HasPrefix(x, e[1:]+":") {
					kept = append(kept, x)
				}
			}
			l = kept
		default:
			name, _, _ := strings.Cut(e, ":")
			for i := range l {
				if strings.HasPrefix(l[i], name+":") {
					l[i] = e
					break
				}
			}
		}
	}
	return lines(l...)
}

func mustRequest(t testing.TB, data []byte) *Request {
	t.Helper()
	m, err := Parse(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return m.(*Request)
}

func mustResponse(t testing.TB, p Packet) *Response {
	t.Helper()
	m, err := Parse(p.Data)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Data)
	}
	return m.(*Response)
}

// outcome is what becomes of a message: accepted, a refusal, or dropped where
// nothing can or may be answered.
func outcome(data []byte) string {
	msg, err := Parse(data)
	var bad *Malformed
	switch {
	case errors.As(err, &bad) && bad.Request == nil:
		return "dropped"
	case errors.As(err, &bad):
		return fmt.Sprint(bad.Code)
	}
	switch m := msg.(type) {
	case *Request:
		if ref := Validate(m, Policy{}); ref != nil {
			return fmt.Sprint(ref.Code)
		}
		return "accepted " + m.Method
	case *Response:
		return fmt.Sprintf("accepted %d", m.Code)
	}
	return "nothing"
}

func TestRequestsAreRefusedByTheRightCode(t *testing.T) {
	f := func(want string, edits ...string) {
		t.Helper()
		if got := outcome(invite(edits...)); got != want {
			t.Errorf("%q: %s, want %s", edits, got, want)
		}
	}
	f("accepted INVITE")
	f("accepted INVITE", "-Max-Forwards") // RFC 2543 clients send none
	f("accepted INVITE", "Via: SIP / 2.0 / TCP  127.0.0.1 : 5062 ; branch = z9hG4bKedge")
	f("accepted INVITE", "Call-ID:", "-Call-ID", "+i: abc@sbc.example")
	f("accepted INVITE", "=INVITE tel:+498912345 SIP/2.0")
	f("accepted INVITE", "+Require: timer")
	f("accepted INVITE", "+Supported:")
	f("400", "CSeq: 1 BYE")
	f("400", "CSeq: 4294967296 INVITE")
	f("400", "+To: <sip:second@example>")
	f("400", "+CSeq: 1 INVITE")
	f("400", "Content-Length: 5")
	f("400", "Content-Length: -1")
	f("400", "-Contact")
	f("400", "Contact: *")
	f("400", "From: <sip:a@b>;tag=1, <sip:c@d>;tag=2")
	f("400", "To: \"unclosed <sip:a@b>")
	f("400", "=INVITE sip:+498912345@r1.example:99999 SIP/2.0")
	f("400", "=INVITE <sip:a@b> SIP/2.0")
	f("400", "=INVITE sip:a@b?Subject=x SIP/2.0")
	f("400", "+Session-Expires: soon")
	f("416", "=INVITE mailto:ann@example SIP/2.0")
	f("420", "+Require: timer, foo")
	f("483", "Max-Forwards: 0")
	f("483", "Max-Forwards: 000")
	f("accepted OPTIONS", "=OPTIONS sip:a@b SIP/2.0", "CSeq: 1 OPTIONS", "Max-Forwards: 0")
	f("501", "=FROBNICATE sip:a@b SIP/2.0", "CSeq: 1 INVITE")
	f("400", "-From")
	f("400", "-Call-ID", "-To")
	f("400", "Via: SIP/2.0/TCP 127.0.0.1;;,")
	f("505", "=INVITE sip:a@b SIP/3.0")
	f("405", "=NOTIFY sip:a@b SIP/2.0", "CSeq: 1 NOTIFY")
	f("501", "=FROBNICATE sip:a@b SIP/2.0", "CSeq: 1 FROBNICATE")
	f("406", "+Accept: text/plain")
	f("dropped", "-Via")
	f("dropped", "=ACK sip:a@b SIP/2.0")                          // CSeq says INVITE, but an ACK is never answered
	f("dropped", "Call-ID: a\nEvil: header")                      // would be echoed
	f("accepted INVITE", "+X-Folded: one\r\n two")                // RFC 3261 section 7.3.1
	f("accepted INVITE", "=INVITE sip:a@b;transport=tcp SIP/2.0") // parameters stay in the URI
	body := []byte(strings.Replace(string(invite("+Content-Type: text/html")), "Content-Length: 0", "Content-Length: 2", 1) + "hi")
	if got := outcome(body); got != "415" {
		t.Errorf("HTML body: %s", got)
	}
	short := mustRequest(t, invite("+Session-Expires: 60", "+Supported: timer"))
	if ref := Validate(short, Policy{MinSE: 90 * time.Second}); ref == nil || ref.Code != 422 || ref.Headers[0] != (Header{"Min-SE", "90"}) {
		t.Errorf("short session interval: %v", ref)
	}
}

func TestCallerAndDialled(t *testing.T) {
	f := func(caller, dialled string, edits ...string) {
		t.Helper()
		r := mustRequest(t, invite(edits...))
		if r.Caller() != caller || r.Dialled() != dialled {
			t.Errorf("%q: %q to %q, want %q to %q", edits, r.Caller(), r.Dialled(), caller, dialled)
		}
	}
	f("+4917600", "+498912345")
	f("+49555", "+498912345", "+P-Asserted-Identity: \"A, B\" <sip:+49555@x>, <tel:+49666>")
	f("+49666", "+498912345", "+P-Asserted-Identity: <tel:+49666>")
	f("anonymous", "+498912345", "From: <sip:anonymous@anonymous.invalid>;tag=1")
	f("+4917600", "+498912345", "=INVITE sip:r1.example SIP/2.0")
	f("+4917600", "+4930", "=INVITE tel:+4930;phone-context=x SIP/2.0")
}

func TestResponsesEchoAndFindTheirWay(t *testing.T) {
	r := mustRequest(t, invite("Via: SIP/2.0/TCP edge.example;branch=z9hG4bKedge;rport", "+Record-Route: <sip:e;lr>"))
	p := Respond(r, Flow{"tcp", "127.0.0.1:40000", "127.0.0.2:5060"}, "t1", NotFound, nil)
	res := mustResponse(t, p)
	want := []string{"SIP/2.0/TCP edge.example;branch=z9hG4bKedge;rport=40000;received=127.0.0.1", "SIP/2.0/TLS sbc.example:5061;branch=z9hG4bKsbc"}
	if got := res.Values("Via"); !reflect.DeepEqual(got, want) {
		t.Errorf("Via %q, want %q", got, want)
	}
	if res.Code != 404 || res.ToTag() != "t1" || res.FromTag() != "from1" || res.CallID() != "abc@sbc.example" {
		t.Errorf("response\n%s", p.Data)
	}
	// Over TCP: the connection, then the sent-by port at the address it came from.
	if p.Conn != "127.0.0.1:40000" || !reflect.DeepEqual(p.Hops, []Hop{{"tcp", "127.0.0.1:5060"}}) {
		t.Errorf("conn %q hops %v", p.Conn, p.Hops)
	}
	p = Respond(r, Flow{"udp", "127.0.0.1:40000", "127.0.0.2:5060"}, "t1", NotFound, nil)
	if p.Conn != "" || !reflect.DeepEqual(p.Hops, []Hop{{"udp", "127.0.0.1:40000"}}) {
		t.Errorf("over UDP: conn %q hops %v", p.Conn, p.Hops)
	}
	noRport := mustRequest(t, invite())
	p = Respond(noRport, Flow{"udp", "127.0.0.1:40000", ""}, "t1", NotFound, nil)
	if !reflect.DeepEqual(p.Hops, []Hop{{"udp", "127.0.0.1:5062"}}) {
		t.Errorf("without rport: hops %v", p.Hops)
	}
	named := mustRequest(t, invite("Via: SIP/2.0/UDP edge.example;branch=z9hG4bKedge;received=192.0.2.99"))
	p = Respond(named, Flow{"udp", "127.0.0.1:40000", ""}, "t1", NotFound, nil)
	if got := mustResponse(t, p).Get("Via"); got != "SIP/2.0/UDP edge.example;branch=z9hG4bKedge;received=127.0.0.1" || p.Hops[0].Addr != "127.0.0.1:5060" {
		t.Errorf("a sender's own received counts: %s to %v", got, p.Hops)
	}
	p = Respond(noRport, Flow{"udp", "127.0.0.1:40000", ""}, "t1", NotFound, nil)
	if got := mustResponse(t, p).Get("Via"); strings.Contains(got, "received") {
		t.Errorf("received added though sent-by is the source: %s", got)
	}
}

func TestRawMessageIsTheMessage(t *testing.T) {
	r := mustRequest(t, invite("+X-Trunkline-Trunk: sbc-a"))
	again := mustRequest(t, r.Raw())
	if again.Get("x-trunkline-trunk") != "sbc-a" || again.Branch() != r.Branch() || again.URI != r.URI {
		t.Errorf("message changed on its way:\n%s", again.Raw())
	}
}
