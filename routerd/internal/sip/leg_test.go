package sip

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const start = Time(1_700_000_000 * time.Second)

var edgeFlow = Flow{"tcp", "127.0.0.1:40000", "127.0.0.2:5060"}

func routerLocal() Local {
	return Local{
		Contact: "sip:c@127.0.0.2:5062;transport=tcp;n=r1", SentBy: "127.0.0.2:5060", Network: "tcp", Tag: "ours",
		Product: "trunkline", Headers: []Header{{"X-Trunkline-Call", "c"}},
		Outbound: []Hop{{"tcp", "127.0.0.1:5062"}, {"tcp", "127.0.0.9:5062"}}, MinSE: 90 * time.Second,
	}
}

// within makes an in-dialog request of the caller of invite().
func within(method string, cseq int, edits ...string) []byte {
	return invite(append([]string{
		"=" + method + " sip:c@127.0.0.2:5062;transport=tcp;n=r1 SIP/2.0", fmt.Sprintf("CSeq: %d %s", cseq, method),
		"To: <sip:+498912345@r1.example>;tag=ours", fmt.Sprintf("Via: SIP/2.0/TCP 127.0.0.1:5062;branch=z9hG4bKin%s%d", method, cseq),
	}, edits...)...)
}

// withBody adds a body to a message made by invite or within.
func withBody(data []byte, contentType, body string) []byte {
	s := strings.Replace(string(data), "Content-Length: 0", fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d", contentType, len(body)), 1)
	return []byte(s + body)
}

// talking is a server leg that was answered and acknowledged.
func talking(t testing.TB, edits ...string) *Leg {
	t.Helper()
	l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, withBody(invite(edits...), "application/sdp", "offer")), edgeFlow)
	l.Accept(start, []byte("answer"))
	o := l.Request(start, mustRequest(t, within("ACK", 1, "Call-ID: "+l.CallID())), edgeFlow)
	if l.State() != Confirmed || !o.Save || len(o.Send) != 0 {
		t.Fatalf("not confirmed by the ACK: %s %s", l.State(), show(o))
	}
	return l
}

// only is the one response in an Output.
func only(t testing.TB, o Output) *Response {
	t.Helper()
	if len(o.Send) != 1 {
		t.Fatalf("want one packet: %s", show(o))
	}
	return mustResponse(t, o.Send[0])
}

func TestFirstAnswerIsTryingAndNamesTheCall(t *testing.T) {
	_, o := NewServerLeg(start, routerLocal(), mustRequest(t, invite()), edgeFlow)
	res := only(t, o)
	if res.Code != 100 || o.Commit || res.ToTag() != "" || res.Get("X-Trunkline-Call") != "c" {
		t.Errorf("%s", show(o))
	}
}

func TestRouteSetOfServerLeg(t *testing.T) {
	l := talking(t, "+Record-Route: <sip:10.0.0.1:5062;transport=tcp;r2=on;lr>;x=1, <sip:10.0.0.2:5061;transport=tls;r2=on;lr>", "+Record-Route: <sip:sbc;lr>")
	o := l.Bye(start)
	bye := mustRequest(t, o.Send[0].Data)
	want := []string{"<sip:10.0.0.1:5062;transport=tcp;r2=on;lr>;x=1", "<sip:10.0.0.2:5061;transport=tls;r2=on;lr>", "<sip:sbc;lr>"}
	if !reflect.DeepEqual(bye.Values("Route"), want) || bye.URI != "sip:+4917600@sbc.example:5061;transport=tls" {
		t.Errorf("BYE\n%s", o.Send[0].Data)
	}
	hops := []Hop{{"tcp", "10.0.0.1:5062"}, {"tcp", "127.0.0.1:5062"}, {"tcp", "127.0.0.9:5062"}}
	if !reflect.DeepEqual(o.Send[0].Hops, hops) {
		t.Errorf("hops %v, want the top route, then the edges", o.Send[0].Hops)
	}
}

