// Package mediaapi is the wire format of a media worker's control port: the
// rtpengine NG protocol (`cookie SP dictionary`, the dictionary in bencode or
// JSON) with Trunkline's commands under the same envelope, a client for it, and
// what a worker says of itself in gossip.
//
// It knows messages, not media: it interprets no SDP, holds no session and
// decides nothing. It imports the standard library only, so that routerd and
// loadtest may use it without drawing in mediad.
//
// Spaces and hyphens in keys and in command names are alike ("call id" is
// "call-id"), as are upper and lower case; keys that are not known are ignored,
// because rtpengine's callers send many that mean nothing here.
package mediaapi

// The commands of a worker. Those above the blank line are rtpengine's.
const (
	Ping           = "ping"
	Offer          = "offer"
	Answer         = "answer"
	Delete         = "delete"
	Query          = "query"
	List           = "list"
	PlayMedia      = "play media"
	StopMedia      = "stop media"
	PlayDTMF       = "play dtmf"
	StartRecording = "start recording"
	StopRecording  = "stop recording"
	PauseRecording = "pause recording" // until start recording

	BlockDTMF        = "block dtmf"
	UnblockDTMF      = "unblock dtmf"
	BlockMedia       = "block media"
	UnblockMedia     = "unblock media"
	SilenceMedia     = "silence media"
	UnsilenceMedia   = "unsilence media"
	StartForwarding  = "start forwarding"
	StopForwarding   = "stop forwarding"
	SubscribeRequest = "subscribe request"
	SubscribeAnswer  = "subscribe answer"
	Unsubscribe      = "unsubscribe"

	// LegAccept takes a peer's SDP offer for one leg and returns our answer.
	// A repeat returns the same answer; an offer with a new o= version
	// renegotiates the leg in place (re-INVITE).
	LegAccept = "leg accept"
	// LegOffer makes our SDP offer for one leg. A repeat returns the same SDP.
	// With Renew it offers a leg that has its terms others: those stay in force
	// until LegAnswer brings the answer.
	LegOffer = "leg offer"
	// LegAnswer takes the peer's SDP answer to LegOffer's offer.
	LegAnswer = "leg answer"
	// Connect relays between Leg and Peer, and stops what plays to them.
	Connect = "connect"
	// Supervise has Leg hear Peer and the leg that is connected with it, and be
	// heard as Mode says. To take a call over, connect.
	Supervise = "supervise"
	// Digits takes note that the keys a leg's peer pressed are dealt with up to
	// Serial; see Events.
	Digits = "digits"
	// Events asks to be told of keys as they are pressed (RFC 4733): the reply
	// is followed by others under the same cookie, each with Reply.Digits, first
	// what nobody has dealt with yet, or with Reply.Silent: workers this one
	// stands by for and hears nothing of. Asking again on the connection begins
	// anew. Routers only, over TLS: keys may be a card's number.
	Events = "events"
	// Links tells how the links of labelled legs (Request.Link) did: a Bucket for
	// each ten seconds after Serial and each link that had a leg, at most six.
	Links = "links"
	// Host tells a worker which worker hosts a media address and who its
	// standby is; see Request.Address, Worker, Epoch, Standby, Replication.
	Host = "host"
	// BeginAnew tells a worker that its life of Incarnation was declared over
	// while it hung, or could not be heard: it drops all it holds and begins
	// another. Told to any other life it is refused.
	BeginAnew = "begin anew"
)

// Values of Request.Mode.
const (
	Listen       = "listen"  // nobody hears Leg
	Whisper      = "whisper" // Peer does
	Join         = "join"    // Peer and the leg connected with it do
	Unsupervised = "none"    // Leg neither hears nor is heard
)

// Values of Reply.Result.
const (
	ResultOK    = "ok"
	ResultPong  = "pong"
	ResultError = "error"
	// ResultLoadLimit answers an offer of a caller that says it knows it
	// (Request.Supports): it is to ask another node.
	ResultLoadLimit = "load limit"
)

// Reasons that Kamailio's rtpengine module knows: it then tries the next node
// of its set rather than failing the call.
const (
	ReasonLoadLimit    = "Load limit exceeded"
	ReasonSessionLimit = "Parallel session limit reached"
	ReasonOutOfPorts   = "Ran out of ports"
	ReasonNotHosted    = "Media address not hosted here"
)

