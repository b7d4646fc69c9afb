package node

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// dialledUp dials leg 2 and has it answered.
func (b *callBench) dialledUp() {
	b.Helper()
	b.apply(acd.ConfigApplied{Config: acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a", Channels: 10}}, Queues: []acd.Queue{{ID: "sales", Music: "music"}},
		Numbers: []acd.Number{{Number: "+74950000001", Queue: "sales"}},
	}})
	b.give(40, dialOrder)
	b.answer(200, offerSDP)
}

// TestKeysOfARuleGoToTheWorkerCounted: an order that is given again asks for the same
// keys by the same count, which the worker takes for the repeat it is.
func TestKeysOfARuleGoToTheWorkerCounted(t *testing.T) {
	b := newCallBench(t)
	b.dialledUp()
	for i := range uint64(2) {
		b.give(41+i, acd.SendDigits{Leg: "2", Keys: "12#,,5"})
	}
	got := b.worker.all(mediaapi.PlayDTMF)
	if len(got) != 2 || got[0].Leg != "2" || got[0].Keys != "12#,,5" || got[0].Serial != 4 || got[1].Serial != 4 {
		t.Errorf("asked %+v", got)
	}
}

// TestKeysOfARuleGoByINFO where the far end takes no events: one after the other,
// and none again after a takeover.
func TestKeysOfARuleGoByINFO(t *testing.T) {
	b := newCallBench(t)
	b.dialledUp()
	b.worker.mu.Lock()
	b.worker.refuse[mediaapi.PlayDTMF] = mediaapi.Reply{Result: mediaapi.ResultError, Code: 488, Reason: mediaapi.ReasonNoEvents}
	b.worker.mu.Unlock()
	leg := b.a.legs["2"]
	b.give(41, acd.SendDigits{Leg: "2", Keys: "12#"})
	answer := func(key string) {
		t.Helper()
		p, info := b.newest("INFO")
		if !strings.Contains(string(info.Body()), "Signal="+key) {
			t.Fatalf("want the key %s:\n%s", key, p.Data)
		}
		res := fmt.Sprintf("SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
			info.Get("Via"), info.Get("From"), info.Get("To"), info.CallID(), info.Get("CSeq"))
		b.a.handle(arrival{msg: parse(t, strings.ReplaceAll(res, "\r\n", "\n"))})
	}
	answer("1")
	answer("2")
	if leg.NextRuleKey() != 3 {
		t.Errorf("the next key is number %d", leg.NextRuleKey())
	}
	next := new(sip.Leg)
	if err := next.UnmarshalBinary(record(t, leg)); err != nil {
		t.Fatal(err)
	}
	b.a.legs["2"], b.a.ruled = next, nil
	b.give(42, acd.SendDigits{Leg: "2", Keys: "12#"})
	answer("#")
	sent := 0
	for _, p := range b.sent {
		if strings.HasPrefix(string(p.Data), "INFO ") {
			sent++
		}
	}
	if sent != 4 { // the third was out at the takeover and is repeated, byte for byte
		t.Errorf("%d INFOs", sent)
	}
}