func TestStrictRouterGetsTheRequestURI(t *testing.T) {
	l := talking(t, "+Record-Route: <sip:10.0.0.1:5062;transport=tcp>, <sip:10.0.0.2;lr>")
	bye := mustRequest(t, l.Bye(start).Send[0].Data)
	if bye.URI != "sip:10.0.0.1:5062;transport=tcp" ||
		!reflect.DeepEqual(bye.Values("Route"), []string{"<sip:10.0.0.2;lr>", "<sip:+4917600@sbc.example:5061;transport=tls>"}) {
		t.Errorf("BYE\n%s", bye.Raw())
	}
}

func agentParams() ClientParams {
	return ClientParams{CallID: "2-77-c@trunkline.internal", Branch: NewBranch("77", "0"), URI: "sip:ann@192.0.2.7:5060;ob",
		Routes: []string{"<sip:flow1@127.0.0.1:5062;transport=tcp;lr;ob>"}, From: "<sip:+4917600@trunkline.internal>",
		To: "<sip:ann@trunkline.internal>", SDP: []byte("offer"), Headers: []Header{{"X-Queue", "sales"}}, AnswerIn: 3 * time.Second}
}

// answerTo makes the far end's response to a request of ours.
func answerTo(t testing.TB, p Packet, code int, tag string, sdp string, headers ...Header) *Response {
	t.Helper()
	req := mustRequest(t, p.Data)
	if sdp != "" {
		headers = append(headers, Header{"Content-Type", "application/sdp"})
	}
	return mustResponse(t, Respond(req, edgeFlow, tag, Refusal{code, ReasonPhrase(code), headers}, []byte(sdp)))
}

func TestClientLegUsesPathThenRecordRoute(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := mustRequest(t, o.Send[0].Data)
	if o.Commit || inv.URI != "sip:ann@192.0.2.7:5060;ob" || inv.Get("Route") != "<sip:flow1@127.0.0.1:5062;transport=tcp;lr;ob>" || inv.Get("X-Queue") != "sales" {
		t.Errorf("INVITE %s", show(o))
	}
	if !reflect.DeepEqual(o.Send[0].Hops, []Hop{{"tcp", "127.0.0.1:5062"}, {"tcp", "127.0.0.9:5062"}}) {
		t.Errorf("hops %v", o.Send[0].Hops)
	}
	_, again := NewClientLeg(start.Add(time.Hour), routerLocal(), agentParams())
	if !bytes.Equal(o.Send[0].Data, again.Send[0].Data) {
		t.Error("the same order gives another INVITE")
	}
	res := answerTo(t, o.Send[0], 200, "theirs", "answer", Header{"Contact", "<sip:ann@192.0.2.8>"},
		Header{"Record-Route", "<sip:10.0.0.2;lr>, <sip:127.0.0.1:5062;transport=tcp;lr>"})
	o = l.Response(start, res)
	ack := mustRequest(t, o.Send[0].Data)
	if !o.Commit || ack.URI != "sip:ann@192.0.2.8" || !reflect.DeepEqual(ack.Values("Route"), []string{"<sip:127.0.0.1:5062;transport=tcp;lr>", "<sip:10.0.0.2;lr>"}) {
		t.Errorf("ACK %s", show(o))
	}
	if n, _ := ack.CSeq(); n != 1 || ack.Branch() == inv.Branch() || ack.ToTag() != "theirs" {
		t.Errorf("ACK\n%s", ack.Raw())
	}
	if !reflect.DeepEqual(o.Events, []Event{Answered{SDP: []byte("answer")}}) {
		t.Errorf("events %v", o.Events)
	}
	repeat := l.Response(start, res)
	if repeat.Commit || len(repeat.Events) != 0 || !bytes.Equal(repeat.Send[0].Data, o.Send[0].Data) {
		t.Errorf("a repeated 200 gives %s", show(repeat))
	}
}