// MaxLabel bounds Request.Label.
const MaxLabel = 64

// Values of Request.Flags.
const (
	// FlagPause makes stop recording a pause, as rtpengine has it.
	FlagPause = "pause"
	// FlagKeepPause has start recording leave a pause alone: a router repeats its
	// orders after a takeover, and card data may be spoken just then.
	FlagKeepPause = "keep-pause"
	// FlagResume has start recording end a pause and begin nothing.
	FlagResume = "resume"
)

// ReasonNoEvents refuses PlayDTMF for a peer that takes no telephone-event.
const ReasonNoEvents = "telephone-event is not negotiated"

// Request is one command. Which fields count depends on Command.
type Request struct {
	Command string `ng:"command"`
	CallID  string `ng:"call-id"`

	Leg  string `ng:"leg"`  // this leg; "1" is the caller's
	Peer string `ng:"peer"` // connect: the other leg

	SDP    string   `ng:"sdp"`
	Codecs []string `ng:"codecs"` // by preference: "opus", "PCMA", "PCMU"; empty: all
	Renew  bool     `ng:"renew"`  // leg offer
	Suites []string `ng:"suites"` // by preference, RFC 4568 and 7714 names; empty: all

	// Link names the link that the leg's far end is reached by; leg accept, leg
	// offer and leg answer set it, and of rtpengine's commands offer, answer and
	// subscribe answer, for the one whose SDP they bring. The leg's figures count
	// for it from then on.
	Link string `ng:"link"`

	Mode string `ng:"mode"` // supervise

	// Label, of MaxLabel bytes at most, is what a recording is kept by: the name of
	// the queue. It may change with another start recording. In commands about
	// one participant of rtpengine's it names that, by what SetLabel gave it.
	Label string `ng:"label"`

	Prompt string `ng:"file"` // play media: prompt name, without ".wav"
	Loop   bool   `ng:"loop"` // play media: until stopped

	// Prompts, instead of Prompt, are played one after the other without a gap,
	// then Then until stopped. Those the worker does not have are left out, and
	// told in Reply.Skipped.
	Prompts []string `ng:"files"`
	Then    string   `ng:"then"`

	// Play DTMF sends keys to Leg's peer as RFC 4733 events: Code, one key as
	// rtpengine has it (0 to 15, or its sign), or Keys, any number in order, where
	// a comma is a pause of 500 ms. Serial, if not 0, numbers the last of them over
	// the leg's life from 1: those sent before are left out, so that it may be
	// asked for again. rtpengine's callers name by FromTag the leg that presses.
	//
	// With Peer instead of Leg the keys were pressed at that leg's far end and told
	// otherwise than by events; Serial numbers them there. They go to the leg it
	// is connected with, or, if that takes no events, to the routers as if heard
	// in events (Events). Its real events mean nothing from then on; if there were
	// some before, the keys are taken for the same and left out.
	//
	// Times are in milliseconds, from 100 to 5000; 0: 250 and 100. Volume is in
	// dBm0, with or without its sign; 0: -8.
	Code     string `ng:"code"`
	Keys     string `ng:"keys"`
	Duration int64  `ng:"duration"`
	Pause    int64  `ng:"pause"`
	Volume   int64  `ng:"volume"`

	Serial uint64 `ng:"serial"` // digits, play DTMF, links

	// Address is the media address: for leg commands the one to open the leg
	// on (empty: the worker's choice), for host the one that moves.
	Address string `ng:"media-address"`

	// The rest of host. Worker is who hosts Address from now on; empty means
	// the worker that is asked. A lower Epoch than one already seen for the
	// address is refused; the same one again is a harmless repeat.
	Worker      string `ng:"worker"`
	Epoch       uint64 `ng:"epoch"`
	Standby     string `ng:"standby"`     // empty: no standby
	Replication string `ng:"replication"` // the standby's replication host:port

	Incarnation uint64 `ng:"incarnation"` // begin anew

	// The rest is rtpengine's, for calls by offer and answer; docs/ng.md says
	// what becomes of each. Legs are named by their SIP tags.
	FromTag   string   `ng:"from-tag"`
	ToTag     string   `ng:"to-tag"`
	ViaBranch string   `ng:"via-branch"` // which fork of an offer
	FromTags  []string `ng:"from-tags"`  // subscribe request
	All       string   `ng:"all"`        // every participant
	SetLabel  string   `ng:"set-label"`  // offer, answer: of FromTag's leg, or ToTag's
	Party     string   `ng:"address"`    // instead of FromTag: as its SDP says

	// Transport is wanted of the far side: "RTP/SAVP", "RTP/AVP",
	// "UDP/TLS/RTP/SAVPF" and their like; empty: the offerer's own. With leg
	// accept, "RTP/AVP" allows the peer plain RTP, if configuration does so too.
	Transport string   `ng:"transport-protocol"`
	ICE       string   `ng:"ice"`
	DTLS      string   `ng:"dtls"`
	SDES      []string `ng:"sdes"`
	Codec     Codecs   `ng:"codec"`
	Flags     []string `ng:"flags"`
	Replace   []string `ng:"replace"`
	RTCPMux   []string `ng:"rtcp-mux"`
	RtppFlags string   `ng:"rtpp-flags"` // Kamailio's flags, unread by its module
	Supports  []string `ng:"supports"`

	MessageType string `ng:"sip-message-type"` // "sip_request" or "sip_reply"

	RecordCall string `ng:"record-call"`
	Metadata   string `ng:"metadata"`
	ToCallID   string `ng:"to-call-id"` // connect
	Digit      string `ng:"digit"`      // play DTMF: another name of Code
	Repeat     int64  `ng:"repeat-times"`
	Limit      int64  `ng:"limit"` // list: at most so many
}

