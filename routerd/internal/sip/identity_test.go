package sip

import (
	"slices"
	"testing"
)

func TestIdentityIsRead(t *testing.T) {
	f := func(want Identity, edits ...string) {
		t.Helper()
		if got := mustRequest(t, invite(append([]string{"From: <sip:+1@x>;tag=a"}, edits...)...)).Identity(); got != want {
			t.Errorf("%q\n got %+v\nwant %+v", edits, got, want)
		}
	}
	f(Identity{Number: "+1"})
	f(Identity{Number: "+2"}, "+P-Asserted-Identity: <sip:h@x>", "+P-Asserted-Identity: <tel:+3>", "P-Asserted-Identity: \"A\" <sip:+2@x>, <tel:+3>")
	f(Identity{Number: "+3"}, "+P-Asserted-Identity: <tel:+3>", "+Remote-Party-ID: <sip:+4@x>")
	f(Identity{Number: "+4", Private: true}, "+Remote-Party-ID: \"B\" <sip:+4@x>;party=calling;screen=yes;privacy=full")
	f(Identity{Number: "+1"}, "+Remote-Party-ID: <sip:+4@x>;party=called;privacy=full")
	f(Identity{Number: "+4"}, "+Remote-Party-ID: <sip:+4@x>;privacy=off")
	f(Identity{Number: "+3", Private: true}, "+P-Asserted-Identity: <tel:+3>", "+Privacy: id", "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a")
	f(Identity{Number: "+1", Private: true}, "+Privacy: critical;user")
	f(Identity{Number: "+1"}, "+Privacy: none")
	f(Identity{Number: "+1"}, "+Privacy: session;critical")
	f(Identity{Number: "+1", Private: true}, "+Privacy: \"what")
	f(Identity{Number: "anonymous"}, "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a")
	// Diverted twice: the party first called is the last value.
	f(Identity{Number: "+1", Diverting: "+6", Diversion: "no-answer"},
		"+Diversion: <sip:+5@x>;reason=unconditional;counter=1", "+Diversion: <sip:+6@x>;reason=No-Answer, <sip:+6@x>;reason=no-answer")
	f(Identity{Number: "+1"}, "+Diversion: <sip:+6@x>;reason=no-answer;privacy=full")
	f(Identity{Number: "+1"}, "+Diversion: <sip:+6@x")
	f(Identity{Number: "+1", Diverting: "+6", Diversion: "user-busy"},
		"+History-Info: <sip:+5@x;cause=486>;index=1.1, <sip:+6@x?Reason=SIP%3Bcause%3D302>;index=1")
	f(Identity{Number: "+1", Diverting: "+6", Diversion: "unconditional"},
		"+History-Info: <sip:+6@x?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22>;index=1, <sip:+5@x>;index=1.1")
	f(Identity{Number: "+1"}, "+History-Info: <sip:+6@x>;index=1")
	f(Identity{Number: "+1"}, "+History-Info: <sip:+6@x?Privacy=history>;index=1, <sip:+5@x>;index=1.1")
}

func TestIndexesOfHistoryAreInOrder(t *testing.T) {
	got := []string{"1.10", "1", "1.2.1", "1.2"}
	slices.SortFunc(got, compareIndex)
	if want := []string{"1", "1.2", "1.2.1", "1.10"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What is written of a call forwarded here is read back as what it was.
func TestForwardedCallsSayWhereTheyWereDiverted(t *testing.T) {
	h := ForwardedHeaders("+9", []string{"+5", "+6"}, "trunkline")
	var edits []string
	for _, v := range h {
		edits = append(edits, "+"+v.Name+": "+v.Value)
	}
	want := []string{"+Diversion: <sip:+5@trunkline;user=phone>;reason=unknown;counter=1", "+Diversion: <sip:+6@trunkline;user=phone>;reason=unknown;counter=1",
		"+History-Info: <sip:+6@trunkline;user=phone>;index=1", "+History-Info: <sip:+5@trunkline;user=phone>;index=1.1;mp=1",
		"+History-Info: <sip:+9@trunkline;user=phone>;index=1.1.1;mp=1.1"}
	if !slices.Equal(edits, want) {
		t.Errorf("written\n%q, want\n%q", edits, want)
	}
	for _, some := range [][]string{edits[:2], edits[2:]} {
		if i := mustRequest(t, invite(some...)).Identity(); i.Diverting != "+6" {
			t.Errorf("%q: diverted from %q", some, i.Diverting)
		}
	}
	if h := ForwardedHeaders("+9", nil, "trunkline"); h != nil {
		t.Errorf("a call that was not diverted says %v", h)
	}
}