func TestSecondForkIsAcknowledgedAndHungUp(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := o.Send[0]
	l.Response(start, answerTo(t, inv, 200, "first", "answer", Header{"Contact", "<sip:a@192.0.2.1>"}))
	o = l.Response(start, answerTo(t, inv, 200, "second", "answer", Header{"Contact", "<sip:a@192.0.2.2>"}))
	if len(o.Send) != 2 || len(o.Events) != 0 {
		t.Fatalf("%s", show(o))
	}
	for i, method := range []string{"ACK", "BYE"} {
		r := mustRequest(t, o.Send[i].Data)
		if r.Method != method || r.ToTag() != "second" || r.URI != "sip:a@192.0.2.2" {
			t.Errorf("%s\n%s", method, r.Raw())
		}
	}
	if l.State() != Confirmed || l.RemoteTag() != "first" {
		t.Errorf("the first fork is disturbed: %s %s", l.State(), l.RemoteTag())
	}
}

func TestHungEdgeShowsByAnswerIn(t *testing.T) {
	l, _ := NewClientLeg(start, routerLocal(), agentParams())
	at, _ := l.Deadline()
	if at != start.Add(3*time.Second) {
		t.Fatalf("deadline %v", at.Sub(start))
	}
	o := l.Tick(at)
	if !reflect.DeepEqual(o.Events, []Event{Failed{Code: 408, Reason: "Request Timeout"}}) {
		t.Errorf("%s", show(o))
	}
}

func TestRefusalCarriesRetryAfter(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := mustRequest(t, o.Send[0].Data)
	o = l.Response(start, answerTo(t, o.Send[0], 503, "x", "", Header{"Retry-After", "30 (busy)"}))
	ack := mustRequest(t, o.Send[0].Data)
	if ack.Branch() != inv.Branch() || ack.ToTag() != "x" || ack.Get("Route") != inv.Get("Route") || ack.URI != inv.URI {
		t.Errorf("ACK of a refusal\n%s", ack.Raw())
	}
	if !reflect.DeepEqual(o.Events, []Event{Failed{Code: 503, Reason: "Service Unavailable", RetryAfter: 30}}) {
		t.Errorf("events %v", o.Events)
	}
}

func TestCancelAfterTakeoverKeepsBranchAndVia(t *testing.T) {
	l, o := NewClientLeg(start, routerLocal(), agentParams())
	inv := mustRequest(t, o.Send[0].Data)
	l.Response(start, answerTo(t, o.Send[0], 180, "theirs", ""))
	survivor := routerLocal()
	survivor.SentBy, survivor.Contact = "127.0.0.3:5060", "sip:c@127.0.0.3:5062"
	l = rebuild(t, l)
	if o := l.Resume(start, survivor); len(o.Send) != 0 {
		t.Fatalf("takeover of a ringing leg sends %s", show(o))
	}
	o = l.Cancel(start)
	cancel := mustRequest(t, o.Send[0].Data)
	if cancel.Method != "CANCEL" || cancel.Get("Via") != inv.Get("Via") || cancel.URI != inv.URI || cancel.Get("Route") != inv.Get("Route") || cancel.ToTag() != "" {
		t.Errorf("CANCEL\n%s", cancel.Raw())
	}
}

func TestInfoComesOnceAndInOrder(t *testing.T) {
	l := talking(t)
	info := mustRequest(t, withBody(within("INFO", 2), "application/dtmf-relay", "Signal=5"))
	o := l.Request(start, info, edgeFlow)
	if res := only(t, o); res.Code != 200 || !o.Commit || !reflect.DeepEqual(o.Events, []Event{Digits{Digits: "5", Serial: 1}}) {
		t.Errorf("INFO: %s", show(o))
	}
	l = rebuild(t, l) // the survivor gets the repeat
	l.Resume(start, routerLocal())
	o = l.Request(start, info, edgeFlow)
	if res := only(t, o); res.Code != 200 || len(o.Events) != 0 || o.Commit {
		t.Errorf("repeated INFO: %s", show(o))
	}
	o = l.Request(start, mustRequest(t, within("OPTIONS", 1)), edgeFlow)
	if res := only(t, o); res.Code != 500 {
		t.Errorf("lower CSeq: %d", res.Code)
	}
}

