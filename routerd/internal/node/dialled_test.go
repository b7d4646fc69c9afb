package node

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// phoneInvite is ann's INVITE; with a digest it answers the challenge.
func (b *callBench) phoneInvite(to, callID string, cseq int, auth string) *sip.Request {
	b.Helper()
	if auth != "" {
		auth = "Authorization: " + auth + "\n"
	}
	return parse(b.T, fmt.Sprintf(`
INVITE sip:%s@trunkline SIP/2.0
Via: SIP/2.0/TCP 127.0.0.2:5062;branch=z9hG4bKphone%s%d
Max-Forwards: 70
From: <sip:ann@trunkline>;tag=phone
To: <sip:%s@trunkline>
Call-ID: %s
CSeq: %d INVITE
Contact: <sip:ann@127.0.0.7:5060>
%sContent-Type: application/sdp
Content-Length: %d

%s`, to, callID, cseq, to, callID, cseq, auth, len(offerSDP), offerSDP)).(*sip.Request)
}

// digestAnswer answers a challenge with MD5 and a password.
func digestAnswer(challenge, user, password, method, uri string) string {
	nonce := challenge[strings.Index(challenge, `nonce="`)+7:]
	nonce = nonce[:strings.IndexByte(nonce, '"')]
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	response := h(h(user+":trunkline:"+password) + ":" + nonce + ":00000001:c:auth:" + h(method+":"+uri))
	return fmt.Sprintf(`Digest username="%s", realm="trunkline", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c", algorithm=MD5, response="%s"`,
		user, nonce, uri, response)
}

// authentic has the node know ann's password.
func (b *callBench) authentic() {
	b.n.auth = &sip.Authenticator{Realm: "trunkline", Secret: []byte("secret"), HA1: func(user string, alg sip.Algorithm) (string, bool) {
		return sip.HA1(sip.MD5, "ann", "trunkline", "pw"), user == "ann" && alg == sip.MD5
	}}
	b.n.actors = map[acd.CallID]*actor{b.a.call: b.a}
}

// work has the actor do what its mailbox holds.
func (b *callBench) work() (n int) {
	for msg, ok := b.a.box.take(); ok; msg, ok = b.a.box.take() {
		b.a.handle(msg)
		n++
	}
	return n
}

