package sip

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

var regPolicy = RegistrarPolicy{Min: 60 * time.Second, Default: 600 * time.Second, Max: time.Hour}

func TestRegisterIsRead(t *testing.T) {
	r := mustRequest(t, register(
		`Contact: "Ann, desk" <sip:ann@192.0.2.1:5060;transport=tcp>;expires=120;+sip.instance="<urn:uuid:1>";reg-id=1, <sip:ann@192.0.2.2>;q=0.5`,
		"+Path: <sip:edge-0;lr>, <sip:flow1@edge-1:5062;lr;ob>", "+Expires: 90000", "+Supported: path, outbound", "+User-Agent: phone/1"))
	got, ref := ParseRegister(r, regPolicy)
	if ref != nil {
		t.Fatal(ref)
	}
	want := Registration{
		User: "ann", Domain: "trunkline", CallID: "abc@sbc.example", CSeq: 7,
		Contacts: []Binding{
			{URI: "sip:ann@192.0.2.1:5060;transport=tcp", Expires: 120 * time.Second, Instance: "<urn:uuid:1>", RegID: 1},
			{URI: "sip:ann@192.0.2.2", Expires: time.Hour},
		},
		Path: []string{"<sip:edge-0;lr>", "<sip:flow1@edge-1:5062;lr;ob>"}, UserAgent: "phone/1", Outbound: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	res := mustResponse(t, RegisterOK(r, Flow{"tcp", "127.0.0.1:1", ""}, "tt", "trunkline", want.Contacts))
	if c := res.Values("Contact"); len(c) != 2 || c[0] != `<sip:ann@192.0.2.1:5060;transport=tcp>;expires=120;+sip.instance="<urn:uuid:1>";reg-id=1` {
		t.Errorf("Contact %q", c)
	}
	if res.Get("Flow-Timer") != "60" || res.Get("Path") == "" || res.Get("Require") != "outbound" || res.Get("Supported") != "path, outbound" || res.has("Service-Route") {
		t.Errorf("answer\n%s", res.Raw())
	}
}

func TestRegisterRemovesAll(t *testing.T) {
	got, ref := ParseRegister(mustRequest(t, register("Contact: *", "+Expires: 0")), regPolicy)
	if ref != nil || !got.RemoveAll || len(got.Contacts) != 0 {
		t.Errorf("%+v %v", got, ref)
	}
	got, ref = ParseRegister(mustRequest(t, register("-Contact")), regPolicy)
	if ref != nil || got.RemoveAll || len(got.Contacts) != 0 {
		t.Errorf("query: %+v %v", got, ref)
	}
	got, ref = ParseRegister(mustRequest(t, register("Contact: <sip:a@b>;expires=0")), regPolicy)
	if ref != nil || len(got.Contacts) != 1 || got.Contacts[0].Expires != 0 {
		t.Errorf("one: %+v %v", got, ref)
	}
}

func TestRegisterRefusals(t *testing.T) {
	f := func(code int, edits ...string) {
		t.Helper()
		_, ref := ParseRegister(mustRequest(t, register(edits...)), regPolicy)
		if ref == nil || ref.Code != code {
			t.Errorf("%q: %v, want %d", edits, ref, code)
		}
	}
	f(423, "Contact: <sip:a@b>;expires=10")
	f(423, "+Expires: 59")
	f(400, "Contact: *")
	f(400, "Contact: *", "+Expires: 60")
	f(400, "Contact: *, <sip:a@b>", "+Expires: 0")
	f(400, "Contact: <mailto:a@b>")
	f(400, `Contact: <sip:a@b>;+sip.instance="<urn:uuid:1>";reg-id=0`)
	f(400, "+Expires: never")
	f(404, "To: <urn:service:x>")
	f(404, "To: <sip:trunkline>")
	_, ref := ParseRegister(mustRequest(t, register("+Expires: 59")), regPolicy)
	if ref.Headers[0] != (Header{"Min-Expires", "60"}) {
		t.Errorf("Min-Expires missing: %v", ref.Headers)
	}
	bad := mustRequest(t, register("+Require: gruu"))
	if ref := Validate(bad, Policy{}); ref == nil || ref.Code != 420 || !strings.Contains(ref.Headers[0].Value, "gruu") {
		t.Errorf("Require: gruu: %v", ref)
	}
}

// RFC 5626 section 6.
func TestFlowsNeedAFirstHopThatKeepsThem(t *testing.T) {
	flow := `Contact: <sip:ann@192.0.2.1>;+sip.instance="<urn:uuid:1>";reg-id=2`
	f := func(code, regID int, edits ...string) {
		t.Helper()
		got, ref := ParseRegister(mustRequest(t, register(append([]string{flow}, edits...)...)), regPolicy)
		if code != 0 {
			if ref == nil || ref.Code != code {
				t.Errorf("%q: %v, want %d", edits, ref, code)
			}
			return
		}
		if ref != nil || got.Contacts[0].RegID != regID || got.Contacts[0].Instance == "" {
			t.Errorf("%q: %+v %v, want reg-id %d", edits, got.Contacts, ref, regID)
		}
	}
	ob, lacks := "+Path: <sip:edge-1;lr;received=sip:192.0.2.9:1;ob>", "+Path: <sip:edge-1;lr>"
	f(0, 2, ob, "+Supported: path, outbound")
	f(0, 0, ob, "+Supported: path")
	f(0, 0, lacks)
	f(439, 0, lacks, "+Supported: outbound")
	f(439, 0, "+Supported: outbound")
	f(439, 0, "+Path: <sip:edge-1;lr;ob>, <sip:other;lr>", "+Supported: outbound")
	f(0, 2, lacks, "+Supported: outbound", "+Expires: 0") // what is there can be taken away
	two := `Contact: <sip:ann@192.0.2.1>;+sip.instance="<urn:uuid:1>";reg-id=1, <sip:ann@192.0.2.1>;+sip.instance="<urn:uuid:1>";reg-id=2`
	f(400, 0, two, ob, "+Supported: outbound")
	f(400, 0, "+Path: "+strings.Repeat("<sip:p;lr>, ", 8)+"<sip:edge-1;lr;ob>")
}

func TestTheSourceOfARegistration(t *testing.T) {
	f := func(want string, path ...string) {
		t.Helper()
		if got := Source(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	f("192.0.2.9", "<sip:127.0.0.2:5062;lr;received=sip:192.0.2.9:5060%3Btransport%3Dtls;ob>")
	f("192.0.2.9", "<sip:proxy;lr>", "<sip:127.0.0.2:5062;lr;received=sip:192.0.2.9:5060>")
	f("", "<sip:127.0.0.2:5062;lr>")
	f("", "<sip:127.0.0.2;lr;received=%zz>")
	f("")
}
