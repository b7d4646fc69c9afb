package mediaapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
)

// What Kamailio 6's rtpengine module sends, and the same in JSON with the
// other spelling of keys and commands.
func TestKamailioMessagesAreUnderstood(t *testing.T) {
	f := func(msg, wantCookie string, wantFormat Format, want Request) {
		t.Helper()
		cookie, format, got, err := ParseRequest([]byte(msg))
		if err != nil {
			t.Fatalf("%q: %v", msg, err)
		}
		if cookie != wantCookie || format != wantFormat || !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %q %d %+v\nwant %q %d %+v", msg, cookie, format, got, wantCookie, wantFormat, want)
		}
	}
	f("1722_1 d7:command4:pinge", "1722_1", Bencode, Request{Command: Ping})
	f("1722_2 d3:ICE6:remove5:flagsl17:trust-address-newe7:replacel6:origine18:transport-protocol8:RTP/SAVP"+
		"7:call-id3:abc13:received-froml3:IP49:127.0.0.1e8:from-tag2:ft7:command5:offer3:sdp4:v=0\ne",
		"1722_2", Bencode, Request{Command: Offer, CallID: "abc", FromTag: "ft", SDP: "v=0\n", Transport: "RTP/SAVP",
			ICE: "remove", Flags: []string{"trust-address-new"}, Replace: []string{"origin"}})
	f(`x {"command":"play-media","call id":"c","LEG":"2","file":"moh","loop":"yes"}`, "x", JSON,
		Request{Command: PlayMedia, CallID: "c", Leg: "2", Prompt: "moh", Loop: true})
	f(`x {"command":"host","media_address":"127.0.0.1","epoch":18446744073709551615}`, "x", JSON,
		Request{Command: Host, Address: "127.0.0.1", Epoch: math.MaxUint64})
	f("1722_3 d7:command9:play DTMF7:call-id3:abc8:from-tag2:ft4:codei10e8:durationi300e5:pausei150e6:volumei-12ee", "1722_3", Bencode,
		Request{Command: PlayDTMF, CallID: "abc", FromTag: "ft", Code: "10", Duration: 300, Pause: 150, Volume: -12})
	f(`x {"command":"leg offer","codecs":"PCMA"}`, "x", JSON, Request{Command: LegOffer, Codecs: []string{"PCMA"}})
}

func TestMalformedMessagesAreErrors(t *testing.T) {
	f := func(msg string) {
		t.Helper()
		if _, _, _, err := ParseRequest([]byte(msg)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", msg, err)
		}
	}
	f("")
	f("cookie")
	f("cookie ")
	f(" d7:command4:pinge")
	f("c x")
	f("c d7:command4:ping")
	f("c d7:command4:pingeXX")
	f("c d7:command99999999999:pinge")
	f("c di1ei2ee")
	f("c " + strings.Repeat("d1:a", 40) + strings.Repeat("e", 40))
	f(`c {"command":"ping"} x`)
	f(`c {"command":["ping",`)
	f(`c {"epoch":"minus one"}`)
	f(`c {"loop":{}}`)
	f(`c {"command":{"a":1}}`)
	f(strings.Repeat("c", 200) + " d7:command4:pinge")
}

func fullRequest() Request {
	return Request{Command: Host, CallID: "c1", Leg: "1", Peer: "2", SDP: "v=0\r\ns=\"-\"\r\n", Codecs: []string{"opus", "PCMA"},
		Suites: []string{"AEAD_AES_128_GCM"}, Prompt: "moh", Loop: true, Renew: true, Address: "127.0.0.1", Worker: "m1",
		Epoch: math.MaxUint64, Standby: "m2", Replication: "127.0.0.1:2226", FromTag: "a", ToTag: "b", Transport: "RTP/SAVP",
		Flags: []string{"x"}, Replace: []string{"origin"}, RTCPMux: []string{"offer"}, Limit: math.MinInt64,
		Prompts: []string{"position", "number-3"}, Then: "music", Serial: math.MaxUint64, Code: "5", Keys: "12,#", Duration: 250,
		Pause: 100, Volume: -8, Mode: Whisper, Incarnation: math.MaxUint64, ViaBranch: "z9hG4bK1", FromTags: []string{"a"}, All: "all", Label: "l", SetLabel: "s",
		Party: "192.0.2.1", ICE: "remove", DTLS: "off", SDES: []string{"nonew"}, Codec: fullCodecs(), Supports: []string{"load limit"},
		MessageType: "sip_reply", RecordCall: "yes", Metadata: "m", ToCallID: "d", Repeat: 2, Link: "sbc-a"}
}

func fullCodecs() Codecs {
	return Codecs{Strip: []string{"all"}, Except: []string{"PCMA"}, Offer: []string{"PCMA"}, Mask: []string{"opus"}, Consume: []string{"opus"},
		Accept: []string{"PCMU"}, Transcode: []string{"PCMU"}, Set: []string{"opus"}}
}