func TestRequestsInDialog(t *testing.T) {
	l := talking(t)
	f := func(code int, r *Request) *Response {
		t.Helper()
		res := only(t, l.Request(start, r, edgeFlow))
		if res.Code != code {
			t.Errorf("%s: %d, want %d", r.Method, res.Code, code)
		}
		return res
	}
	f(481, mustRequest(t, within("BYE", 2, "To: <sip:x>;tag=someone")))
	f(481, mustRequest(t, within("BYE", 2, `From: "Ann" <sip:+4917600@sbc.example>;tag=else`)))
	f(481, mustRequest(t, within("BYE", 2, "Call-ID: another")))
	f(481, mustRequest(t, within("CANCEL", 1)))
	f(482, mustRequest(t, invite("Via: SIP/2.0/TCP 127.0.0.9:5062;branch=z9hG4bKother")))
	res := f(200, mustRequest(t, within("OPTIONS", 2)))
	if res.Get("Allow") != Allow {
		t.Errorf("OPTIONS answered with Allow %q", res.Get("Allow"))
	}
	res = f(405, mustRequest(t, within("MESSAGE", 3)))
	if res.Get("Allow") != Allow {
		t.Errorf("405 with Allow %q", res.Get("Allow"))
	}
	f(200, mustRequest(t, within("UPDATE", 4, "Contact: <sip:moved@sbc2.example>")))
	o := l.Bye(start)
	if bye := mustRequest(t, o.Send[0].Data); bye.URI != "sip:moved@sbc2.example" {
		t.Errorf("target refresh lost: %s", bye.URI)
	}
	if o := l.Request(start, mustRequest(t, within("ACK", 9)), edgeFlow); len(o.Send) != 0 {
		t.Errorf("an ACK is answered: %s", show(o))
	}
	f(481, mustRequest(t, within("INFO", 10))) // our BYE is out
}

func TestRepeatedByeIsAnsweredAgain(t *testing.T) {
	l := talking(t)
	bye := mustRequest(t, within("BYE", 2))
	o := l.Request(start, bye, edgeFlow)
	if !o.Commit || only(t, o).Code != 200 || !reflect.DeepEqual(o.Events, []Event{Ended{"bye", 200}}) {
		t.Errorf("BYE: %s", show(o))
	}
	l = rebuild(t, l)
	o = l.Request(start.Add(time.Second), bye, edgeFlow)
	if only(t, o).Code != 200 || len(o.Events) != 0 {
		t.Errorf("repeated BYE: %s", show(o))
	}
}

func TestCallerComesBackThroughAnotherEdge(t *testing.T) {
	l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, invite("+Record-Route: <sip:edge-1;lr>")), edgeFlow)
	l.Progress(start, 180, nil)
	other := Flow{"tcp", "127.0.0.9:41000", "127.0.0.2:5060"}
	again := invite("Via: SIP/2.0/TCP 127.0.0.9:5062;branch=z9hG4bKedge2", "+Record-Route: <sip:edge-2;lr>")
	o := l.Request(start, mustRequest(t, again), other)
	if len(o.Send) != 2 || !o.Commit {
		t.Fatalf("%s", show(o))
	}
	old, now := mustResponse(t, o.Send[0]), mustResponse(t, o.Send[1])
	if old.Code != 482 || old.Branch() != "z9hG4bKedge" || now.Code != 180 || now.Branch() != "z9hG4bKedge2" || o.Send[1].Conn != other.Remote {
		t.Errorf("%s", show(o))
	}
	o = l.Accept(start, []byte("answer"))
	if ok := only(t, o); ok.Branch() != "z9hG4bKedge2" || ok.Get("Record-Route") != "<sip:edge-2;lr>" {
		t.Errorf("200 on the wrong branch: %s", show(o))
	}
	if o := l.Request(start, mustRequest(t, invite("=CANCEL sip:a@b SIP/2.0", "CSeq: 1 CANCEL")), edgeFlow); only(t, o).Code != 481 {
		t.Errorf("CANCEL of the old branch: %s", show(o))
	}
}

