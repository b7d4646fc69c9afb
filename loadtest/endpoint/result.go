package endpoint

import "time"

// CallResult is what a far end saw of one call. Zero times did not happen.
type CallResult struct {
	SIPCallID  string // Call-ID of this leg
	CallID     string // Trunkline's own id: X-Trunkline-Call, or read from the leg's Call-ID
	Code       int    // final code of the INVITE; 408 when none came
	Reason     string
	RetryAfter int // seconds, from a refusal

	Invited  time.Time // INVITE sent or received
	Rang     time.Time // first 180 or 183
	Answered time.Time // 200 received, or sent
	Ended    time.Time // BYE sent or received
	EndedBy  string    // "us", "peer"
	ByeCode  int       // answer to our BYE

	Codec     string // as negotiated
	Suite     string
	Reinvites int // INVITE and UPDATE received inside the dialog

	KeysByInfo string // received, see Media.Keys for those by RTP events

	Media MediaResult
}

// Setup is the time from INVITE to 200.
func (r CallResult) Setup() time.Duration {
	if r.Answered.IsZero() {
		return 0
	}
	return r.Answered.Sub(r.Invited)
}

// MediaResult is what a far end sent and heard.
//
// The talk phase runs from the first packet that bears the far end's mark, or
// from Call.BeginTalk, to the BYE: prompts and music are not in it.
type MediaResult struct {
	Sent     int
	Received int // authentic, not repeated
	Rejected int // failed authentication, or a replay
	Forged   int // failed authentication, of those
	Lost     int // holes in the RTP sequence, each SSRC by itself, prompts included
	SSRCs    int
	Returned int // packets of an SSRC that another had taken the place of before

	TalkFrom   time.Time
	TalkTo     time.Time
	Talk       int           // packets received in the talk phase
	LongestGap time.Duration // between two packets of the talk phase, or its last packet and its end
	Marked     int           // packets with the far end's mark
	Late       int           // packets with a mark older than 200 ms against the newest
	MarksLost  int           // marks missing between the first and the last: lost end to end
	Source     uint16        // whose mark it was

	Keys string // received as RTP events, each event once

	Heard  map[int]int // by frequency: blocks of 200 ms in the talk phase it dominates
	Blocks int         // blocks of 200 ms in the talk phase

	SendLate     time.Duration // worst delay of our own pacing; the generator's health
	RTCPSent     int
	RTCPReceived int // authentic
}

// HeardShare is the share of the talk phase in which a frequency dominates.
func (m MediaResult) HeardShare(freq int) float64 {
	if m.Blocks == 0 {
		return 0
	}
	return float64(m.Heard[freq]) / float64(m.Blocks)
}