func fullReply() Reply {
	return Reply{Result: ResultError, Reason: ReasonOutOfPorts, Code: 503, SDP: "v=0\r\n", Codec: "PCMA", Suite: "S", Direction: "recvonly",
		Address: "127.0.0.1", Duration: 4200, Worker: "m1", Calls: []string{"a", "b"}, Created: 1, Serial: 9, Age: 1500,
		Buckets: []Bucket{{Link: "sbc-a", Serial: 9, Calls: 1, ReceivedLost: -1}},
		Message: "busy", Warning: "w", ToTag: "t", FromTags: []string{"f"}, LastSignal: 2,
		TagMedias: []TagMedias{{Tag: "f", Medias: []Media{{Index: 1, Label: "1"}}}},
		Tags: map[string]TagInfo{"f T": {Tag: "f T", Created: 1, InCall: []string{"t"}, Medias: []Media{{Index: 1, Type: "audio",
			Protocol: "RTP/SAVP", Streams: []Stream{{LocalPort: 2, Endpoint: Endpoint{"IPv4", "192.0.2.1", 4}, Crypto: "S", SSRC: 7,
				Stats: Traffic{Packets: 1}, Ingress: []Ingress{{7}}}}}}}},
		SSRCs:   map[string]SSRC{"7": {Average: MOS{MOS: 43, Samples: 1}}},
		Totals:  &Totals{RTP: Traffic{Packets: 1, Bytes: 2, Errors: 3}},
		Skipped: []string{"number-3"}, Digits: []Pressed{{CallID: "c", Leg: "1", Serial: math.MaxUint64, Keys: "12#", Peer: "2"}, {CallID: "d", Leg: "2", Serial: 1, Keys: "*"}},
		Legs: []Leg{{Leg: "1", SSRC: math.MaxUint32, Lost: -3, Recording: true}, {Leg: "2", Packets: math.MaxUint64}}}
}

// Every field goes through both formats and both ways of reading.
func TestMessagesSurviveBothFormats(t *testing.T) {
	if v := reflect.ValueOf(fullRequest()); anyZero(v) {
		t.Fatal("a field of Request is not covered")
	}
	for _, f := range []Format{Bencode, JSON} {
		stream := AppendRequest(nil, "ck", f, fullRequest())
		stream = append(stream, "\r\n"...)
		stream = AppendReply(stream, "ck2", f, fullReply())
		br := bufio.NewReader(bytes.NewReader(stream))
		msg, err := ReadMessage(br)
		if err != nil {
			t.Fatal(err)
		}
		cookie, gotFormat, req, err := ParseRequest(msg)
		if err != nil || cookie != "ck" || gotFormat != f || !reflect.DeepEqual(req, fullRequest()) {
			t.Errorf("format %d: %v %q %+v", f, err, cookie, req)
		}
		if msg, err = ReadMessage(br); err != nil {
			t.Fatal(err)
		}
		cookie, _, reply, err := ParseReply(msg)
		if err != nil || cookie != "ck2" || !reflect.DeepEqual(reply, fullReply()) {
			t.Errorf("format %d: %v %q %+v", f, err, cookie, reply)
		}
		if _, err = ReadMessage(br); err != io.EOF {
			t.Errorf("at the end: %v, want io.EOF", err)
		}
	}
}

func anyZero(v reflect.Value) bool {
	for i := range v.NumField() {
		// What is read into other fields is not there afterwards.
		if name := v.Type().Field(i).Name; name != "RtppFlags" && name != "Digit" && v.Field(i).IsZero() {
			return true
		}
	}
	return false
}

func TestStreamOfGarbageEnds(t *testing.T) {
	f := func(stream string) {
		t.Helper()
		if _, err := ReadMessage(bufio.NewReader(strings.NewReader(stream))); err == nil || err == io.EOF {
			t.Errorf("%.40q: got %v, want an error", stream, err)
		}
	}
	f("GET / HTTP/1.1\r\n")
	f("c d7:command")
	f("c " + strings.Repeat("l", 10))
	f("c d" + strings.Repeat("l", 100))
	f(`c {"a":"` + strings.Repeat("x", MaxMessage))
	f("c d999999999:")
	f(strings.Repeat("c", 1000))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("c d7:command4:pinge"))
	f.Add(AppendRequest(nil, "c", Bencode, fullRequest()))
	f.Add(AppendRequest(nil, "c", JSON, fullRequest()))
	f.Add(AppendReply(nil, "c", JSON, fullReply()))
	f.Fuzz(func(t *testing.T, msg []byte) {
		cookie, format, r, err := ParseRequest(msg)
		if err == nil {
			again := AppendRequest(nil, cookie, format, r)
			_, _, r2, err := ParseRequest(again)
			if err != nil || !bytes.Equal(again, AppendRequest(nil, cookie, format, r2)) {
				t.Errorf("%q became %q: %v", msg, again, err)
			}
		}
		_, _, _, _ = ParseReply(msg)
		if m, err := ReadMessage(bufio.NewReader(bytes.NewReader(msg))); err == nil && !bytes.Contains(msg, m) {
			t.Errorf("%q is not in %q", m, msg)
		}
	})
}
