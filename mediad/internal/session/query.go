package session

import "trunkline/mediad/mediaapi"

// query tells of a call's legs, or of one.
func (e *Engine) query(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	if c == nil {
		return mediaapi.Reply{}, nil, refuse(481, "unknown call-id")
	}
	reply := mediaapi.Reply{Worker: e.cfg.Worker, Address: c.host.addr.String(), Created: c.created.Unix()}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	for _, l := range c.legs {
		if r.Leg == "" || r.Leg == l.id {
			reply.Legs = append(reply.Legs, l.tell())
		}
	}
	return reply, nil, nil
}

// tell: under shard.mu.
func (l *leg) tell() mediaapi.Leg {
	t := mediaapi.Leg{Leg: l.id, Codec: l.codec(), Suite: string(l.Suite), Direction: string(l.Direction),
		Local: l.rtp.Addr().String(), Recording: l.call.taping.On, Paused: l.call.taping.Paused,
		SSRC: uint64(l.in.ssrc), Packets: l.in.packets, Bytes: l.in.bytes, Lost: l.in.lost(),
		MaxGap: l.in.maxGap.Milliseconds(), Jitter: l.in.jitterMicros(),
		AuthFailed: l.in.forged, Replayed: l.in.replayed, Misplaced: l.in.misplaced,
		SentPackets: l.out.packets, SentBytes: l.out.bytes, RTCPReceived: l.in.rtcp, RTCPSent: l.out.rtcp,
		RemoteLost: l.report.lost, RTT: l.report.rtt.Microseconds()}
	if l.Agreed {
		t.Remote = l.to.Addr().String()
		t.RemoteJitter = int64(l.report.jitter) * 1e6 / int64(l.Send[0].Clock)
	}
	if l.peer != nil {
		t.Peer = l.peer.id
	}
	if q := &l.quality; q.rated > 0 {
		t.MOS, t.MOSWorst = int64(100*q.sum/float64(q.rated)+0.5), int64(100*q.worst+0.5)
	}
	t.OneWay = l.quality.oneWay
	t.Mode = l.supervision.Mode
	if l.player != nil {
		t.Playing = l.player.clips[l.player.clip].name
	}
	return t
}
