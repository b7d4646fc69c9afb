package session

import (
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// blocked is what of a leg, or of every leg of a call, is kept from the other
// side by command.
type blocked struct {
	DTMF    bool `json:"dtmf,omitempty"`    // RFC 4733 events
	Media   bool `json:"media,omitempty"`   // all else
	Silence bool `json:"silence,omitempty"` // audio goes as silence
}

func (b blocked) with(o blocked) blocked {
	return blocked{b.DTMF || o.DTMF, b.Media || o.Media, b.Silence || o.Silence}
}

// muted tells whether a mix must do without the leg's voice.
func (l *leg) muted() bool {
	b := l.blocked.with(l.call.blocked)
	return b.Media || b.Silence
}

// blocking returns the handler of one of the block commands.
func blocking(set func(b *blocked, on bool), on bool) handler {
	return func(e *Engine, r *mediaapi.Request) (mediaapi.Reply, *call, error) {
		c := e.calls[r.CallID]
		if c == nil {
			return mediaapi.Reply{}, nil, refuse(481, "unknown call-id")
		}
		var legs []*leg
		// A client names a participant by tag in every command: it is meant only
		// with the flag.
		directional := r.HasFlag("directional") || r.Leg != "" || r.Label != "" || r.Party != ""
		if directional {
			var err error
			if legs, err = e.participants(r); err != nil {
				return mediaapi.Reply{}, nil, err
			}
		}
		c.shard.mu.Lock()
		defer c.shard.mu.Unlock()
		if !directional {
			set(&c.blocked, on)
			if !on && r.All == "all" {
				legs = c.legs
			}
		}
		for _, l := range legs {
			set(&l.blocked, on)
		}
		for _, l := range c.legs {
			if l.peer != nil {
				routeOneWay(l, l.peer)
			}
		}
		return mediaapi.Reply{}, c, nil
	}
}

func setDTMF(b *blocked, on bool)    { b.DTMF = on }
func setMedia(b *blocked, on bool)   { b.Media = on }
func setSilence(b *blocked, on bool) { b.Silence = on }

// block takes out of a leg's routes what is kept from the other side, or makes
// silence of it: under shard.mu.
func (l *leg) block(to *leg) {
	b := l.blocked.with(l.call.blocked)
	if b == (blocked{}) {
		return
	}
	for _, in := range l.Receive {
		r := &l.forward[in.PT]
		switch silence := silenceOf(to.Send[0].Name); {
		case in.Name == sdp.Event && b.DTMF, in.Name != sdp.Event && b.Media:
			*r = route{blocked: true}
		case in.Name == sdp.Event || !b.Silence:
		case r.pass && r.trans == nil && silence != nil:
			r.table = silence
		default: // an encoder's silence is nothing sent
			*r = route{blocked: true}
		}
	}
}

// silenceOf turns every octet of G.711 to the one of silence; nil for a codec
// that has none.
func silenceOf(name string) *[256]byte {
	switch name {
	case sdp.PCMA:
		return &silentALaw
	case sdp.PCMU:
		return &silentMuLaw
	}
	return nil
}

var silentALaw, silentMuLaw = func() (a, mu [256]byte) {
	for i := range 256 {
		a[i], mu[i] = 0xd5, 0xff // ITU-T G.711 tables 1a and 2a: the smallest positive value
	}
	return a, mu
}()

// unsupported returns the handler of a command that is known and not served.
func unsupported(why string) handler {
	return func(*Engine, *mediaapi.Request) (mediaapi.Reply, *call, error) {
		return mediaapi.Reply{}, nil, refuse(501, "%s", why)
	}
}
