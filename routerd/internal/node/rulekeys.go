package node

import (
	"errors"
	"strings"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// sendDigits has the worker send the keys as RTP events. It counts them over the
// leg's life, so an order that is given again after the death of either sends none
// twice. A far end that takes no events gets INFO.
func (a *actor) sendDigits(o acd.SendDigits) {
	if a.legs[o.Leg] == nil {
		return
	}
	count := uint64(len(o.Keys) - strings.Count(o.Keys, ","))
	req := mediaapi.Request{Command: mediaapi.PlayDTMF, Leg: string(o.Leg), Keys: o.Keys, Serial: count}
	_, err := a.ask(a.mediaAddress(o.Leg), req)
	var refused *mediaapi.Error
	switch {
	case err == nil:
		ruleDigits.Add(int(count))
	case errors.As(err, &refused) && refused.Reason == mediaapi.ReasonNoEvents:
		if a.ruled == nil {
			a.ruled = map[acd.LegID]string{}
		}
		a.ruled[o.Leg] = o.Keys
		a.nextRuleKey(o.Leg)
	default:
		a.n.log.Error("the keys a rule sends to who answered are not sent", "call_id", a.call, "leg", o.Leg, "err", err)
	}
}

// nextRuleKey sends the next of a rule's keys by INFO, behind its pauses.
func (a *actor) nextRuleKey(id acd.LegID) {
	leg := a.legs[id]
	if leg == nil {
		delete(a.ruled, id)
		return
	}
	key, pause, ok := ruleKey(a.ruled[id], leg.NextRuleKey())
	if !ok {
		delete(a.ruled, id)
		return
	}
	send := ruleKeyDue{leg: id, key: sip.Key{From: sip.RuleKeys, Serial: leg.NextRuleKey(), Sign: key}}
	if pause == 0 {
		a.sendRuleKey(send)
		return
	}
	time.AfterFunc(pause, func() { a.box.put(send) })
}

// ruleKeyDue is a key whose pause is over.
type ruleKeyDue struct {
	leg acd.LegID
	key sip.Key
}

func (a *actor) sendRuleKey(m ruleKeyDue) {
	leg := a.legs[m.leg]
	if leg == nil || leg.NextRuleKey() != m.key.Serial || a.ruled[m.leg] == "" {
		return
	}
	a.act(m.leg, leg.Inform(a.n.machineTime(), m.key))
}

// ruleKeySent goes on with the next key. One that was refused is dealt with too.
func (a *actor) ruleKeySent(id acd.LegID, serial uint64) {
	leg := a.legs[id]
	if leg == nil {
		return
	}
	ruleDigits.Inc()
	a.act(id, leg.RuleKeySent(serial))
	if !a.stale {
		a.nextRuleKey(id)
	}
}

// rulePause is what a comma among a rule's keys stands for.
const rulePause = 500 * time.Millisecond

// ruleKey is the key of a serial, from 1, with the pause before it.
func ruleKey(keys string, serial uint64) (key byte, pause time.Duration, ok bool) {
	for i := range len(keys) {
		if keys[i] == ',' {
			pause += rulePause
			continue
		}
		if serial--; serial == 0 {
			return keys[i], pause, true
		}
		pause = 0
	}
	return 0, 0, false
}
