package acdwire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
)

var rewrite = flag.Bool("rewrite", false, "write the encodings of types that have none into the corpus")

const corpusFile = "testdata/commands.txt"

// samples holds one command of every type, with every field set.
var samples = samplesOn(acd.OnCall{
	Call: "c1", Epoch: 7, Records: []acd.LegRecord{{Leg: "1", Record: []byte{1, 2, 3}}}, Playing: []acd.Playing{{Leg: "1", Prompt: "music"}},
})

func samplesOn(on acd.OnCall) map[uint]acd.Body {
	owner := acd.Owner{Node: "r1", Incarnation: 5}
	contact := acd.Contact{
		URI: "sip:ann@127.0.0.1:5060", Path: []string{"<sip:edge-1;lr>"}, Instance: "<urn:uuid:1>", RegID: 1,
		SIPID: "reg", CSeq: 3, UserAgent: "phone", ExpiresAt: 9,
	}
	card := []acd.Attr{{Key: "city", Value: "Omsk"}}
	return map[uint]acd.Body{
		1: acd.ConfigApplied{IfNone: true, Config: fullConfig, Source: []byte{1, 2}, By: "olga", Comment: "autumn", Base: 3},
		2: acd.NodeStarted{Node: "r1", SIP: "127.0.0.1:5062", Peer: "127.0.0.1:8443", Version: 2},
		3: acd.NodeDied{Owner: owner},
		4: acd.WorkerStarted{Worker: "m1", Incarnation: 2, Control: "127.0.0.1:2225", Replication: "127.0.0.1:2226", Addresses: []string{"127.0.0.2"}},
		5: acd.WorkerDied{Worker: "m1", Incarnation: 2},
		6: acd.Ticked{},
		7: acd.CallArrived{OnCall: on, Owner: owner, Trunk: "sbc-a", Edge: "edge-1", From: "+79001", To: "+100", SIPID: "x@sbc",
			Diverting: "+300", Diversion: "user-busy"},
		8:  acd.CallClaimed{OnCall: on, Owner: owner},
		9:  acd.LegProgressed{OnCall: on, Leg: "2", Code: 180, Trunk: "sbc-b"},
		10: acd.LegAnswered{OnCall: on, Leg: "2", Media: acd.Media{Address: "127.0.0.2", Codec: "opus", Suite: "AEAD_AES_128_GCM"}, Trunk: "sbc-b", Unheard: true},
		11: acd.LegFailed{OnCall: on, Leg: "2", Code: 486, Reason: "busy"},
		12: acd.LegEnded{OnCall: on, Leg: "2", Cause: "bye"},
		13: acd.LegUpdated{OnCall: on},
		14: acd.PromptStarted{OnCall: on, Leg: "1", Prompt: "hello", Duration: 3 * time.Second, Failed: true},
		15: acd.AgentStatusSet{Agent: "ann", Status: acd.OnBreak, Reason: "lunch"},
		16: acd.RegistrationChanged{Agent: "ann", Contact: contact, Expires: time.Minute},
		17: acd.DigitsCollected{OnCall: on, Leg: "1", Digits: "1#"},
		18: acd.CallTagged{OnCall: on, Card: card},
		19: acd.CallTransferred{OnCall: on, Agent: "ann", To: acd.Target{Queue: "sales", Agent: "bob", Chain: "vip", Number: "+7"}, Reason: "a bill"},
		20: acd.CallbackRequested{OnCall: on, Number: "+7"},
		21: acd.TaskCreated{ID: "t1", Number: "+7", Queue: "sales", Due: 8, Expire: 9, Priority: 1, Attempts: 3, Retry: time.Minute, Card: card},
		22: acd.TaskCancelled{ID: "t1", Reason: "done"},
		23: acd.WrapUpSet{Agent: "ann", Remaining: time.Minute},
		24: acd.DialogsAudited{Owner: owner, Missing: []acd.LegRef{{Call: "c1", Epoch: 7, Leg: "2"}}},
		25: acd.HashReported{Owner: owner, Index: 1000, Hash: []byte{1}},
		26: acd.Activated{Version: 2},
		27: acd.FactsConfirmed{Node: "r1", Index: 900},
		28: acd.SinkConfirmed{Sink: "postgres", Index: 900},
		29: acd.TrunkStateChanged{Trunk: "sbc-a", Edge: "127.0.0.3:5062", State: acd.LinkDown, Cause: "no answer"},
		30: acd.BindingsChanged{Agent: "ann", SIPID: "reg", CSeq: 3, Bindings: []acd.Binding{{Contact: contact, Expires: time.Minute}}, All: true,
			Nonce: "n1", Count: 2},
		31: acd.LegHeld{OnCall: on, Leg: "2"},
		32: acd.LegResumed{OnCall: on, Leg: "2"},
		33: acd.CallReferred{OnCall: on, Leg: "2", To: "bob", Reason: "a bill"},
		34: acd.AgentDialled{OnCall: on, Owner: owner, Agent: "ann", To: "bob", Beside: "c0", Edge: "edge-1", SIPID: "x@phone", Record: []byte{1}, Nonce: "n1", Count: 2},
		35: acd.CallsJoined{OnCall: on, Leg: "2", With: "3", Reason: "a bill"},
		36: acd.CallPickedUp{OnCall: on, Leg: "2", As: "c2", Agent: "bob", EarlyOnly: true, Edge: "edge-1", SIPID: "x@phone", Record: []byte{1}, Nonce: "n1", Count: 2},
		37: acd.LinkAlarmChanged{Trunk: "sbc-a", Kind: acd.AlarmLoss, Direction: acd.DirectionIn, Raised: true, Value: 15_000, Limit: 10_000, Cause: "good"},
		38: acd.CallSupervised{OnCall: on, Supervisor: "olga", Mode: acd.ModeWhisper},
		39: acd.HelpAsked{Agent: "ann", On: true, Reason: "rude"},
	}
}

