package session

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/mediad/mediaapi"
)

// A leg whose far end is reached by a link (an SBC's, say) counts for that link
// too: what came over it, what its far ends say of what we sent, and how long it
// takes, summed over all legs for ten seconds at a time (T9). This worker judges
// nothing: whoever asks all workers does.

const (
	bucketTime  = mediaapi.BucketSeconds * time.Second
	bucketsKept = 6
	// maxLinks bounds the labels of ten seconds, whoever gives them.
	maxLinks = 64
	// silentAfter is more than two intervals of RTCP (RFC 3550 section 6.2).
	silentAfter = 15 * time.Second
	// Bytes of IP and UDP headers.
	headersIPv4 = 20 + 8
	headersIPv6 = 40 + 8
)

// linkShare is what a leg has to add to its link's present ten seconds.
type linkShare struct {
	begun time.Time // when the leg's audio began; zero: not yet

	// What was added already.
	packets, wire  uint64
	lost           int64
	sent, sentWire uint64
	rtt            time.Duration // sum, since then
	rtts           int64
	covered        int64 // packets sent, by the peer's reports since then
	coveredLost    int64
	coveredJitter  uint64 // ticks times covered
}

// reported takes the step from one report of the peer's on a stream to the next:
// packets expected and lost, and the jitter in ticks.
func (q *linkShare) reported(expected, lost int64, jitter uint64) {
	if expected <= 0 || expected > 1<<16 { // the peer began anew
		return
	}
	q.covered += expected
	q.coveredLost += lost
	q.coveredJitter += jitter * uint64(expected)
}

func (q *linkShare) timed(rtt time.Duration) {
	q.rtt += rtt
	q.rtts++
}

// linkSums are a link's present ten seconds: a Bucket before its means are taken.
type linkSums struct {
	mediaapi.Bucket
	receivedJitter, sentJitter int64 // microseconds times packets
	delay                      time.Duration
}

func badLink(link string) error {
	if len(link) > maxID {
		return refuse(400, "link is longer than %d bytes", maxID)
	}
	return nil
}

// reachedBy labels a leg, unless that is said already or nothing is said.
func (l *leg) reachedBy(link string) {
	if link == "" || link == l.Link {
		return
	}
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum(l, time.Now())
	l.Link = link
}

// sum adds what a leg did since it was last summed to its link's ten seconds:
// under shard.mu.
func (s *shard) sum(l *leg, now time.Time) {
	q := &l.share
	was := *q
	*q = linkShare{begun: was.begun, packets: l.in.packets, wire: l.in.wire, lost: l.in.lost(), sent: l.out.packets, sentWire: l.out.wire}
	received, sent := int64(q.packets-was.packets), int64(q.sent-was.sent)
	if received > 0 && q.begun.IsZero() {
		q.begun = now
	}
	if l.Link == "" || received == 0 && sent == 0 {
		return
	}
	b := s.links[l.Link]
	if b == nil {
		if len(s.links) >= maxLinks {
			return
		}
		b = &linkSums{Bucket: mediaapi.Bucket{Link: l.Link}}
		s.links[l.Link] = b
	}
	headers := int64(headersIPv4)
	if l.call.host.addr.Is6() {
		headers = headersIPv6
	}
	b.Calls++
	lost := q.lost - was.lost
	b.Received += received + lost
	b.ReceivedLost += lost
	b.receivedJitter += l.in.jitterMicros() * (received + lost)
	b.ReceivedBytes += int64(q.wire-was.wire) + received*headers
	b.SentBytes += int64(q.sentWire-was.sentWire) + sent*headers
	b.SentPackets += sent
	b.Sent += was.covered
	b.SentLost += was.coveredLost
	if len(l.Send) > 0 {
		b.sentJitter += int64(was.coveredJitter) * 1e6 / int64(l.Send[0].Clock)
	}
	if was.rtts > 0 {
		b.delay += was.rtt / time.Duration(2*was.rtts)
		b.Timed++
	}
	switch heard := l.in.lastRTCP; {
	case !heard.IsZero() && now.Sub(heard) < silentAfter:
		b.Reporting++
	case received > 0 && now.Sub(q.begun) >= silentAfter:
		b.Silent++
	}
}

