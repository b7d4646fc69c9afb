package mediaapi

import (
	"reflect"
	"testing"
)

// rtpengine's callers say one thing in many ways: by key, by flag, or, where
// Kamailio leaves flags unread, in their text.
func TestFlagsMeanTheSameHoweverSaid(t *testing.T) {
	f := func(msg string, want Request) {
		t.Helper()
		_, _, got, err := ParseRequest([]byte("c " + msg))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", msg, got, err, want)
		}
	}
	want := Request{Command: Offer, Transport: "RTP/AVP", ICE: "remove", Replace: []string{"origin"}, SDES: []string{"off"},
		RTCPMux: []string{"demux"}, Codec: Codecs{Mask: []string{"opus"}, Transcode: []string{"PCMA"}}, Flags: []string{"trust-address"}}
	f(`{"command":"offer","rtpp-flags":"RTP/AVP ICE=remove replace-origin SDES-off rtcp-mux-demux codec-mask-opus transcode-PCMA trust-address"}`, want)
	f(`{"command":"offer","transport-protocol":"RTP/AVP","ICE":"remove","replace":["origin"],"SDES":["off"],"rtcp-mux":["demux"],"codec":{"mask":["opus"],"transcode":["PCMA"]},"flags":["trust-address"]}`, want)
	f(`{"command":"offer","ICE":"remove","flags":["RTP/AVP","replace-origin","SDES-off","rtcp-mux-demux","codec-mask-opus","codec-transcode-PCMA","trust-address"]}`, want)
	f(`{"command":"offer","flags":["SRTP","AVPF"]}`, Request{Command: Offer, Transport: "RTP/SAVPF"})
	f(`{"command":"offer","flags":["SRTP","DTLS"]}`, Request{Command: Offer, Transport: "UDP/TLS/RTP/SAVP"})
	f(`{"command":"offer","flags":["RTP","AVP"]}`, Request{Command: Offer, Transport: "RTP/AVP"})
	f(`{"command":"play DTMF","digit":"5","flags":["ALL"]}`, Request{Command: PlayDTMF, Code: "5", All: "all", Flags: []string{"ALL"}})
}

func TestFlagsAreFoundHoweverSpelled(t *testing.T) {
	r := Request{Flags: []string{"Record call", "no_port_latching"}}
	if !r.HasFlag("record-call") || !r.HasFlag("no-port-latching") || r.HasFlag("record") {
		t.Error("spelling counts")
	}
}