// beforePlaying are the commands about calls as they were when no command told
// of music.
var beforePlaying = samplesOn(acd.OnCall{Call: "c1", Epoch: 7, Records: []acd.LegRecord{{Leg: "1", Record: []byte{1, 2, 3}}}})

// unsupervised is a configuration without supervisors, unlimited one without limits
// of speech either.
var (
	unsupervised = beforeSupervisors(samples[1])
	unlimited    = beforeQuality(unsupervised)
)

// older are samples of types that have got more fields since: their pinned
// encodings come first, and must be read and written as ever.
var older = map[uint][]acd.Body{
	1: {acd.ConfigApplied{IfNone: true, Config: acd.Config{
		Trunks:      []acd.Trunk{{ID: "sbc-a", Channels: 60}},
		MaxChannels: 120,
		Numbers:     []acd.Number{{Number: "+100", Greeting: "hello", Queue: "sales"}},
		Queues: []acd.Queue{{
			ID: "sales", Music: "music", RingTimeout: 15 * time.Second, WrapUp: 10 * time.Second, MaxWait: time.Minute,
			MaxLength: 9, MissedLimit: 3, RejectDelay: 5 * time.Second, Strategy: acd.LongestIdle,
		}},
		Agents: []acd.Agent{{ID: "ann", Name: "Ann", Queues: []acd.QueueID{"sales"}, HA1SHA256: "aa", HA1MD5: "bb", AutoAvailable: true}},
	}}, beforeTrunks(beforePermits(unlimited)), beforeHold(beforePermits(unlimited).(acd.ConfigApplied)), beforePermits(unlimited), beforePickUps(unlimited.(acd.ConfigApplied)),
		unlimited, unsupervised},
	2:  {acd.NodeStarted{Node: "r1", SIP: "127.0.0.1:5062", Peer: "127.0.0.1:8443"}},
	7:  {beforeTrunks(beforePlaying[7].(acd.CallArrived))},
	9:  {beforeTrunks(beforePlaying[9].(acd.LegProgressed))},
	10: {beforeTrunks(beforePlaying[10].(acd.LegAnswered)), beforeUnheard(beforePlaying[10].(acd.LegAnswered))},
}

