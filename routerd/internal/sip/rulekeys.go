package sip

// RuleKeys is Key.From of keys that no far end pressed: a rule sends them to who
// answers. Their count is in the record, so a new owner goes on behind the last.
const RuleKeys = "rule"

// NextRuleKey is the serial of the rule's key that is to be sent by INFO next: the
// one that is out, or the one after those that were answered.
func (l *Leg) NextRuleKey() uint64 { return l.r.RuleKeys + 1 }

// RuleKeySent notes that a rule's key is dealt with.
func (l *Leg) RuleKeySent(serial uint64) Output {
	if serial <= l.r.RuleKeys {
		return Output{}
	}
	l.r.RuleKeys = serial
	return Output{Commit: true}
}