func TestSessionTimerIsAccepted(t *testing.T) {
	f := func(want, require string, edits ...string) {
		t.Helper()
		l, _ := NewServerLeg(start, routerLocal(), mustRequest(t, invite(edits...)), edgeFlow)
		res := only(t, l.Accept(start, []byte("answer")))
		if res.Get("Session-Expires") != want || res.Get("Require") != require {
			t.Errorf("%q: Session-Expires %q Require %q", edits, res.Get("Session-Expires"), res.Get("Require"))
		}
	}
	f("", "")
	f("", "", "+Supported: timer")
	f("1800;refresher=uac", "timer", "+Supported: timer", "+Session-Expires: 1800")
	f("1800;refresher=uac", "timer", "+Supported: timer", "+x: 1800;refresher=uac")
	f("1800;refresher=uas", "timer", "+Require: timer", "+Session-Expires: 1800;refresher=uas")
	f("1800;refresher=uas", "", "+Session-Expires: 1800") // a proxy asks for it, the caller can't refresh
}

func TestTakeoverSpreadsSessionTimers(t *testing.T) {
	var at []Time
	for i := range 50 {
		l := talking(t, "+Supported: timer", "+Session-Expires: 1800", fmt.Sprintf("Call-ID: call-%d", i))
		late := start.Add(time.Hour) // the whole cluster was down for long
		l = rebuild(t, l)
		if o := l.Resume(late, routerLocal()); len(o.Send) != 0 || len(o.Events) != 0 {
			t.Fatalf("takeover sends %s", show(o))
		}
		d, _ := l.Deadline()
		if d < late.Add(32*time.Second) || d > late.Add(42*time.Second) {
			t.Fatalf("due %v after takeover", d.Sub(late))
		}
		at = append(at, d)
	}
	slices.Sort(at)
	if n := len(slices.Compact(at)); n < 25 {
		t.Errorf("50 calls are due at only %d different times", n)
	}
}

func TestUpdateWithOfferIsAnsweredByTheCallFlow(t *testing.T) {
	l := talking(t)
	up := mustRequest(t, withBody(within("UPDATE", 2), "application/sdp", "offer2"))
	o := l.Request(start, up, edgeFlow)
	if len(o.Send) != 0 || !reflect.DeepEqual(o.Events, []Event{Reoffer{SDP: []byte("offer2")}}) {
		t.Fatalf("%s", show(o))
	}
	if res := only(t, l.Request(start, mustRequest(t, withBody(within("UPDATE", 3), "application/sdp", "offer3")), edgeFlow)); res.Code != 500 || res.Get("Retry-After") == "" {
		t.Errorf("a second offer gets %d, Retry-After %q", res.Code, res.Get("Retry-After"))
	}
	o = l.AnswerOffer(start, 200, []byte("answer2"))
	if res := only(t, o); res.Code != 200 || string(res.SDP()) != "answer2" || !o.Commit {
		t.Errorf("%s", show(o))
	}
	if res := only(t, l.Request(start, up, edgeFlow)); string(res.SDP()) != "answer2" {
		t.Errorf("repeated UPDATE gets %s", res.Raw())
	}
}

func TestRecordOfAStableLegIsSmall(t *testing.T) {
	l := talking(t)
	b, err := l.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 1024 {
		t.Errorf("%d bytes with 11 bytes of SDP", len(b))
	}
	var other Leg
	if err := other.UnmarshalBinary([]byte("no record")); err == nil {
		t.Error("garbage is a leg")
	}
}