// beforeTrunks is a command as it was before trunks had more than channels.
func beforeTrunks[T acd.Body](body T) acd.Body {
	switch b := acd.Body(body).(type) {
	case acd.ConfigApplied:
		b = beforeHold(b)
		b.Config.Trunks = []acd.Trunk{{ID: "sbc-a", Channels: 60}}
		b.Config.Outbound.ShowCaller = false
		b.Config.Numbers = slices.Clone(b.Config.Numbers)
		b.Config.Numbers[0].Always = false
		return b
	case acd.CallArrived:
		b.Diverting, b.Diversion = "", ""
		return b
	case acd.LegProgressed:
		b.Trunk = ""
		return b
	case acd.LegAnswered:
		b = beforeUnheard(b)
		b.Trunk = ""
		return b
	}
	return body
}

// beforeUnheard is an answer as it was before it could be found by a new owner.
func beforeUnheard(b acd.LegAnswered) acd.LegAnswered {
	b.Unheard = false
	return b
}

// beforeQuality is a configuration as it was before trunks had limits of speech.
func beforeQuality(body acd.Body) acd.Body {
	b := body.(acd.ConfigApplied)
	b.Config.Trunks = slices.Clone(b.Config.Trunks)
	b.Config.Trunks[0].Quality = acd.LinkLimits{}
	return b
}

// beforeSupervisors is a configuration as it was before agents could supervise.
func beforeSupervisors(body acd.Body) acd.Body {
	b := body.(acd.ConfigApplied)
	b.Config.Agents = slices.Clone(b.Config.Agents)
	b.Config.Agents[0].Supervise = acd.Permit{}
	return b
}

// beforeHold is a configuration as it was before it named music for hold.
func beforeHold(b acd.ConfigApplied) acd.ConfigApplied {
	b.Config.HoldMusic = ""
	return b
}

