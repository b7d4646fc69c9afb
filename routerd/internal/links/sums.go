package links

import (
	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// packetsPerSecond is of a call's one way at 20 ms (T3).
const packetsPerSecond = 50

// sums are ten seconds of a trunk over all workers: means become sums again.
type sums struct {
	mediaapi.Bucket
	receivedJitter, sentJitter int64 // microseconds times packets
	delay                      int64 // microseconds times legs
}

func (s *sums) add(b *mediaapi.Bucket) {
	s.Calls += b.Calls
	s.Received += b.Received
	s.ReceivedLost += b.ReceivedLost
	s.receivedJitter += b.ReceivedJitter * b.Received
	s.ReceivedBytes += b.ReceivedBytes
	s.SentPackets += b.SentPackets
	s.Sent += b.Sent
	s.SentLost += b.SentLost
	s.sentJitter += b.SentJitter * b.Sent
	s.SentBytes += b.SentBytes
	s.delay += b.Delay * b.Timed
	s.Timed += b.Timed
	s.Reporting += b.Reporting
	s.Silent += b.Silent
}

// measure is a measure that enough calls or packets stand behind.
func (s *sums) measure(m Measure, channels int) (value int64, ok bool) {
	if s == nil {
		return 0, false
	}
	value, of := s.value(m, channels)
	calls, packets := s.Calls, max(s.Received, s.SentPackets)
	switch {
	case m.Kind == acd.AlarmDelay:
		calls = of
	case m.Kind == acd.AlarmRTCP:
		calls = of
	case m.Direction == acd.DirectionIn:
		packets = s.Received
	case m.Kind != acd.AlarmBandwidth:
		packets = of
	}
	return value, of > 0 && (calls >= fewestCalls || packets >= fewestPackets)
}

// value is a measure in its kind's unit, and of how many packets or calls it is;
// 0: it is not known.
func (s *sums) value(m Measure, channels int) (value, of int64) {
	in := m.Direction == acd.DirectionIn
	switch m.Kind {
	case acd.AlarmDelay:
		return share(s.delay, s.Timed), s.Timed
	case acd.AlarmLoss:
		if in {
			return share(s.ReceivedLost*1_000_000, s.Received), s.Received
		}
		return share(s.SentLost*1_000_000, s.Sent), s.Sent
	case acd.AlarmJitter:
		if in {
			return share(s.receivedJitter, s.Received), s.Received
		}
		return share(s.sentJitter, s.Sent), s.Sent
	case acd.AlarmRTCP:
		of = s.Silent + s.Reporting
		return share(s.Silent*1_000_000, of), of
	case acd.AlarmBandwidth:
		if in {
			return bandwidth(s.ReceivedBytes, s.Received-s.ReceivedLost, channels)
		}
		return bandwidth(s.SentBytes, s.SentPackets, channels)
	}
	return 0, 0
}

// bandwidth is what all channels would take, in bits a second; without a limit of
// channels it is what the calls there are take.
func bandwidth(bytes, packets int64, channels int) (value, of int64) {
	if channels == 0 {
		return bytes * 8 / mediaapi.BucketSeconds, packets
	}
	return share(bytes*8*packetsPerSecond, packets) * int64(channels), packets
}

func share(sum, of int64) int64 {
	if of <= 0 {
		return 0
	}
	return sum / of
}
