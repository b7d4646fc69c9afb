package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/pion/rtp"
)

// Keypad says how pressed keys go out; several ways may be set, as some
// gateways do it.
type Keypad uint8

// Ways.
const (
	ByInfo   Keypad = 1 << iota // SIP INFO with application/dtmf-relay
	ByEvents                    // RTP events (RFC 4733)
)

// keyCodes are the keys in the order of their event codes.
const keyCodes = "0123456789*#ABCD"

var errNoEvents = errors.New("the other side takes no telephone-event")

// Press presses keys one after the other. It returns when the last has been
// sent and every INFO was answered by 200.
func (c *Call) Press(ctx context.Context, keys string, by Keypad) error {
	for _, key := range []byte(keys) {
		code := strings.IndexByte(keyCodes, key)
		if code < 0 {
			return fmt.Errorf("press %q: no such key", key)
		}
		var sent <-chan error
		if by&ByEvents != 0 {
			if c.media == nil {
				return errNoEvents
			}
			sent = c.media.press(byte(code))
		}
		if by&ByInfo != 0 {
			if err := c.inform(ctx, key); err != nil {
				return err
			}
		}
		if sent == nil {
			continue
		}
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("press a key by RTP event: %w", err)
			}
		case <-c.done:
			return errors.New("press a key: the call is over")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// inform sends one key by INFO.
func (c *Call) inform(ctx context.Context, key byte) error {
	c.mu.Lock()
	c.cseq++
	o := c.inside("INFO", c.cseq, newBranch())
	dest := c.nextHop()
	c.mu.Unlock()
	res, err := c.stack.do(ctx, o, o.bytes("application/dtmf-relay", fmt.Sprintf("Signal=%c\r\nDuration=160\r\n", key)), dest)
	if err != nil {
		return fmt.Errorf("press a key by INFO: %w", err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("press a key by INFO: %d %s", res.StatusCode, res.Reason)
	}
	return nil
}

// keyOfInfo is the key of an INFO with application/dtmf-relay, else "".
func keyOfInfo(req *sip.Request) string {
	if req.Method != sip.INFO || headerValue(req, "Content-Type") != "application/dtmf-relay" {
		return ""
	}
	for line := range strings.Lines(string(req.Body())) {
		if key, ok := strings.CutPrefix(strings.TrimSpace(line), "Signal="); ok {
			return key
		}
	}
	return ""
}

// An event lasts six packets, of which the last goes out three times, and is
// followed by a pause: nobody presses faster.
const (
	eventPackets = 6
	eventEnds    = 3
	eventPause   = 4
)

// outEvent is a key being pressed.
type outEvent struct {
	code byte
	at   uint32 // RTP time it began at
	step int
	sent chan error
}

// press begins a key with the next packet. Keys must not overlap.
func (m *media) press(code byte) <-chan error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := &outEvent{code: code, sent: make(chan error, 1)}
	switch {
	case m.eventPT == 0:
		e.sent <- errNoEvents
	case m.event != nil:
		e.sent <- errors.New("another key is down")
	default:
		m.event = e
	}
	return e.sent
}

// sendEvent sends the packet of this step of a key, if one is down, after the
// audio packet with the header; it is the next one of the same stream.
func (m *media) sendEvent(header *rtp.Header, frame int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.event
	if e == nil {
		return
	}
	if e.step == 0 {
		e.at = header.Timestamp
	}
	e.step++
	if e.step <= eventPackets+eventEnds-1 {
		end, duration := byte(0), e.step*frame
		if e.step >= eventPackets {
			end, duration = 0x80, eventPackets*frame
		}
		header.SequenceNumber++
		h := *header
		h.Marker, h.Timestamp, h.PayloadType = e.step == 1, e.at, m.eventPT
		payload := binary.BigEndian.AppendUint16([]byte{e.code, end | 10}, uint16(duration))
		plain, err := h.Marshal()
		var packet []byte
		if err == nil {
			packet, err = m.out.EncryptRTP(nil, append(plain, payload...), &h)
		}
		if err == nil {
			_, err = m.rtp.WriteToUDPAddrPort(packet, m.dest)
		}
		if err != nil {
			e.sent <- err
			m.event = nil
			return
		}
	}
	if e.step == eventPackets+eventEnds-1+eventPause {
		m.event = nil
		e.sent <- nil
	}
}