// fullConfig sets every field of a configuration.
var fullConfig = func() acd.Config {
	needs := []acd.Skill{{Skill: "german", Level: 5}}
	then := acd.Then{Queue: "sales", Chain: "vip", Prompt: "sorry", Refuse: 486, Callback: true}
	permit := acd.Permit{Agents: true, Queues: []acd.QueueID{"sales"}, Chains: []acd.ChainID{"vip"}, Numbers: []string{"+7"}}
	return acd.Config{
		Trunks: []acd.Trunk{{
			ID: "sbc-a", Channels: 60, Refer: true, Rate: 20, Burst: 5, Codecs: []string{"PCMA"}, Priority: 1, Weight: 2,
			Quality: acd.LinkLimits{Delay: time.Second, Loss: 20, Jitter: time.Millisecond, RTCP: 500, Bandwidth: 6000,
				Ignore: []acd.AlarmKind{acd.AlarmRTCP}},
			NumbersIn:  []acd.NumberRule{{Match: "8XXXXXXXXXX", Strip: 1, Prepend: "+7"}},
			NumbersOut: []acd.NumberRule{{Match: "+7*", Strip: 2, Prepend: "8"}},
		}},
		MaxChannels: 120, HoldMusic: "hold",
		Numbers: []acd.Number{{
			Number: "+100", Greeting: "hello", Queue: "sales", Chain: "vip", Priority: 1, Needs: needs, Card: []acd.Attr{{Key: "city", Value: "Omsk"}}, Always: true,
			Rules: []acd.Rule{{
				When: acd.When{
					Open: "office", Closed: "night", Callers: []string{"+7"}, Card: "category", Values: []string{"vip"},
					Queue: "sales", Calls: 5, EWT: time.Minute,
				},
				Greeting: "night", Queue: "sales", Chain: "vip", Priority: 2, Needs: needs, Refuse: 403,
			}},
		}},
		Queues: []acd.Queue{{
			ID: "sales", Music: "music", RingTimeout: 15 * time.Second, WrapUp: 10 * time.Second, MaxWait: time.Minute,
			MaxLength: 9, MissedLimit: 3, RejectDelay: 5 * time.Second, Strategy: acd.LongestIdle,
			BusyDelay: time.Second, WrapUpMax: time.Minute, RingMost: 3, TierDelay: time.Second, Window: time.Hour,
			Needs: needs, Rings: []acd.Ring{{After: time.Second, Needs: needs, Any: true, Tier: 1}}, Sticky: acd.Sticky{Days: 7, Wait: time.Second},
			Weight: 150, PriorityStep: time.Minute, Calendar: "office", WhenClosed: then, WhenFull: then, AfterMaxWait: then,
			Empty: "logged-out", WhenEmpty: then, LeaveEmpty: time.Second,
			Admission: []acd.Admission{{Open: "office", Closed: "night", Calls: 50, EWT: time.Minute, ASA: time.Minute, Then: then}},
			Announce:  acd.Announcing{First: time.Second, Every: time.Minute, Position: true, Wait: true},
			ExitKey:   "0", Exit: then,
			Callback:     acd.Callback{Over: time.Minute, Key: "1", Offer: "offer", Promise: "promise", Attempts: 3, Retry: time.Minute, Expire: time.Hour},
			ServiceLevel: 20 * time.Second, Transfer: permit, PickUp: acd.PickUpAny,
		}},
		Agents: []acd.Agent{{
			ID: "ann", Name: "Ann", Queues: []acd.QueueID{"sales"}, HA1SHA256: "aa", HA1MD5: "bb", AutoAvailable: true,
			Skills: needs, Seats: []acd.Seat{{Queue: "sales", Tier: 1, Position: 2, Priority: 3}},
			Transfer: permit, Dial: permit, PickUp: permit, Supervise: permit,
		}},
		Skills: []acd.SkillID{"german"},
		Calendars: []acd.Calendar{{
			ID: "office", Zone: "Europe/Moscow", Hours: []acd.Hours{{Days: "mon-fri", From: "09:00", To: "18:00"}},
			Holidays: []acd.Holiday{{Date: "01-01", From: "10:00", To: "12:00"}}, Offsets: []acd.Offset{{From: 1, Seconds: 10800}},
		}},
		Chains: []acd.Chain{{
			ID: "vip", Music: "music", Then: then,
			Steps: []acd.ChainStep{{Agent: "ann", Number: "+7", Ring: time.Second, Wait: time.Second, Stop: []string{"declined"}}},
		}},
		Outbound: acd.Outbound{
			Trunks: []acd.TrunkID{"sbc-a"}, From: "+100", RingTimeout: time.Minute, ShowCaller: true,
			Rules: []acd.DialRule{{Numbers: []string{"+7800"}, SendDigits: "12,,$ticket", Refuse: 403}},
		},
	}
}()

// beforePermits is a configuration as it was before agents could transfer and dial by
// phone.
func beforePermits(body acd.Body) acd.Body {
	b := beforePickUps(body.(acd.ConfigApplied))
	c := &b.Config
	c.Trunks, c.Queues, c.Agents = slices.Clone(c.Trunks), slices.Clone(c.Queues), slices.Clone(c.Agents)
	c.Trunks[0].Refer, c.Queues[0].Transfer, c.Outbound.Rules = false, acd.Permit{}, nil
	c.Agents[0].Transfer, c.Agents[0].Dial = acd.Permit{}, acd.Permit{}
	return b
}

