package sip

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func key(serial uint64, sign byte) Key { return Key{From: "1", Serial: serial, Sign: sign} }

// informsWith sends a key that must go out.
func informsWith(t *testing.T, l *Leg, k Key) Packet {
	t.Helper()
	o := l.Inform(start, k)
	if len(o.Send) != 1 || mustRequest(t, o.Send[0].Data).Method != "INFO" {
		t.Fatalf("%+v: %s", k, show(o))
	}
	return o.Send[0]
}

func wantInformed(t *testing.T, o Output, serial uint64, code int) {
	t.Helper()
	if !reflect.DeepEqual(o.Events, []Event{Informed{From: "1", Serial: serial, Code: code}}) {
		t.Errorf("%s, want key %d to end with %d", show(o), serial, code)
	}
}

// One at a time: the next key waits for the answer to the one before.
func TestKeysGoOutOneAfterTheOther(t *testing.T) {
	l := talking(t)
	o := l.Inform(start, Key{From: "1", Serial: 1, Sign: '5', Duration: 250 * time.Millisecond})
	if !o.Commit || len(o.Send) != 1 {
		t.Fatalf("%s", show(o))
	}
	first := mustRequest(t, o.Send[0].Data)
	if first.Get("Content-Type") != "application/dtmf-relay" || string(first.Body()) != "Signal=5\r\nDuration=250\r\n" {
		t.Errorf("%s", first.Raw())
	}
	for _, k := range []Key{key(1, '5'), key(2, '6')} {
		if o := l.Inform(start, k); len(o.Send)+len(o.Events) != 0 {
			t.Errorf("%+v goes out while another is: %s", k, show(o))
		}
	}
	if o := l.Response(start, answerTo(t, o.Send[0], 100, "far", "")); len(o.Events) != 0 {
		t.Errorf("a provisional answer: %s", show(o))
	}
	wantInformed(t, l.Response(start, answerTo(t, o.Send[0], 200, "far", "")), 1, 200)
	if o := l.Response(start, answerTo(t, o.Send[0], 200, "far", "")); len(o.Events) != 0 {
		t.Errorf("a repeated answer: %s", show(o))
	}
	p := informsWith(t, l, key(2, '#'))
	second := mustRequest(t, p.Data)
	n1, _ := first.CSeq()
	if n2, _ := second.CSeq(); n2 != n1+1 || string(second.Body()) != "Signal=#\r\nDuration=160\r\n" {
		t.Errorf("%s", second.Raw())
	}
}

// No key is in a record, at no moment.
func TestRecordsHoldNoKeys(t *testing.T) {
	l := talking(t)
	for i, code := range []int{200, 415, 408} {
		p := informsWith(t, l, Key{From: "1", Serial: uint64(i + 1), Sign: 'D', Duration: 4929 * time.Millisecond})
		b, err := l.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("Signal")) || bytes.Contains(b, []byte("4929")) {
			t.Errorf("the record holds a key: %q", b)
		}
		l.Response(start, answerTo(t, p, code, "far", "", Header{"Accept", "application/dtmf"}))
		l.informs = nil
	}
}

// The owner dies with a key out: the next one sends the same bytes, though it
// answers under another address, and does not wait long for an answer that went
// to the dead one.
func TestAKeyGoesOnAfterTakeover(t *testing.T) {
	l := talking(t)
	before := informsWith(t, l, key(3, '7'))
	l = rebuild(t, l)
	other := routerLocal()
	other.SentBy, other.Contact = "127.0.0.3:5060", "sip:c@127.0.0.3:5062;transport=tcp;n=r2"
	at := start.Add(time.Second)
	if o := l.Resume(at, other); len(o.Send) != 0 {
		t.Fatalf("takeover sends %s", show(o))
	}
	o := l.Inform(at, key(3, '7'))
	if o.Commit || len(o.Send) != 1 || !bytes.Equal(o.Send[0].Data, before.Data) {
		t.Fatalf("sent\n%s, want the bytes of before\n%s", show(o), before.Data)
	}
	for l.informs != nil {
		d, _ := l.Deadline()
		o, at = l.Tick(d), d
	}
	wantInformed(t, o, 3, 408)
	if d := at.Sub(start.Add(time.Second)); d != 2*time.Second {
		t.Errorf("given up after %v", d)
	}
}

// The key that was out is dealt with as far as its leg knows: the next one is
// another request.
func TestTheNextKeyAfterTakeoverIsAnother(t *testing.T) {
	l := talking(t)
	before := mustRequest(t, informsWith(t, l, key(3, '7')).Data)
	l = rebuild(t, l)
	l.Resume(start, routerLocal())
	n1, _ := before.CSeq()
	for i, k := range []Key{key(4, '7'), {From: "2", Serial: 4, Sign: '7'}} {
		after := mustRequest(t, informsWith(t, l, k).Data)
		if n2, _ := after.CSeq(); n2 != n1+1+uint32(i) {
			t.Errorf("%+v: CSeq %d after %d", k, n2, n1)
		}
		l.informs = nil
	}
}

