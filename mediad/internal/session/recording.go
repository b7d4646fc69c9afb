package session

import (
	"errors"
	"slices"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// taping is whether a call is recorded. A pause holds even before the start.
type taping struct {
	On     bool   `json:"recording,omitempty"`
	Paused bool   `json:"paused,omitempty"`
	Label  string `json:"label,omitempty"`
}

// keeps tells whether packets go to the recorder now.
func (t taping) keeps() bool { return t.On && !t.Paused }

// startRecording also ends a pause, as with rtpengine, unless it is told to
// leave it alone.
func (e *Engine) startRecording(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c, err := e.recordedCall(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	t := c.taping
	t.On = t.On || !slices.Contains(r.Flags, mediaapi.FlagResume)
	if !slices.Contains(r.Flags, mediaapi.FlagKeepPause) {
		t.Paused = false
	}
	if r.Label != "" {
		t.Label = r.Label
	}
	return e.setTaping(c, t)
}

func (e *Engine) stopRecording(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	if slices.Contains(r.Flags, mediaapi.FlagPause) {
		return e.pauseRecording(r)
	}
	c, err := e.recordedCall(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	return e.setTaping(c, taping{Label: c.taping.Label})
}

// pauseRecording: when it is answered, no packet is kept any more.
func (e *Engine) pauseRecording(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c, err := e.recordedCall(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	t := c.taping
	t.Paused = true
	return e.setTaping(c, t)
}

func (e *Engine) recordedCall(r *mediaapi.Request) (*call, error) {
	c := e.calls[r.CallID]
	switch {
	case c == nil:
		return nil, refuse(481, "unknown call-id")
	case e.cfg.Recorder == nil:
		return nil, refuse(503, "recording is not configured")
	}
	return c, nil
}

// setTaping changes what the packet path does after what the recorder expects
// of it begins, and before it ends.
func (e *Engine) setTaping(c *call, t taping) (mediaapi.Reply, *call, error) {
	old := c.taping
	if t == old {
		return mediaapi.Reply{}, nil, nil
	}
	rec := e.cfg.Recorder
	if t.On {
		if err := rec.Start(c.id, t.Label); err != nil {
			if errors.Is(err, record.ErrLabel) || errors.Is(err, record.ErrCallID) {
				err = refuse(400, "%v", err)
			}
			return mediaapi.Reply{}, nil, err
		}
	}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.taping = t
	switch {
	case !t.On:
		if old.On {
			rec.Stop(c.id)
		}
	case t.Paused && (!old.Paused || !old.On):
		rec.Pause(c.id)
	case !t.Paused && old.Paused && old.On:
		rec.Resume(c.id)
		for _, l := range c.legs {
			l.withhold = true
		}
	}
	return mediaapi.Reply{}, c, nil
}

// resumeTaping goes on with what the call's former host did: under shard.mu.
func (e *Engine) resumeTaping(c *call, t taping) {
	c.taping = taping{Paused: t.Paused, Label: t.Label}
	if !t.On || e.cfg.Recorder == nil {
		return
	}
	if err := e.cfg.Recorder.Start(c.id, t.Label); err != nil {
		e.log.Error("recording could not be resumed", "call_id", c.id, "err", err)
		return
	}
	c.taping.On = true
	if t.Paused {
		e.cfg.Recorder.Pause(c.id) // the host's own note may have died with it
	}
}

// withheld tells whether a packet is to be left out although nothing is paused:
// the first Opus packet after a pause may carry the frame before it once more,
// for the case of its loss (RFC 6716 section 2.1.7).
func (l *leg) withheld(format *sdp.Codec) bool {
	if !l.withhold {
		return false
	}
	l.withhold = false
	return format.Name == codec.Opus
}