// beforePickUps is a configuration as it was before INVITE with Replaces was served.
func beforePickUps(b acd.ConfigApplied) acd.ConfigApplied {
	c := &b.Config
	c.Queues, c.Agents = slices.Clone(c.Queues), slices.Clone(c.Agents)
	c.Queues[0].PickUp, c.Agents[0].PickUp = "", acd.Permit{}
	return b
}

func sample(body acd.Body) acd.Command {
	return acd.Command{Session: "r1-5", Seq: 10, Floor: 8, Body: body}
}

// corpus reads the pinned encodings: lines of number, name, hex.
func corpus(t testing.TB) map[uint][]string {
	t.Helper()
	f, err := os.Open(corpusFile)
	if errors.Is(err, os.ErrNotExist) && *rewrite {
		return map[uint][]string{}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pinned := make(map[uint][]string)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var number uint
		var name, code string
		if _, err := fmt.Sscan(lines.Text(), &number, &name, &code); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		pinned[number] = append(pinned[number], code)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return pinned
}

// TestEveryCommandIsPinned: the bytes of a command never change, and no type is
// without a pinned sample.
func TestEveryCommandIsPinned(t *testing.T) {
	pinned := corpus(t)
	var missing strings.Builder
	for number, body := range types {
		number := uint(number)
		if body == nil {
			continue
		}
		newest, ok := samples[number]
		if !ok || reflect.TypeOf(newest) != reflect.TypeOf(body) {
			t.Errorf("type %d (%T) has no sample", number, body)
			continue
		}
		all := slices.Clone(older[number])
		if before := beforePlaying[number]; !reflect.DeepEqual(before, newest) {
			all = append(all, before)
		}
		all = append(all, newest)
		for i, s := range all {
			data, err := EncodeCommand(sample(s))
			if err != nil {
				t.Fatal(err)
			}
			if i >= len(pinned[number]) {
				if *rewrite {
					fmt.Fprintf(&missing, "%d %s %x\n", number, strings.TrimPrefix(fmt.Sprintf("%T", body), "acd."), data)
				} else {
					t.Errorf("sample %d of type %d (%T) is not in %s; -rewrite adds it", i, number, body, corpusFile)
				}
				continue
			}
			want := pinned[number][i]
			if hex.EncodeToString(data) != want {
				t.Errorf("type %d (%T) is now\n\t%x\nbut logs hold\n\t%s", number, body, data, want)
			}
			old, err := hex.DecodeString(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeCommand(old)
			if err != nil || !reflect.DeepEqual(got, sample(s)) {
				t.Errorf("type %d decodes to %+v, %v", number, got, err)
			}
		}
		if n := len(all); len(pinned[number]) > n {
			t.Errorf("type %d has %d pinned encodings and %d samples", number, len(pinned[number]), n)
		}
		delete(pinned, number)
	}
	for number := range pinned {
		t.Errorf("type %d is pinned but gone: old logs can't be read", number)
	}
	if *rewrite && missing.Len() > 0 {
		appendFile(t, corpusFile, missing.String())
	}
}

func appendFile(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSamplesSetEveryField: a field left out of a sample would not be pinned.
func TestSamplesSetEveryField(t *testing.T) {
	for number, body := range samples {
		if path := zeroField(reflect.ValueOf(body)); path != "" {
			t.Errorf("type %d (%T): %s is zero", number, body, path)
		}
	}
}

func zeroField(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if path := zeroField(v.Field(i)); path != "" {
				return v.Type().Field(i).Name + "." + path
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return "(empty)"
		}
		return zeroField(v.Index(0))
	default:
		if v.IsZero() {
			return "(zero)"
		}
	}
	return ""
}

// TestDecodeRefuses: what a replica doesn't know or that isn't canonical stops
// it instead of being skipped.
func TestDecodeRefuses(t *testing.T) {
	encode := func(e any) []byte { return must(encoding.Marshal(e)) }
	ticked := encode(map[int]int{})
	f := func(what string, data []byte) {
		t.Helper()
		if cmd, err := DecodeCommand(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: decoded to %+v, %v", what, cmd, err)
		}
	}
	f("nothing", nil)
	f("another version", encode(envelope{Version: 2, Type: 6, Body: ticked}))
	f("unknown type", encode(envelope{Version: 1, Type: 99, Body: ticked}))
	f("type 0", encode(envelope{Version: 1, Type: 0, Body: ticked}))
	f("unknown field", encode(envelope{Version: 1, Type: 6, Body: encode(map[int]int{1: 1})}))
	f("field of a wrong type", encode(envelope{Version: 1, Type: 5, Body: encode(map[int]int{1: 1})}))
	f("field given twice", encode(envelope{Version: 1, Type: 5, Body: []byte{0xa2, 2, 1, 2, 1}}))
	good := must(EncodeCommand(sample(samples[7])))
	f("something behind it", append(bytes.Clone(good), 0))
	for n := range good {
		f(fmt.Sprintf("first %d bytes", n), good[:n])
	}
}

// TestForeignTextIsTaken: text from SIP messages may not be UTF-8. A log entry
// that can't be decoded stops every replica, so a caller must not make one.
func TestForeignTextIsTaken(t *testing.T) {
	in := sample(acd.CallArrived{From: "\xff\xfe", To: "+1", SIPID: "\x80@x"})
	got, err := DecodeCommand(must(EncodeCommand(in)))
	if err != nil || !reflect.DeepEqual(got, in) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestEncodeRefusesUnnumbered(t *testing.T) {
	if _, err := EncodeCommand(acd.Command{}); err == nil {
		t.Error("a command without a body was encoded")
	}
}

func TestResultRoundTrip(t *testing.T) {
	in := acd.Result{Applied: true, Reason: "r", Code: 503, RetryAfter: 5, Epoch: 6, Incarnation: 7, Version: 8, Contacts: []acd.Contact{{URI: "sip:a", SIPID: "x", CSeq: 1, ExpiresAt: 2}}}
	got, err := DecodeResult(must(EncodeResult(in)))
	if err != nil || !reflect.DeepEqual(got, in) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := DecodeResult([]byte{0xa1, 0x18, 99, 0}); !errors.Is(err, ErrMalformed) {
		t.Errorf("unknown field: %v", err)
	}
}

// FuzzDecodeCommand: no bytes make the decoder panic, and what it accepts has one
// encoding.
func FuzzDecodeCommand(f *testing.F) {
	for _, codes := range corpus(f) {
		for _, code := range codes {
			f.Add(must(hex.DecodeString(code)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := DecodeCommand(data)
		if err != nil {
			return
		}
		again, err := EncodeCommand(cmd)
		if err != nil {
			t.Fatal(err)
		}
		cmd2, err := DecodeCommand(again)
		if err != nil {
			t.Fatalf("%x decodes to %+v, whose encoding does not: %v", data, cmd, err)
		}
		if third := must(EncodeCommand(cmd2)); !bytes.Equal(again, third) {
			t.Fatalf("%x is encoded as %x, then as %x", data, again, third)
		}
	})
}

// FuzzDecodeState: a snapshot comes from a peer or a disk. It is refused, or is a
// state that can be written again.
func FuzzDecodeState(f *testing.F) {
	var b bytes.Buffer
	if err := EncodeState(&b, acd.New().Snapshot()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{0xa1, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeState(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := EncodeState(&again, s); err != nil {
			t.Fatalf("a state that was read can't be written: %v", err)
		}
	})
}

// FuzzDecodeResult: an answer comes from the leader.
func FuzzDecodeResult(f *testing.F) {
	f.Add(must(EncodeResult(acd.Result{Applied: true, Epoch: 7, Code: 503})))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeResult(data); err == nil {
			must(EncodeResult(r))
		}
	})
}