// Codecs are rtpengine's wishes about the far side's offer, by codec name, "all"
// or "full" for every one.
type Codecs struct {
	Strip     []string `ng:"strip"`  // not to be offered nor taken
	Except    []string `ng:"except"` // but these
	Offer     []string `ng:"offer"`  // of those stripped, these after all
	Mask      []string `ng:"mask"`   // not to be offered, yet taken of the offerer
	Consume   []string `ng:"consume"`
	Accept    []string `ng:"accept"`
	Transcode []string `ng:"transcode"` // to be offered beside the offerer's
	Set       []string `ng:"set"`
}

// Reply is a worker's answer to one Request.
type Reply struct {
	Result string `ng:"result"`       // ResultOK, ResultPong or ResultError
	Reason string `ng:"error-reason"` // with ResultError
	Code   int64  `ng:"sip-code"`     // with ResultError: the SIP code that fits, or 0

	SDP   string `ng:"sdp"`
	Codec string `ng:"codec"` // of the leg, e.g. "PCMA"
	// Direction is ours on the leg, as in Leg: a peer that does not want to
	// hear us (hold) leaves recvonly or inactive.
	Direction string `ng:"direction"`
	Suite     string `ng:"suite"`    // of the leg, e.g. "AEAD_AES_128_GCM"
	Address   string `ng:"address"`  // media address of the leg
	Duration  int64  `ng:"duration"` // milliseconds: play media, of one pass, Then left out; play DTMF, until the last key is out

	Skipped []string  `ng:"skipped"` // play media: prompts of the list that there are not
	Digits  []Pressed `ng:"digits"`  // events
	Silent  []Silent  `ng:"silent"`  // events

	Worker  string   `ng:"worker"`
	Calls   []string `ng:"calls"`   // list
	Created int64    `ng:"created"` // query: Unix seconds
	Legs    []Leg    `ng:"legs"`    // query
	Buckets []Bucket `ng:"buckets"` // links, oldest first
	Serial  uint64   `ng:"serial"`  // links: of the newest ten seconds that are over; 0: none is
	Age     int64    `ng:"age"`     // links: milliseconds since those ended

	// What rtpengine's callers read, in its words.
	Message    string             `ng:"message"` // with ResultLoadLimit
	Warning    string             `ng:"warning"`
	ToTag      string             `ng:"to-tag"`    // subscribe request
	FromTags   []string           `ng:"from-tags"` // of whom it is subscribed to
	TagMedias  []TagMedias        `ng:"tag-medias"`
	LastSignal int64              `ng:"last signal"` // Unix seconds
	Tags       map[string]TagInfo `ng:"tags"`        // by SIP tag
	SSRCs      map[string]SSRC    `ng:"SSRC"`        // by number
	Totals     *Totals            `ng:"totals"`
}

