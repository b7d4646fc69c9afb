package sip

import "bytes"

// A phone that was answered when its router had just died repeats its 2xx to an
// address where nobody is, and would be hung up and rung a second time. The next
// owner can't see that 2xx, but it has the dialog of the ringing, which is the
// same. It sends the ACK, which a phone that rings ignores (RFC 3261 section
// 13.3.1.4: it has no 2xx out), and behind it a re-INVITE with our description as
// it was. Who rings must answer that 500 (section 14.2) and is cancelled as ever;
// who was answered gives its description again, and that is the lost 2xx.

// adoptWithin, in T1, is how long the answer to that question is waited for.
const adoptWithin = 2

// Adopt asks the far end of an INVITE of a dead node whether it has been answered.
// Answered follows if so; else the leg is cancelled as by Cancel. It returns false,
// and does nothing, where that can't be asked: the answer may come to us after
// all, there is no dialog yet, or more than one.
func (l *Leg) Adopt(now Time, headers ...Header) (Output, bool) {
	r := &l.r
	if r.Ringing != nil { // the one who asked has died too
		r.Out, r.Ringing = r.Ringing, nil
		r.Out.Cancel = false
	}
	tx := r.Out
	if tx == nil || !tx.Initial || tx.Final != 0 || tx.Cancel || r.State != Pending || r.Early == nil || len(r.Forks) > 0 || len(r.LocalSDP) == 0 || l.hears(tx.SentBy) {
		return Output{}, false
	}
	tx.Cancel, tx.CancelWith = true, headers // what becomes of it unless it was answered
	in := l.within(r.Early)
	in.r.LocalCSeq++
	ask := in.newInvite(now, in.branch("INVITE", in.r.LocalCSeq), nil, r.LocalSDP)
	ask.GiveUp = now.Add(adoptWithin * l.t1())
	r.Ringing, r.Out, r.LocalCSeq = tx, ask, in.r.LocalCSeq
	return Output{Commit: true, Send: []Packet{in.ackPacket(tx.CSeq), ask.packet()}}, true
}

// Adopting tells whether the far end is being asked.
func (l *Leg) Adopting() bool { return l.r.Ringing != nil }

// adopted: it has been answered.
func (l *Leg) adopted(now Time, tx *inviteTx, res *Response) Output {
	r := &l.r
	e := r.Early
	r.RemoteTag, r.RemoteAddr, r.Target, r.Routes = e.Tag, e.Addr, e.Target, e.Routes
	r.RemoteCSeq = max(r.RemoteCSeq, e.CSeq)
	if c := res.contact(); c != "" {
		r.Target = c
	}
	r.Ringing, r.Early, r.Asked = nil, nil, nil
	r.Updates = res.hasOption("Allow", "UPDATE")
	r.InviteCSeq, r.State, r.RemoteSDP = tx.CSeq, Confirmed, bytes.Clone(res.SDP())
	l.dropRequests("PRACK")
	l.sessionFromAnswer(now, res)
	return Output{Commit: true, Send: []Packet{l.ackPacket(tx.CSeq)}, Events: []Event{Answered{SDP: bytes.Clone(res.SDP())}}}
}

// notAdopted: it rings, is gone, or says nothing. It is cancelled.
func (l *Leg) notAdopted(now Time) Output {
	l.r.Out, l.r.Ringing = l.r.Ringing, nil
	return l.sendCancel(now)
}
