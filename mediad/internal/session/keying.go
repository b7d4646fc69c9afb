package session

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// keying is the keys sent to a leg's peer as RFC 4733 events of our own making.
//
// They are a stream of their own, and each packet of it is settled when its key
// is asked for: SSRC, packet index, RTP time, content. The standby has that
// before the first packet goes out, so a successor makes the same bytes again:
// what the peer has had is a replay to it, a key that was under way is finished,
// none is doubled or lost, and no index covers two packets.
//
// Audio to the peer is held while an event is sent. Keys never reach a disk.
type keying struct {
	Serial  uint64    `json:"serial,omitempty"` // of the last key taken, from 1 over the leg's life
	SSRC    uint32    `json:"ssrc,omitempty"`   // 0: no stream under this key and clock rate yet
	Clock   int       `json:"clock,omitempty"`
	Index   uint64    `json:"index,omitempty"` // of the packet behind the last stroke's
	TS      uint32    `json:"ts,omitempty"`    // RTP time at the last stroke's end, and that by the clock
	At      time.Time `json:"at,omitzero"`
	Strokes []stroke  `json:"strokes,omitempty"` // in order, the first one is under way

	step int  // of Strokes[0], done
	held bool // audio
}

// stroke is one key, or a pause if Steps is 0. Times are in steps of 20 ms.
type stroke struct {
	Code   uint8  `json:"code"`
	Volume uint8  `json:"volume"` // in dBm0, sign dropped (RFC 4733 section 2.3.3)
	Steps  int    `json:"steps"`
	Pause  int    `json:"pause"` // behind it
	Index  uint64 `json:"index"` // of its first packet
	TS     uint32 `json:"ts"`

	told  bool            // the standby is being told
	had   <-chan struct{} // closed when it has the stroke
	since time.Time       // of the wait for that
}

// endPackets is how often an event's last packet is sent (RFC 4733 section
// 2.5.1.4): a step apart, so that a burst of losses does not take them all.
const endPackets = 3

// packets of the stroke.
func (st stroke) packets() int {
	if st.Steps == 0 {
		return 0
	}
	return st.Steps + endPackets - 1
}

// Bounds and defaults are rtpengine's; a pause leaves room for the last packets.
const (
	keyDuration = 250 * time.Millisecond
	keyPause    = 100 * time.Millisecond
	keyShortest = 100 * time.Millisecond // of both
	keyLongest  = 5 * time.Second
	keyVolume   = 8
	commaPause  = 500 * time.Millisecond // a comma between keys
	maxStrokes  = 64                     // that wait
)