// BucketSeconds is how long a Bucket lasts.
const BucketSeconds = 10

// Bucket is what the labelled legs of one link saw in ten seconds. Received is of
// what came from the link, sent of what went there; how that arrived is as its far
// ends' RTCP says. Means can be merged over workers by their weights.
type Bucket struct {
	Link   string `ng:"link"`
	Serial uint64 `ng:"serial"` // of the ten seconds, from 1 over the worker's life
	Calls  int64  `ng:"calls"`  // legs that received or sent

	Received       int64 `ng:"received"` // RTP packets expected: received and lost
	ReceivedLost   int64 `ng:"received-lost"`
	ReceivedJitter int64 `ng:"received-jitter"` // microseconds (RFC 3550 A.8), mean by packets
	ReceivedBytes  int64 `ng:"received-bytes"`  // with IP and UDP headers, without RTCP
	SentPackets    int64 `ng:"sent-packets"`
	Sent           int64 `ng:"sent"` // RTP packets that the reports cover
	SentLost       int64 `ng:"sent-lost"`
	SentJitter     int64 `ng:"sent-jitter"`
	SentBytes      int64 `ng:"sent-bytes"`

	Delay int64 `ng:"delay"` // microseconds, half the round trip, mean by legs
	Timed int64 `ng:"timed"` // legs whose round trip was measured

	Reporting int64 `ng:"reporting"` // legs whose far end sends RTCP
	Silent    int64 `ng:"silent"`    // legs that heard audio for 15 s and no RTCP
}

// Pressed is keys that a leg's peer has pressed and nobody has dealt with yet,
// at most 32. Serial numbers the last of them, from 1 over the leg's life: a
// listener leaves out what it has had. It is the same after a takeover.
type Pressed struct {
	CallID string `ng:"call-id"`
	Leg    string `ng:"leg"`
	Serial uint64 `ng:"serial"`
	Keys   string `ng:"keys"` // 0 to 9, *, #, A to D, in order; - for one that passed to Peer as it was
	Peer   string `ng:"peer"` // the leg it is connected with, if it is
}

// Silent is a life of a worker that its standby has heard nothing of for some
// time, though the connection stands: it hangs, or lost its power or its network.
// That is a suspicion; whoever is told should ask the worker itself.
type Silent struct {
	Worker      string `ng:"worker"`
	Incarnation uint64 `ng:"incarnation"`
}

// Leg is what query tells of one leg. Received figures are of the stream that
// authenticated last; packets that did not authenticate count in AuthFailed
// only.
type Leg struct {
	Leg       string `ng:"leg"`
	Peer      string `ng:"peer"` // connected with
	Codec     string `ng:"codec"`
	Suite     string `ng:"suite"`
	Direction string `ng:"direction"` // ours: sendrecv, sendonly, recvonly, inactive
	Local     string `ng:"local"`     // RTP address:port of ours
	Remote    string `ng:"remote"`    // where RTP goes now
	Playing   string `ng:"playing"`   // prompt, or ""
	Mode      string `ng:"mode"`      // of a supervisor
	Recording bool   `ng:"recording"`
	Paused    bool   `ng:"paused"` // the recording is

	SSRC       uint64 `ng:"ssrc"` // of the received stream
	Packets    uint64 `ng:"packets"`
	Bytes      uint64 `ng:"bytes"` // of payload
	Lost       int64  `ng:"lost"`  // RFC 3550 A.3, may be negative with duplicates
	MaxGap     int64  `ng:"max-gap"`
	Jitter     int64  `ng:"jitter"` // RFC 3550 A.8, microseconds
	AuthFailed uint64 `ng:"auth-failed"`
	Replayed   uint64 `ng:"replayed"`
	Misplaced  uint64 `ng:"misplaced"` // authentic, but of a payload type not negotiated

	MOS      int64 `ng:"mos"`       // mean of its ten-second intervals, times 100; 0: none was rated
	MOSWorst int64 `ng:"mos-worst"` // of them
	OneWay   bool  `ng:"one-way"`   // for ten seconds it was sent to and neither audio nor RTCP came

	SentPackets uint64 `ng:"sent-packets"`
	SentBytes   uint64 `ng:"sent-bytes"`

	RTCPReceived uint64 `ng:"rtcp-received"`
	RTCPSent     uint64 `ng:"rtcp-sent"`
	RemoteLost   int64  `ng:"remote-lost"`   // as the peer's last report says
	RemoteJitter int64  `ng:"remote-jitter"` // microseconds, as the peer says
	RTT          int64  `ng:"rtt"`           // microseconds, from LSR/DLSR; 0: unknown
}