func TestFarEndsThatRefuseKeys(t *testing.T) {
	f := func(code int, again bool, headers ...Header) {
		t.Helper()
		l := talking(t)
		p := informsWith(t, l, key(1, '1'))
		wantInformed(t, l.Response(start, answerTo(t, p, code, "far", "", headers...)), 1, code)
		l = rebuild(t, l)
		o := l.Inform(start, key(2, '2'))
		if again != (len(o.Send) == 1) {
			t.Errorf("after %d the next key: %s", code, show(o))
		}
		if !again {
			wantInformed(t, o, 2, code)
		}
	}
	f(200, true)
	f(400, true)
	f(503, true)
	f(405, false)
	f(501, false)
	f(415, false)
	f(415, false, Header{"Accept", "text/plain"})

	l := talking(t) // it takes the older kind
	p := informsWith(t, l, key(1, '*'))
	o := l.Response(start, answerTo(t, p, 415, "far", "", Header{"Accept", "text/plain, application/DTMF"}))
	if len(o.Events) != 0 || !o.Commit || len(o.Send) != 1 {
		t.Fatalf("%s", show(o))
	}
	if req := mustRequest(t, o.Send[0].Data); req.Get("Content-Type") != "application/dtmf" || string(req.Body()) != "*" {
		t.Errorf("%s", req.Raw())
	}
	wantInformed(t, l.Response(start, answerTo(t, o.Send[0], 200, "far", "")), 1, 200)
	l = rebuild(t, l)
	if req := mustRequest(t, informsWith(t, l, key(2, '2')).Data); string(req.Body()) != "2" {
		t.Errorf("the next one: %s", req.Raw())
	}
}

// A far end that knows no such dialog ends the leg; one that says nothing is not
// waited for with every key.
func TestKeysThatAreNotAnswered(t *testing.T) {
	l := talking(t)
	p := informsWith(t, l, key(1, '1'))
	o := l.Response(start, answerTo(t, p, 481, "far", ""))
	if !o.Commit || len(o.Events) != 2 || l.State() != Terminated {
		t.Errorf("481: %s", show(o))
	}
	wantInformed(t, l.Inform(start, key(2, '1')), 2, 481)

	l = talking(t)
	informsWith(t, l, key(1, '1'))
	sent := 0
	for l.informs != nil {
		d, _ := l.Deadline()
		o = l.Tick(d)
		sent += len(o.Send)
	}
	wantInformed(t, o, 1, 408)
	if sent == 0 {
		t.Error("never sent again")
	}
	wantInformed(t, l.Inform(start, key(2, '2')), 2, 408)

	l = talking(t)
	informsWith(t, l, key(1, '1'))
	l.Bye(start)
	if d, ok := l.Deadline(); !ok || l.informs != nil {
		t.Errorf("after BYE the key is still out: %v", d)
	}
	wantInformed(t, l.Inform(start, key(1, '1')), 1, 481)
}

// Keys that passed to the connected leg are numbered and mean nothing here.
func TestPassedKeysAreLeftOut(t *testing.T) {
	l := talking(t)
	o := l.Heard(4, "1--2")
	if digitsOf(o) != "12" || l.HeardUpTo() != 4 {
		t.Errorf("%s", show(o))
	}
	if o := l.Heard(6, "--"); o.Commit || len(o.Events) != 0 || l.HeardUpTo() != 6 {
		t.Errorf("%s", show(o))
	}
	if o := l.Took(9); !o.Commit || l.HeardUpTo() != 9 {
		t.Errorf("%s", show(o))
	}
	if o := l.Took(9); o.Commit {
		t.Error("again")
	}
	if o := l.Heard(9, strings.Repeat("1", 9)); o.Commit || len(o.Events) != 0 {
		t.Errorf("what was taken is heard: %s", show(o))
	}
}

// An INFO's keys are numbered, and how long they were down is told.
func TestKeysByInfoAreNumbered(t *testing.T) {
	l := talking(t)
	f := func(cseq int, kind, body string, want Digits) {
		t.Helper()
		l = rebuild(t, l)
		o := l.Request(start, mustRequest(t, withBody(within("INFO", cseq), kind, body)), edgeFlow)
		if !reflect.DeepEqual(o.Events, []Event{want}) {
			t.Errorf("%q: %s", body, show(o))
		}
	}
	f(2, "application/dtmf-relay", "Signal=5\r\nDuration=250\r\n", Digits{"5", 1, 250 * time.Millisecond})
	f(3, "application/dtmf", "12#", Digits{"12#", 4, 0})
	f(4, "application/dtmf-relay", "Duration=x\r\nSignal=5", Digits{"5", 5, 0})
}
