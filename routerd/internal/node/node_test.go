package node

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/sip"
)

func parse(t *testing.T, text string) sip.Message {
	t.Helper()
	msg, err := sip.Parse([]byte(strings.ReplaceAll(strings.TrimLeft(text, "\n"), "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// Whatever belongs to a call is found by its Call-ID and tags, on any router.
func TestEveryMessageOfACallFindsIt(t *testing.T) {
	n := &Node{conf: &config.Config{ClusterHost: "trunkline.internal"}}
	caller := callIDOf("abc@sbc", "fromtag")
	f := func(what, start, from, to, callID, cseq string, want acd.CallID) {
		t.Helper()
		msg := parse(t, fmt.Sprintf(`
%s
Via: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1
Max-Forwards: 70
From: <sip:a@x>%s
To: <sip:b@y>%s
Call-ID: %s
CSeq: %s
Contact: <sip:a@x>
Content-Length: 0

`, start, from, to, callID, cseq))
		if got := n.callOf(msg); got != want {
			t.Errorf("%s: call %q, want %q", what, got, want)
		}
	}
	f("the INVITE", "INVITE sip:+7495@x SIP/2.0", ";tag=fromtag", "", "abc@sbc", "1 INVITE", caller)
	f("the caller's BYE", "BYE sip:c@x SIP/2.0", ";tag=fromtag", ";tag=ours", "abc@sbc", "2 BYE", caller)
	f("the answer to our BYE", "SIP/2.0 200 OK", ";tag=ours", ";tag=fromtag", "abc@sbc", "1 BYE", caller)
	f("another dialog", "BYE sip:c@x SIP/2.0", ";tag=other", ";tag=ours", "abc@sbc", "2 BYE", callIDOf("abc@sbc", "other"))
	agentLeg := "2-77.0.1-" + string(caller) + "@trunkline.internal"
	ours := ";tag=" + sip.NewTag(agentLeg)
	f("an agent's answer", "SIP/2.0 180 Ringing", ours, ";tag=phone", agentLeg, "1 INVITE", caller)
	f("an agent's BYE", "BYE sip:c@x SIP/2.0", ";tag=phone", ours, agentLeg, "1 BYE", caller)
	f("an INVITE that took our Call-ID", "INVITE sip:c@x SIP/2.0", ";tag=phone", "", agentLeg, "1 INVITE", callIDOf(agentLeg, "phone"))
}

func TestCallersNumberIsSafeInAURI(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := userPart(in); got != want {
			t.Errorf("userPart(%q) = %q, want %q", in, got, want)
		}
	}
	f("+74951112233", "+74951112233")
	f("evil>;tag=1\r\nX: y", "eviltag1Xy")
	f("", "anonymous")
}

func TestNumbersAreMasked(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := mask(in); got != want {
			t.Errorf("mask(%q) = %q, want %q", in, got, want)
		}
	}
	f("+74951112233", "********2233")
	f("100", "100")
}

func TestOnlyTheRoleOpensTheDoor(t *testing.T) {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "m1"}, DNSNames: []string{"m1.worker.trunkline.internal"}}
	if err := CheckRole(cert, roleWorker); err != nil {
		t.Error(err)
	}
	for _, role := range []string{roleRouter, roleOperator} {
		if CheckRole(cert, role) == nil {
			t.Errorf("a worker's certificate passed for %s", role)
		}
	}
}

func TestFlowSurvivesBeingPassed(t *testing.T) {
	in := sip.Flow{Network: "tcp", Remote: "127.0.0.1:5062", Local: "127.0.0.2:5060"}
	out, err := decodeFlow(encodeFlow(in))
	if err != nil || out != in {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := decodeFlow("sctp a b"); err == nil {
		t.Error("an unknown network was taken")
	}
}

func TestMailboxKeepsOrderAndRefusesAfterItsEnd(t *testing.T) {
	m := newMailbox()
	for i := range 3 {
		m.put(i)
	}
	if m.closeIfEmpty() {
		t.Fatal("closed with messages inside")
	}
	for i := range 3 {
		if got, ok := m.take(); !ok || got != i {
			t.Errorf("took %v, want %d", got, i)
		}
	}
	if !m.closeIfEmpty() || m.put(4) {
		t.Error("an ended mailbox took a message")
	}
}

// Machine time as a node sees it follows the log, not the wall.
func TestMachineTimeFollowsTheLog(t *testing.T) {
	n := &Node{machine: acd.New(), deadlineMoved: make(chan struct{}, 1)}
	stamp := acd.Time(time.Now().Add(-time.Hour).UnixNano())
	n.appliedStamp, n.appliedAt = stamp, time.Now()
	if d := n.machineTime().Sub(stamp); d < 0 || d > time.Minute {
		t.Errorf("machine time is %v past the last stamp", d)
	}
}

// A leader that sees none of the workers is cut off; one that sees some is not.
func TestAWorkersDeathIsNotTheLeadersOwnTrouble(t *testing.T) {
	known := map[acd.WorkerID]acd.Worker{
		"m1": {ID: "m1", Alive: true}, "m2": {ID: "m2", Alive: true}, "m3": {ID: "m3", Alive: true}, "m4": {ID: "m4"},
	}
	f := func(gone string, want int) {
		t.Helper()
		if got := lostWorkers(known, func(id acd.WorkerID) bool { return strings.Contains(gone, string(id)) }); len(got) != want {
			t.Errorf("without %s: lost %v, want %d", gone, got, want)
		}
	}
	f("m1", 1)
	f("m4", 0)
	f("m1 m2", 0)
	f("m1 m2 m3", 0)
	delete(known, "m3")
	f("m2", 1)
	f("m1 m2", 0)
	delete(known, "m2")
	f("m1", 1) // the only one: nothing is lost by believing it
}

// A cluster takes calls once it has a routing tree and a media worker that lives.
func TestNobodyIsReadyWithoutATreeAndAWorker(t *testing.T) {
	m, index := acd.New(), uint64(0)
	f := func(want string, bodies ...acd.Body) {
		t.Helper()
		for _, b := range bodies {
			index++
			m.Apply(index, acd.Command{Body: b})
		}
		got := ""
		if err := unserved(m); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q is missing, want %q", got, want)
		}
	}
	f("no routing tree was ever applied")
	f("no routing tree was ever applied", acd.WorkerStarted{Worker: "m1", Incarnation: 1, Addresses: []string{"127.0.0.9"}})
	f("", acd.ConfigApplied{})
	f("no media worker is known", acd.WorkerDied{Worker: "m1", Incarnation: 1})
}