// TestAnAgentDialsBesideItsCall: challenged, then taken by the actor of the call the
// agent talks in; answered when bob answers; REFER with Replaces joins the two.
func TestAnAgentDialsBesideItsCall(t *testing.T) {
	b := newCallBench(t)
	ann := b.staffed(acd.Permit{Agents: true})
	b.authentic()
	flow := sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"}
	b.n.agentInvited(b.phoneInvite("bob", "consult@phone", 1, ""), flow)
	if got := b.codes("INVITE"); len(got) != 1 || got[0] != 401 || b.work() != 0 {
		t.Fatalf("answered %v", got)
	}
	res := b.lastResponse()
	wrong := digestAnswer(res.Get("WWW-Authenticate"), "ann", "guess", "INVITE", "sip:bob@trunkline")
	b.n.agentInvited(b.phoneInvite("bob", "consult@phone", 2, wrong), flow)
	if got := b.codes("INVITE"); got[len(got)-1] != 401 || b.work() != 0 {
		t.Fatalf("a wrong password is answered %v", got)
	}
	right := digestAnswer(res.Get("WWW-Authenticate"), "ann", "pw", "INVITE", "sip:bob@trunkline")
	b.n.agentInvited(b.phoneInvite("bob", "consult@phone", 3, right), flow)
	if b.work() != 1 {
		t.Fatal("the INVITE did not come to the actor of ann's call")
	}
	b.want("acd.AgentDialled")
	family := b.log.machine.Family(b.a.call)
	if len(family) != 2 || family[1].Dialler != "ann" || family[1].State != acd.CallHunting {
		t.Fatalf("beside the call: %+v", family)
	}
	mine, bob := family[1].Caller, family[1].Legs[1]
	b.n.agentInvited(b.phoneInvite("bob", "consult@phone", 3, right), flow) // a repeat is the same call
	b.work()
	b.want("acd.AgentDialled")

	b.give(50, acd.RingAgent{Leg: bob.ID, Agent: "bob", Contacts: bob.Contacts, From: "ann", To: "bob"})
	b.answer(180, "")
	b.give(51, acd.TellProgress{Leg: mine, Code: 180})
	b.answer(200, offerSDP)
	b.give(52, acd.AnswerCall{Leg: mine})
	if got := b.codes("INVITE"); got[len(got)-2] != 180 || got[len(got)-1] != 200 {
		t.Fatalf("ann's INVITE is answered %v", got)
	}
	l := b.a.legs[mine]
	ack := b.from(mine, "ACK", 3)
	b.a.handle(ack)
	if l.State() != sip.Confirmed {
		t.Fatalf("ann's leg is %s", l.State())
	}
	replaces := fmt.Sprintf("consult%%40phone%%3Bto-tag%%3D%s%%3Bfrom-tag%%3Dphone", l.LocalTag())
	b.a.handle(b.from(ann, "REFER", 2, "Refer-To: <sip:bob@trunkline?Replaces="+replaces+">"))
	c, _ := b.log.machine.Call(b.a.call)
	if c.AgentLeg != bob.ID || c.Agent != "bob" || c.Referral.Code != 200 {
		t.Fatalf("after the REFER: %+v", c)
	}
	// The next owner finds all it needs in the log: what was asked is told, both of
	// ann's legs can be ended.
	b.a = &actor{n: b.n, call: b.a.call, box: newMailbox()}
	b.a.takeUp()
	b.wantFrags("100", "100", "200*")
	b.give(53, acd.Hangup{Leg: ann, Cause: acd.CauseTransferred})
	b.give(54, acd.Hangup{Leg: mine, Cause: acd.CauseJoined})
	byes := map[string]bool{}
	for _, p := range b.sent {
		if msg, _ := sip.Parse(p.Data); strings.HasPrefix(string(p.Data), "BYE ") {
			byes[msg.CallID()] = true
		}
	}
	if len(byes) != 2 || !byes["consult@phone"] {
		t.Errorf("BYE in %v", byes)
	}
	if b.a.legs[bob.ID] == nil || b.a.legs[bob.ID].State() != sip.Confirmed {
		t.Error("bob's leg is gone")
	}
}

// lastResponse is the newest response that was sent.
func (b *callBench) lastResponse() *sip.Response {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.sent) - 1; i >= 0; i-- {
		if msg, _ := sip.Parse(b.sent[i].Data); msg != nil {
			if res, ok := msg.(*sip.Response); ok {
				return res
			}
		}
	}
	b.Fatal("nothing was answered")
	return nil
}

// TestAReplacesOfSomebodyElseJoinsNothing: a dialog that is not of the same agent's
// two calls is as unknown as one that never was.
func TestAReplacesOfSomebodyElseJoinsNothing(t *testing.T) {
	b := newCallBench(t)
	ann := b.staffed(acd.Permit{Agents: true})
	b.a.handle(b.from(ann, "REFER", 2, "Refer-To: <sip:bob@trunkline?Replaces=other%3Bto-tag%3D1%3Bfrom-tag%3D2>"))
	caller := b.a.legs[acd.CallerLeg]
	b.a.handle(b.from(ann, "REFER", 3, fmt.Sprintf("Refer-To: <sip:bob@trunkline?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>",
		caller.CallID(), caller.LocalTag(), caller.RemoteTag())))
	b.wantFrags("100", "481*", "100", "481*")
}

// TestARefusedDialIsAnswered: the log has no call by which the refusal could be
// proved to be this router's, and it is sent all the same, however slow the log is.
func TestARefusedDialIsAnswered(t *testing.T) {
	b := newCallBench(t)
	b.staffed(acd.Permit{})
	a := &actor{n: b.n, call: "dialled", box: newMailbox()}
	a.takeUp()
	m := agentInvite{invite: b.phoneInvite("+4930123456", "dial@phone", 1, ""), agent: "bob", call: "dialled",
		flow: sip.Flow{Network: "tcp", Remote: "127.0.0.2:5062", Local: "127.0.0.1:5060"}}
	a.dialOut(m)
	if got := b.codes("INVITE"); len(got) != 1 || got[0] != 403 || a.stale {
		t.Errorf("answered %v, stale: %v; want 403", got, a.stale)
	}
}