// TagMedias is one participant of a subscription.
type TagMedias struct {
	Tag    string  `ng:"tag"`
	Medias []Media `ng:"medias"`
}

// TagInfo is what query and delete tell of one participant.
type TagInfo struct {
	Tag       string   `ng:"tag"`
	Label     string   `ng:"label"`
	ViaBranch string   `ng:"via-branch"`
	Created   int64    `ng:"created"`          // Unix seconds
	InCall    []string `ng:"in dialogue with"` // SIP tags
	Medias    []Media  `ng:"medias"`
}

// Media is one m= line of a participant.
type Media struct {
	Index    int64    `ng:"index"` // from 1
	Type     string   `ng:"type"`
	Protocol string   `ng:"protocol"`
	Label    string   `ng:"label"`
	Streams  []Stream `ng:"streams"` // RTP, then RTCP if it has a port of its own
}

// Stream is one port of ours.
type Stream struct {
	LocalPort int64     `ng:"local port"`
	Endpoint  Endpoint  `ng:"endpoint"`
	Crypto    string    `ng:"crypto suite"`
	SSRC      int64     `ng:"SSRC"` // heard last
	Stats     Traffic   `ng:"stats"`
	StatsOut  Traffic   `ng:"stats_out"`
	Ingress   []Ingress `ng:"ingress SSRCs"`
}

// Ingress names a stream that is received.
type Ingress struct {
	SSRC int64 `ng:"SSRC"`
}

// Endpoint is where packets go.
type Endpoint struct {
	Family  string `ng:"family"` // "IPv4" or "IPv6"
	Address string `ng:"address"`
	Port    int64  `ng:"port"`
}

// Traffic counts packets.
type Traffic struct {
	Packets uint64 `ng:"packets,keep"`
	Bytes   uint64 `ng:"bytes,keep"`
	Errors  uint64 `ng:"errors,keep"`
}

// Totals are of a whole call.
type Totals struct {
	RTP  Traffic `ng:"RTP,keep"`
	RTCP Traffic `ng:"RTCP,keep"`
}

// SSRC is how well one received stream is heard.
type SSRC struct {
	Average MOS `ng:"average MOS"`
	Lowest  MOS `ng:"lowest MOS"`
	Highest MOS `ng:"highest MOS"`
}

// MOS is an E-model figure and what it was made of.
type MOS struct {
	MOS       int64 `ng:"MOS"` // times 10
	Reported  int64 `ng:"reported at"`
	Loss      int64 `ng:"packet loss"` // percent
	Jitter    int64 `ng:"jitter"`      // milliseconds
	RoundTrip int64 `ng:"round-trip time"`
	Samples   int64 `ng:"samples"`
}

// WorkerMeta is what a worker gossips about itself, as JSON of at most 512
// bytes.
type WorkerMeta struct {
	Kind        string   `json:"kind"` // "worker"
	Incarnation uint64   `json:"incarnation"`
	Control     string   `json:"control"`     // NG over mutual TLS, host:port
	Replication string   `json:"replication"` // host:port
	Addresses   []string `json:"addresses"`   // its own media addresses
	Sessions    int      `json:"sessions"`    // open legs
	FreePorts   int      `json:"free_ports"`  // port pairs free, all hosted addresses
	Draining    bool     `json:"draining,omitempty"`
	// Covered, of one that drains: each of its addresses has a standby that holds
	// all of it, so that the calls can go on there at once.
	Covered bool `json:"covered,omitempty"`
}

// WorkerKind is WorkerMeta.Kind.
const WorkerKind = "worker"

// Error is a worker's refusal, as Client.Do returns it.
type Error struct {
	Command string
	Reason  string
	Code    int // SIP code that fits, or 0
}

func (e *Error) Error() string { return "worker refused " + e.Command + ": " + e.Reason }