// playDTMF sends keys to a leg's peer, or takes keys that one pressed across.
func (e *Engine) playDTMF(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	l, source, err := e.keyedLeg(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if !l.Agreed || l.tx == nil {
		return mediaapi.Reply{}, nil, refuse(491, "leg is not negotiated yet")
	}
	strokes, err := strokesOf(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if source != nil {
		return s.across(source, l, strokes, r.Serial)
	}
	event, ok := l.eventFormat()
	if !ok {
		return mediaapi.Reply{}, nil, refuse(488, mediaapi.ReasonNoEvents)
	}
	k := &l.keying
	fresh := take(strokes, k.Serial, r.Serial)
	if len(fresh) == 0 {
		return mediaapi.Reply{Duration: k.left().Milliseconds()}, nil, nil // a repeat
	}
	if err := s.queue(l, event, fresh); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	k.Serial = last(fresh, k.Serial, r.Serial)
	return mediaapi.Reply{Duration: k.left().Milliseconds()}, l.call, nil
}

// across takes keys that a leg's far end pressed, and told otherwise than by
// events, to the connected leg: under shard.mu.
func (s *shard) across(from, to *leg, strokes []stroke, serial uint64) (mediaapi.Reply, *call, error) {
	d := &from.digits
	fresh := take(strokes, d.Informed, serial)
	if len(fresh) == 0 {
		return mediaapi.Reply{}, nil, nil
	}
	event, ok := to.eventFormat()
	switch {
	case d.Begun: // it tells them both ways: its events have gone across
	case ok:
		if err := s.queue(to, event, fresh); err != nil {
			return mediaapi.Reply{}, nil, err
		}
		d.Muted = true
	default:
		for _, st := range fresh {
			if st.Steps > 0 {
				s.pend(from, keys[st.Code:st.Code+1])
			}
		}
		d.Muted = true
	}
	d.Informed = last(fresh, d.Informed, serial)
	return mediaapi.Reply{Duration: to.keying.left().Milliseconds()}, from.call, nil
}

// queue has strokes sent behind those that wait: under shard.mu.
func (s *shard) queue(l *leg, event sdp.Codec, strokes []stroke) error {
	if len(l.keying.Strokes)+len(strokes) > maxStrokes {
		return refuse(503, "more than %d keys wait to be sent", maxStrokes)
	}
	l.keying.plan(l, event, strokes, time.Now())
	s.schedule(l)
	s.poller.Wake()
	return nil
}

// keyedLeg is the leg keys are sent on, and the one they were pressed on, if that
// matters. rtpengine's callers name the latter, by its tag.
func (e *Engine) keyedLeg(r *mediaapi.Request) (l, source *leg, err error) {
	id := r.Leg
	switch {
	case r.Leg != "" && r.Peer != "":
		return nil, nil, refuse(400, "play DTMF needs either leg or peer")
	case r.Peer != "":
		id = r.Peer
	case r.Leg == "":
		legs, err := e.participants(r)
		if err != nil {
			return nil, nil, err
		}
		id = legs[0].id
	}
	if l, err = e.findLeg(r.CallID, id); err != nil || r.Leg != "" {
		return l, nil, err
	}
	if l.peer == nil {
		return nil, nil, refuse(491, "leg is not connected")
	}
	if r.Peer != "" {
		source = l
	}
	return l.peer, source, nil
}

// eventFormat is what a leg's peer takes events in: at the clock rate of its
// audio, if there is one.
func (l *leg) eventFormat() (sdp.Codec, bool) {
	var event sdp.Codec
	for _, c := range l.Send {
		if c.Name == sdp.Event && (event.Name == "" || c.Clock == l.Send[0].Clock) {
			event = c
		}
	}
	return event, event.Name != ""
}

// strokesOf reads what is to be sent, not yet planned.
func strokesOf(r *mediaapi.Request) ([]stroke, error) {
	if (r.Code == "") == (r.Keys == "") {
		return nil, refuse(400, "play DTMF needs either code or keys")
	}
	text := strings.ToUpper(r.Keys)
	if r.Code != "" {
		text = strings.ToUpper(r.Code)
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < len(keys) {
			text = keys[n : n+1]
		}
		if len(text) != 1 || text == "," {
			return nil, refuse(400, "code is neither 0 to 15 nor one of %s", keys)
		}
	}
	if len(text) > maxStrokes {
		return nil, refuse(400, "keys are %d, %d is the most", len(text), maxStrokes)
	}
	steps := stepsOf(r.Duration, keyDuration)
	pause := stepsOf(r.Pause, keyPause)
	volume := r.Volume
	if volume < 0 {
		volume = -volume
	}
	if volume == 0 {
		volume = keyVolume
	}
	strokes := make([]stroke, len(text))
	for i := range len(text) {
		code := strings.IndexByte(keys, text[i])
		switch {
		case text[i] == ',':
			strokes[i] = stroke{Pause: int(commaPause / frameTime)}
		case code < 0:
			return nil, refuse(400, "keys hold something else than %s and commas", keys)
		default:
			strokes[i] = stroke{Code: uint8(code), Volume: uint8(min(volume, 63)), Steps: steps, Pause: pause}
		}
	}
	return strokes, nil
}

func stepsOf(ms int64, usual time.Duration) int {
	d := usual
	if ms != 0 {
		d = time.Duration(min(max(ms, keyShortest.Milliseconds()), keyLongest.Milliseconds())) * time.Millisecond
	}
	return int((d + frameTime - 1) / frameTime)
}

// take is the strokes that were not taken before, up to a serial of old. serial
// numbers the last of them; 0 is for callers that do not count. Pauses before a
// key taken before are over.
func take(strokes []stroke, old, serial uint64) []stroke {
	if serial == 0 {
		return strokes
	}
	if serial <= old {
		return nil
	}
	number := serial
	for i := len(strokes) - 1; i >= 0; i-- {
		if strokes[i].Steps == 0 {
			continue
		}
		if number <= old {
			return strokes[i+1:]
		}
		number--
	}
	return strokes
}

// last is the serial of the last key once strokes are taken.
func last(strokes []stroke, old, serial uint64) uint64 {
	if serial != 0 {
		return serial
	}
	for _, st := range strokes {
		if st.Steps > 0 {
			old++
		}
	}
	return old
}

// left is how long the strokes that wait take.
func (k *keying) left() time.Duration {
	steps := -k.step
	for _, st := range k.Strokes {
		steps += st.Steps + st.Pause
	}
	return time.Duration(steps) * frameTime
}

// plan settles the packets of new strokes and queues them: under shard.mu.
func (k *keying) plan(l *leg, event sdp.Codec, strokes []stroke, now time.Time) {
	if k.SSRC == 0 || k.Clock != event.Clock {
		for k.SSRC == 0 || k.SSRC == l.own.ssrc || l.tx.Knows(k.SSRC) {
			k.SSRC = rand.Uint32()
		}
		// The index as in sendOwn. The time grows without a wrap for hours:
		// receivers are known that compare events' times as numbers.
		k.Clock, k.Index, k.TS, k.At = event.Clock, rand.Uint64N(1<<15), rand.Uint32N(1<<30), now
	}
	ticks := uint32(k.Clock / 50)
	if late := now.Sub(k.At); late > 0 {
		k.TS += uint32(late/frameTime) * ticks
		k.At = now
	}
	for _, st := range strokes {
		st.Steps = min(st.Steps, longestEvent/int(ticks)) // at 48 kHz 1.36 s
		st.Index, st.TS, st.told = k.Index, k.TS, false
		k.Index += uint64(st.packets())
		k.TS += uint32(st.Steps+st.Pause) * ticks
		k.At = k.At.Add(time.Duration(st.Steps+st.Pause) * frameTime)
		k.Strokes = append(k.Strokes, st)
	}
}

// awaitStandby holds new strokes back until the standby has them: under
// Engine.mu.
func (c *call) awaitStandby(had <-chan struct{}, now time.Time) {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	for _, l := range c.legs {
		for i := range l.keying.Strokes {
			if st := &l.keying.Strokes[i]; !st.told {
				st.told, st.had, st.since = true, had, now
			}
		}
	}
}

// may tells whether a stroke may begin: the standby has it, or was waited for
// long enough.
func (st *stroke) may(now time.Time) bool {
	if !st.told || st.had == nil {
		return st.told
	}
	select {
	case <-st.had:
		return true
	default:
		return now.Sub(st.since) >= standbyPatience
	}
}

// stroke does 20 ms of a leg's keying: under shard.mu.
func (s *shard) stroke(l *leg, now time.Time) {
	k := &l.keying
	st := &k.Strokes[0]
	if k.step == 0 && !st.may(now) || !l.sendable() {
		return
	}
	event, ok := l.eventFormat()
	if !ok {
		return // refit has dropped them
	}
	k.step++
	if k.step <= st.packets() {
		if k.step == 1 {
			s.count.digitsSent++
		}
		s.sendEvent(l, event, st, k.step)
	}
	k.held = st.Steps > 0 && (k.step < st.packets() || len(k.Strokes) > 1 && k.Strokes[1].Steps > 0)
	if k.step < st.Steps+st.Pause {
		return
	}
	k.step = 0
	if k.Strokes = k.Strokes[1:]; len(k.Strokes) > 0 {
		return
	}
	k.Strokes = nil
	s.unschedule(l)
	s.press(l) // the standby is to forget them
}

// sendEvent sends one packet of a stroke, counted from 1.
func (s *shard) sendEvent(l *leg, event sdp.Codec, st *stroke, step int) {
	b := append(s.plain[:0], 0x80, event.PT)
	if step == 1 {
		b[1] |= 0x80 // RFC 4733 section 2.1: the marker is on an event's first packet
	}
	b = binary.BigEndian.AppendUint16(b, uint16(st.Index+uint64(step-1)))
	b = binary.BigEndian.AppendUint32(b, st.TS)
	b = binary.BigEndian.AppendUint32(b, l.keying.SSRC)
	end := byte(0)
	if step >= st.Steps {
		end = 0x80
	}
	duration := min(step, st.Steps) * l.keying.Clock / 50
	b = append(b, st.Code, end|st.Volume)
	b = binary.BigEndian.AppendUint16(b, uint16(min(duration, longestEvent)))
	s.plain = b[:0]
	s.send(l, b)
}

// refit plans strokes anew that wait under a key or a clock rate that is over; the
// one under way has been heard. Without telephone-event they are lost: under
// shard.mu.
func (k *keying) refit(s *shard, l *leg) {
	if len(k.Strokes) == 0 {
		return
	}
	event, ok := l.eventFormat()
	if ok && k.SSRC != 0 && k.Clock == event.Clock {
		return
	}
	strokes := k.Strokes
	if k.step > 0 {
		strokes = strokes[1:]
	}
	k.Strokes, k.step, k.held = nil, 0, false
	if ok {
		k.plan(l, event, strokes, time.Now())
	} else {
		s.countUnsent(strokes)
	}
	s.unschedule(l)
}

// stopKeying ends a leg's keying: under shard.mu.
func (l *leg) stopKeying() {
	s := l.call.shard
	s.countUnsent(l.keying.Strokes)
	l.keying.Strokes, l.keying.held = nil, false
	s.unschedule(l)
}

func (s *shard) countUnsent(strokes []stroke) {
	for _, st := range strokes {
		if st.Steps > 0 {
			s.count.digitsUnsent++
		}
	}
}

// resumeKeying goes on with the strokes of a dead worker: behind those that its
// last mark says are over, within the one it was at. Under shard.mu.
func (s *shard) resumeKeying(l *leg, k keying, m *mark) {
	for i := range k.Strokes {
		k.Strokes[i].told = true
	}
	if last, ok := m.sent(k.SSRC); ok {
		for len(k.Strokes) > 0 {
			st := &k.Strokes[0]
			done := int64(last) - int64(st.Index) + 1
			if done <= int64(st.packets()) {
				k.step = int(max(done, 0))
				break
			}
			k.Strokes = k.Strokes[1:]
		}
	}
	l.keying = k
	if len(k.Strokes) > 0 {
		s.schedule(l)
	}
}