// add joins the sums of another shard.
func (b *linkSums) add(o *linkSums) {
	b.Calls += o.Calls
	b.Received += o.Received
	b.ReceivedLost += o.ReceivedLost
	b.receivedJitter += o.receivedJitter
	b.ReceivedBytes += o.ReceivedBytes
	b.SentPackets += o.SentPackets
	b.Sent += o.Sent
	b.SentLost += o.SentLost
	b.sentJitter += o.sentJitter
	b.SentBytes += o.SentBytes
	b.delay += o.delay
	b.Timed += o.Timed
	b.Reporting += o.Reporting
	b.Silent += o.Silent
}

// told is the bucket with its means. Duplicates and packets that come late make
// less than nothing lost in their ten seconds.
func (b *linkSums) told(serial uint64) mediaapi.Bucket {
	out := b.Bucket
	out.Serial = serial
	out.ReceivedLost, out.SentLost = max(out.ReceivedLost, 0), max(out.SentLost, 0)
	if out.Received > 0 {
		out.ReceivedJitter = b.receivedJitter / out.Received
	}
	if out.Sent > 0 {
		out.SentJitter = b.sentJitter / out.Sent
	}
	if out.Timed > 0 {
		out.Delay = b.delay.Microseconds() / out.Timed
	}
	return out
}

// measureLinks closes ten seconds after ten seconds until the engine stops.
func (e *Engine) measureLinks() {
	tick := time.NewTicker(bucketTime)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			e.closeBuckets(now)
		}
	}
}

func (e *Engine) closeBuckets(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sums := map[string]*linkSums{}
	for _, s := range e.shards {
		s.mu.Lock()
		for _, l := range s.legs {
			s.sum(l, now)
		}
		for link, b := range s.links {
			if have := sums[link]; have != nil {
				have.add(b)
			} else {
				sums[link] = b
			}
		}
		s.links = map[string]*linkSums{}
		s.mu.Unlock()
	}
	e.bucket++
	e.bucketEnd = now
	e.buckets = slices.DeleteFunc(e.buckets, func(b mediaapi.Bucket) bool { return b.Serial+bucketsKept <= e.bucket })
	first := len(e.buckets)
	for _, b := range sums { // any order: sorted below
		e.buckets = append(e.buckets, b.told(e.bucket))
	}
	slices.SortFunc(e.buckets[first:], func(a, b mediaapi.Bucket) int { return cmp.Compare(a.Link, b.Link) })
}

// tellLinks tells the buckets after a serial.
func (e *Engine) tellLinks(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	reply := mediaapi.Reply{Worker: e.cfg.Worker, Serial: e.bucket}
	if e.bucket > 0 {
		reply.Age = time.Since(e.bucketEnd).Milliseconds()
	}
	for _, b := range e.buckets {
		if b.Serial > r.Serial {
			reply.Buckets = append(reply.Buckets, b)
		}
	}
	return reply, nil, nil
}

// writeLinks writes the newest ten seconds of each link for monitoring.
func (e *Engine) writeLinks(w io.Writer) {
	e.mu.Lock()
	newest := slices.DeleteFunc(slices.Clone(e.buckets), func(b mediaapi.Bucket) bool { return b.Serial != e.bucket })
	e.mu.Unlock()
	for _, b := range newest {
		gauge := func(name, direction string, of, total int64, unit float64) {
			if total > 0 {
				labels := fmt.Sprintf("{link=%q,direction=%q}", b.Link, direction)
				metrics.WriteGaugeFloat64(w, name+labels, float64(of)/unit)
			}
		}
		metrics.WriteGaugeUint64(w, fmt.Sprintf("mediad_link_calls{link=%q}", b.Link), uint64(b.Calls))
		gauge("mediad_link_loss_ratio", "in", b.ReceivedLost, b.Received, float64(b.Received))
		gauge("mediad_link_loss_ratio", "out", b.SentLost, b.Sent, float64(b.Sent))
		gauge("mediad_link_jitter_seconds", "in", b.ReceivedJitter, b.Received, 1e6)
		gauge("mediad_link_jitter_seconds", "out", b.SentJitter, b.Sent, 1e6)
		gauge("mediad_link_delay_seconds", "both", b.Delay, b.Timed, 1e6)
		gauge("mediad_link_bytes_per_second", "in", b.ReceivedBytes, 1, mediaapi.BucketSeconds)
		gauge("mediad_link_bytes_per_second", "out", b.SentBytes, 1, mediaapi.BucketSeconds)
		gauge("mediad_link_rtcp_missing_ratio", "in", b.Silent, b.Silent+b.Reporting, float64(b.Silent+b.Reporting))
	}
}
