package session

import (
	"net/netip"
	"strconv"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

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
	if len(c.sides) > 0 && r.Leg == "" {
		f := c.figuresLocked()
		f.Worker, f.Address, f.Created, f.Legs = reply.Worker, reply.Address, reply.Created, reply.Legs
		reply = f
	}
	return reply, nil, nil
}

// figures is what rtpengine's clients are told of a call.
func (c *call) figures() mediaapi.Reply {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.figuresLocked()
}

func (c *call) figuresLocked() mediaapi.Reply {
	r := mediaapi.Reply{Created: c.created.Unix(), LastSignal: c.signal.Unix(), Tags: map[string]mediaapi.TagInfo{}, SSRCs: map[string]mediaapi.SSRC{}, Totals: &mediaapi.Totals{}}
	for _, s := range c.sides {
		l := c.leg(s.Leg)
		if l == nil || s.Tag == "" {
			continue
		}
		t := mediaapi.TagInfo{Tag: s.Tag, Label: s.Label, ViaBranch: s.Branch, Created: c.created.Unix()}
		if l.peer != nil {
			if p := c.sideOfLeg(l.peer.id); p != nil {
				t.InCall = []string{p.Tag}
			}
		}
		t.Medias = []mediaapi.Media{{Index: 1, Type: "audio", Protocol: l.proto(), Streams: l.streams()}}
		r.Tags[s.Tag] = t
		if q := &l.quality; q.rated > 0 {
			figure := func(mos float64) mediaapi.MOS {
				return mediaapi.MOS{MOS: int64(10*mos + 0.5), Reported: q.since.Unix(), Jitter: l.in.jitterMicros() / 1000,
					RoundTrip: l.report.rtt.Microseconds(), Loss: 100 * max(l.in.lost(), 0) / int64(max(l.in.packets, 1)), Samples: int64(q.rated)}
			}
			r.SSRCs[strconv.FormatUint(uint64(l.in.ssrc), 10)] = mediaapi.SSRC{Average: figure(q.sum / float64(q.rated)), Lowest: figure(q.worst), Highest: figure(q.best)}
		}
		r.Totals.RTP.Packets += l.in.packets
		r.Totals.RTP.Bytes += l.in.bytes
		r.Totals.RTP.Errors += l.in.forged + l.in.replayed + l.in.misplaced
		r.Totals.RTCP.Packets += l.in.rtcp
	}
	return r
}

// streams are a leg's ports.
func (l *leg) streams() []mediaapi.Stream {
	endpoint := func(a netip.AddrPort) mediaapi.Endpoint {
		if !a.IsValid() {
			return mediaapi.Endpoint{}
		}
		family := "IPv4"
		if !a.Addr().Unmap().Is4() {
			family = "IPv6"
		}
		return mediaapi.Endpoint{Family: family, Address: a.Addr().String(), Port: int64(a.Port())}
	}
	rtp := mediaapi.Stream{LocalPort: int64(l.Port), Endpoint: endpoint(l.to.Addr()), SSRC: int64(l.in.ssrc),
		Stats:    mediaapi.Traffic{Packets: l.in.packets, Bytes: l.in.bytes, Errors: l.in.forged + l.in.replayed + l.in.misplaced},
		StatsOut: mediaapi.Traffic{Packets: l.out.packets, Bytes: l.out.bytes}}
	if l.Suite != srtp.Plain {
		rtp.Crypto = string(l.Suite)
	}
	if l.in.heard {
		rtp.Ingress = []mediaapi.Ingress{{SSRC: int64(l.in.ssrc)}}
	}
	streams := []mediaapi.Stream{rtp}
	if l.rtcp != nil {
		streams = append(streams, mediaapi.Stream{LocalPort: int64(l.Port) + 1, Endpoint: endpoint(l.toRTCP.Addr()), Crypto: rtp.Crypto,
			Stats: mediaapi.Traffic{Packets: l.in.rtcp}, StatsOut: mediaapi.Traffic{Packets: l.out.rtcp}})
	}
	return streams
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
