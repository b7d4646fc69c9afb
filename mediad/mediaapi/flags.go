package mediaapi

import (
	"slices"
	"strings"
)

// readFlags sorts out what rtpengine's callers may say in more than one way: a
// flag of the list ("codec-mask-opus", "SDES-off", "RTP/SAVP"), the same in the
// text that Kamailio's module passes on unread (rtpp-flags), or a key.
func (r *Request) readFlags() {
	given := append(slices.Clip(r.Flags), strings.Fields(r.RtppFlags)...)
	r.Flags, r.RtppFlags = nil, ""
	for _, f := range given {
		if !r.readFlag(f) {
			r.Flags = append(r.Flags, f)
		}
	}
	if r.Digit != "" {
		r.Code, r.Digit = r.Digit, ""
	}
	if r.HasFlag("all") {
		r.All = "all"
	}
}

// HasFlag tells whether a flag is set, however it is spelled.
func (r *Request) HasFlag(name string) bool {
	return slices.ContainsFunc(r.Flags, func(f string) bool { return normalKey(f) == name })
}

// lists are the flags that are a list's name, "-" or "=", and an entry of it.
func (r *Request) lists() map[string]*[]string {
	return map[string]*[]string{
		"sdes": &r.SDES, "rtcp-mux": &r.RTCPMux, "replace": &r.Replace, "transcode": &r.Codec.Transcode,
		"codec-strip": &r.Codec.Strip, "codec-except": &r.Codec.Except, "codec-offer": &r.Codec.Offer, "codec-mask": &r.Codec.Mask,
		"codec-consume": &r.Codec.Consume, "codec-accept": &r.Codec.Accept, "codec-transcode": &r.Codec.Transcode, "codec-set": &r.Codec.Set,
	}
}

// readFlag takes a flag that is more than a word of its own.
func (r *Request) readFlag(f string) bool {
	for name, list := range r.lists() {
		if len(f) > len(name)+1 && strings.EqualFold(f[:len(name)], name) && (f[len(name)] == '-' || f[len(name)] == '=') {
			*list = append(*list, f[len(name)+1:])
			return true
		}
	}
	if r.readTransport(f) {
		return true
	}
	key, value, ok := strings.Cut(f, "=")
	if !ok {
		return false
	}
	fields := map[string]*string{
		"ice": &r.ICE, "dtls": &r.DTLS, "transport-protocol": &r.Transport, "from-tag": &r.FromTag, "to-tag": &r.ToTag,
		"call-id": &r.CallID, "label": &r.Label, "set-label": &r.SetLabel, "address": &r.Party,
		"record-call": &r.RecordCall, "media-address": &r.Address, "all": &r.All, "file": &r.Prompt, "code": &r.Code, "digit": &r.Digit,
	}
	if to := fields[normalKey(key)]; to != nil {
		*to = value
		return true
	}
	return false
}

// readTransport takes the words for the far side's transport, whole or in parts
// that add up, as Kamailio's module reads them.
func (r *Request) readTransport(f string) bool {
	base, secure, dtls, feedback := "RTP/", strings.Contains(r.Transport, "SAVP"), strings.HasPrefix(r.Transport, "UDP/TLS"), strings.HasSuffix(r.Transport, "F")
	switch f {
	case "RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		r.Transport = f
		return true
	case "RTP":
		secure = false
	case "SRTP":
		secure = true
	case "AVP":
		feedback = false
	case "AVPF":
		feedback = true
	case "DTLS":
		secure, dtls = true, true
	default:
		return false
	}
	if dtls && secure {
		base = "UDP/TLS/RTP/"
	}
	if secure {
		base += "S"
	}
	if base += "AVP"; feedback {
		base += "F"
	}
	r.Transport = base
	return true
}
