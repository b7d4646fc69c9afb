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
		"+Path: <sip:flow1@edge-1:5062;lr;ob>, <sip:edge-0;lr>", "+Expires: 90000", "+Supported: path, outbound", "+User-Agent: phone/1"))
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
		Path: []string{"<sip:flow1@edge-1:5062;lr;ob>", "<sip:edge-0;lr>"}, UserAgent: "phone/1", Outbound: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	res := mustResponse(t, RegisterOK(r, Flow{"tcp", "127.0.0.1:1", ""}, "tt", "trunkline", want.Contacts))
	if c := res.Values("Contact"); len(c) != 2 || c[0] != `<sip:ann@192.0.2.1:5060;transport=tcp>;expires=120;+sip.instance="<urn:uuid:1>";reg-id=1` {
		t.Errorf("Contact %q", c)
	}
	if res.Get("Path") == "" || res.Get("Require") != "outbound" || res.Get("Supported") != "path, outbound" || res.has("Service-Route") {
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
