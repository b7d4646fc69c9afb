package config

import (
	"slices"
	"strings"
	"time"
)

// Dialogs is how this router conducts SIP dialogs. What is not given has the
// value named in its comment.
type Dialogs struct {
	// SessionExpires is the session interval asked for (RFC 4028; 30m), and the
	// longest one granted; MinSE the shortest one taken (90s).
	SessionExpires time.Duration `yaml:"session_expires"`
	MinSE          time.Duration `yaml:"min_se"`
	Timers         Timers        `yaml:"timers"`
	// RingLimit is how long a called phone may ring whoever called it (3m). The
	// routing tree's limits are shorter, and this ends what they miss.
	RingLimit time.Duration `yaml:"ring_limit"`
	// Reliable sends provisional answers reliably to who supports it (RFC 3262),
	// not only to who requires it.
	Reliable bool `yaml:"reliable"`
	// EarlyMedia lets a customer hear what the far end of a number sends before
	// it answers (183 with SDP), instead of the music.
	EarlyMedia bool `yaml:"early_media"`
	// Redirects says what a 3xx from a trunk means: fail (the number is not
	// reached), or follow (its targets are called over the same trunks).
	Redirects string `yaml:"redirects"`
	// Codecs are those taken, by preference (opus, PCMA, PCMU).
	Codecs []string `yaml:"codecs"`
	// ShareCodec renegotiates, once, a conversation whose legs have different
	// codecs where one of them offered the other's.
	ShareCodec bool `yaml:"share_codec"`
}

// Timers are RFC 3261's. T4 has no use here: a leg answers repeats for Timer F.
type Timers struct {
	T1 time.Duration `yaml:"t1"` // round trip (500ms)
	T2 time.Duration `yaml:"t2"` // longest time between repeats (4s)
	B  time.Duration `yaml:"b"`  // our INVITE without any answer (64*T1)
	F  time.Duration `yaml:"f"`  // another request of ours without answer (64*T1)
	H  time.Duration `yaml:"h"`  // an answer of ours without ACK or PRACK (64*T1)
}

// Values of Dialogs.Redirects.
const (
	RedirectsFail   = "fail"
	RedirectsFollow = "follow"
)

// knownCodecs are those of the media workers.
var knownCodecs = []string{"opus", "PCMA", "PCMU"}

// Complete is d with its defaults.
func (d Dialogs) Complete() Dialogs {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&d.SessionExpires, 30*time.Minute)
	or(&d.MinSE, leastMinSE)
	or(&d.RingLimit, 3*time.Minute)
	or(&d.Timers.T1, 500*time.Millisecond)
	or(&d.Timers.T2, 4*time.Second)
	or(&d.Timers.B, 64*d.Timers.T1)
	or(&d.Timers.F, 64*d.Timers.T1)
	or(&d.Timers.H, 64*d.Timers.T1)
	if d.Redirects == "" {
		d.Redirects = RedirectsFail
	}
	if len(d.Codecs) == 0 {
		d.Codecs = slices.Clone(knownCodecs)
	}
	return d
}

// leastMinSE is the shortest session interval there may be (RFC 4028 section 4).
const leastMinSE = 90 * time.Second

func (d Dialogs) validate(t *tree) {
	const at = "sip.dialogs."
	full := d.Complete()
	within := func(key string, v, least, most time.Duration) {
		if v < least || v > most {
			t.at(at+key, "%v: want %v to %v", v, least, most)
		}
	}
	within("min_se", full.MinSE, leastMinSE, time.Hour)
	within("session_expires", full.SessionExpires, max(leastMinSE, full.MinSE), 24*time.Hour)
	within("ring_limit", full.RingLimit, 10*time.Second, time.Hour)
	within("timers.t1", full.Timers.T1, 50*time.Millisecond, 5*time.Second)
	within("timers.t2", full.Timers.T2, full.Timers.T1, 30*time.Second)
	within("timers.b", full.Timers.B, 8*full.Timers.T1, 5*time.Minute)
	within("timers.f", full.Timers.F, 8*full.Timers.T1, 5*time.Minute)
	within("timers.h", full.Timers.H, 8*full.Timers.T1, 5*time.Minute)
	for _, s := range []struct {
		key string
		d   time.Duration
	}{{"session_expires", d.SessionExpires}, {"min_se", d.MinSE}} {
		if s.d%time.Second != 0 {
			t.at(at+s.key, "%v: whole seconds only", s.d)
		}
	}
	if full.Redirects != RedirectsFail && full.Redirects != RedirectsFollow {
		t.at(at+"redirects", "%q: want %s or %s", d.Redirects, RedirectsFail, RedirectsFollow)
	}
	for i, c := range full.Codecs {
		if !slices.Contains(knownCodecs, c) {
			t.at(at+"codecs", "%q is none of %s", c, strings.Join(knownCodecs, ", "))
		} else if slices.Index(full.Codecs, c) < i {
			t.at(at+"codecs", "%q is there twice", c)
		}
	}
}
