package softphone

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestReadNetstring(t *testing.T) {
	f := func(in, want string, ok bool) {
		t.Helper()
		got, err := readNetstring(bufio.NewReader(strings.NewReader(in)))
		if (err == nil) != ok || string(got) != want {
			t.Errorf("readNetstring(%q) = %q, %v", in, got, err)
		}
	}
	f("3:abc,", "abc", true)
	f("0:,", "", true)
	f("3:abc;", "", false)
	f("x:abc,", "", false)
	f("-1:,", "", false)
	f("9999999999:", "", false)
	f("5:ab", "", false)
	if got := string(netstring([]byte("abc"))); got != "3:abc," {
		t.Errorf("netstring is %q", got)
	}
}

// phoneOn is a Phone whose control port is one end of a pipe.
func phoneOn(t *testing.T) (*Phone, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	p := &Phone{conn: ours, exited: make(chan struct{}), closed: make(chan struct{}), changed: make(chan struct{}), replies: map[string]chan reply{}}
	go p.read()
	t.Cleanup(func() { theirs.Close(); <-p.closed })
	return p, theirs
}

func TestEventsAreKeptForLaterAndFoundByMatch(t *testing.T) {
	p, far := phoneOn(t)
	go func() {
		_, _ = far.Write(netstring([]byte(`{"event":true,"type":"REGISTERING","class":"register"}`)))
		_, _ = far.Write(netstring([]byte(`{"event":true,"type":"REGISTER_OK","class":"register","param":"200 OK"}`)))
		_, _ = far.Write(netstring([]byte(`{"event":true,"type":"CALL_ESTABLISHED","class":"call","id":"2-1-abc@x"}`)))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	e, err := p.Await(ctx, func(e Event) bool { return e.Type == "CALL_ESTABLISHED" })
	if err != nil || e.ID != "2-1-abc@x" || e.At.IsZero() {
		t.Fatalf("event %+v, %v", e, err)
	}
	if e, err := p.Await(ctx, func(e Event) bool { return e.Type == "REGISTER_OK" }); err != nil || e.Param != "200 OK" {
		t.Errorf("the earlier REGISTER_OK is gone: %+v, %v", e, err)
	}
}

func TestDoMatchesItsReply(t *testing.T) {
	p, far := phoneOn(t)
	go func() {
		in := bufio.NewReader(far)
		msg, err := readNetstring(in)
		if err != nil || !strings.Contains(string(msg), `"command":"callstat"`) {
			return
		}
		_, _ = far.Write(netstring([]byte(`{"event":true,"type":"OTHER"}`)))
		_, _ = far.Write(netstring([]byte(`{"response":true,"ok":true,"data":"one call","token":"1"}`)))
		if _, err := readNetstring(in); err == nil {
			_, _ = far.Write(netstring([]byte(`{"response":true,"ok":false,"data":"no such command","token":"2"}`)))
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if got, err := p.Do(ctx, "callstat", ""); err != nil || got != "one call" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := p.Do(ctx, "nonsense", ""); err == nil {
		t.Error("a refused command gave no error")
	}
}

func TestTheAccountDemandsSRTPAndGoesThroughTheEdge(t *testing.T) {
	cfg := Config{User: "bea", Password: "pw", Domain: "trunkline.internal", Edge: netip.MustParseAddrPort("127.0.0.1:5070"), Transport: "tcp"}
	want := `<sip:bea@trunkline.internal;transport=tcp>;auth_user=bea;auth_pass=pw;outbound="sip:127.0.0.1:5070;transport=tcp";regint=60;answermode=auto;mediaenc=srtp-mand;audio_codecs=pcma,opus/48000/2;ptime=20` + "\n"
	if got := accountLine(cfg); got != want {
		t.Errorf("account\n%s want\n%s", got, want)
	}
}
