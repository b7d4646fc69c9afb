package record

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func twoCalls(t testing.TB) []*Packet {
	return merged(
		talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c"),
		talker{leg: "1", codec: "PCMA", hz: 1000, frames: 100, ssrc: 2}.packets(t, "d"),
	)
}

func TestForgottenCallIsUnreadableAndOthersAreNot(t *testing.T) {
	dir := writeLog(t, twoCalls(t))
	keyFile := segmentFiles(t, dir, keysSuffix)[0]
	before, err := readKeyFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	erased, err := Forget([]string{dir}, "c")
	if err != nil || erased != 1 {
		t.Fatalf("erased %d, %v", erased, err)
	}
	if err := exportError(t, testMaster, "c", dir); !errors.Is(err, ErrErased) {
		t.Errorf("export: %v", err)
	}
	if _, report := exportCall(t, "d", dir); report.PacketsLeft != 100 {
		t.Errorf("the other call: %+v", report)
	}
	// The wrapped key itself is gone, not only marked.
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range before.slots {
		if gone := !bytes.Contains(raw, s.wrapped); gone != (s.call == "c") {
			t.Errorf("key of %s gone: %v", s.call, gone)
		}
	}
	if erased, err := Forget([]string{dir}, "c"); err != nil || erased != 0 {
		t.Errorf("a second time erased %d, %v", erased, err)
	}
}

// Forget while the call is being recorded: what is queued, what is in earlier
// segments and what still comes are all gone.
func TestForgetDuringTheCall(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{SegmentBytes: 10000})
	packets := twoCalls(t)
	appendAll(t, l, packets[:150])
	erased, err := l.Forget(context.Background(), "c")
	if err != nil || erased < 2 {
		t.Fatalf("erased %d keys, %v; want several segments' worth", erased, err)
	}
	for _, p := range packets[150:] {
		l.Append(p)
	}
	closeLog(t, l)
	if n := l.Stats().NotStarted; n != 25 {
		t.Errorf("%d packets refused afterwards, want 25", n)
	}
	if err := exportError(t, testMaster, "c", dir); !errors.Is(err, ErrErased) {
		t.Errorf("export: %v", err)
	}
	if _, report := exportCall(t, "d", dir); report.PacketsLeft != 100 {
		t.Errorf("the other call: %+v", report)
	}
}

// A forgotten call id may be recorded again, as a new recording.
func TestForgottenCallMayBeRecordedAnew(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	appendAll(t, l, packets[:50])
	if _, err := l.Forget(context.Background(), "c"); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, packets[50:])
	closeLog(t, l)
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 50 || report.Erased != 1 {
		t.Errorf("%+v", report)
	}
}

func TestWrongMasterKeyIsNamed(t *testing.T) {
	dir := writeLog(t, twoCalls(t))
	other := bytes.Repeat([]byte{8}, masterKeySize)
	if err := exportError(t, other, "c", dir); !errors.Is(err, ErrMasterKey) {
		t.Errorf("export: %v", err)
	}
	if err := exportError(t, []byte("short"), "c", dir); err == nil {
		t.Error("a short key was accepted")
	}
}

// Nothing of a call can be read without its key: no plain audio, no RTP
// header, no leg.
func TestNothingIsStoredInTheClear(t *testing.T) {
	p := &Packet{Call: "c", Leg: "leg-in-the-clear", Codec: "PCMA", Arrival: testStart,
		Seq: 0x1234, Timestamp: 0x12345678, SSRC: 0x9ABCDEF0, Payload: []byte(strings.Repeat("audio in the clear", 8))}
	dir := writeLog(t, []*Packet{p})
	raw, err := os.ReadFile(segmentFiles(t, dir, sealedSuffix)[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{p.Leg, "audio", "\xF0\xDE\xBC\x9A", "\x78\x56\x34\x12"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q is in the file", secret)
		}
	}
}

// No key stream is used twice: every segment has keys of its own, whatever
// ended the one before, and offsets in a segment only grow.
func TestEverySegmentHasItsOwnKeys(t *testing.T) {
	dir := t.TempDir()
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
	for i := range 5 {
		l := openLog(t, dir, Config{SegmentBytes: 2000})
		appendAll(t, l, packets[i*20:i*20+20])
		closeLog(t, l)
	}
	seen := make(map[string]bool)
	var wrapped [][]byte
	for _, path := range segmentFiles(t, dir, keysSuffix) {
		k, err := readKeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := openKeys(testMaster, k.header)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range k.slots {
			plain, err := keys.aead.Open(nil, slotNonce(s.number), s.wrapped, []byte(s.call))
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(plain)] {
				t.Fatalf("%s uses a data key again", path)
			}
			seen[string(plain)] = true
			wrapped = append(wrapped, s.wrapped)
		}
	}
	if len(wrapped) < 10 {
		t.Fatalf("%d segments", len(wrapped))
	}
	if got := nonce(1 << 40); got == nonce(1<<40+1) {
		t.Error("two offsets have one nonce")
	}
}

// Records cannot be moved, nor taken from another call or segment.
func TestRecordsAreBoundToTheirPlace(t *testing.T) {
	master := segmentID{1}
	keys, err := newSegmentKeys(testMaster, master)
	if err != nil {
		t.Fatal(err)
	}
	slot, data, err := keys.newSlot("c", "sales", 3)
	if err != nil {
		t.Fatal(err)
	}
	n := nonce(100)
	record := data.Seal(make([]byte, recordHead+callSize), n[:], make([]byte, packetHead), nil)
	legs := make(map[string]string)
	if _, err := openRecord(record, 100, data, legs); err != nil {
		t.Fatal(err)
	}
	if _, err := openRecord(record, 101, data, legs); err == nil {
		t.Error("a moved record was believed")
	}
	s := keySlot{number: 3, call: "c", wrapped: slot[11:slotCall]}
	if _, err := keys.unwrap(s); err != nil {
		t.Fatal(err)
	}
	for _, forged := range []keySlot{{number: 4, call: "c", wrapped: s.wrapped}, {number: 3, call: "d", wrapped: s.wrapped}} {
		if _, err := keys.unwrap(forged); err == nil {
			t.Errorf("the key of slot %d was believed for call %s", forged.number, forged.call)
		}
	}
}

func TestMasterKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	f := func(content, fault string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := ReadMasterKey(path)
		switch {
		case fault == "" && (err != nil || !slices.Equal(key, testMaster)):
			t.Errorf("%d bytes, %v", len(key), err)
		case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
			t.Errorf("error is %v, want %q", err, fault)
		case err != nil && content != "" && strings.Contains(err.Error(), content):
			t.Errorf("the message shows the key: %v", err)
		}
	}
	f(base64.StdEncoding.EncodeToString(testMaster), "")
	f(base64.StdEncoding.EncodeToString(testMaster)+"\n", "")
	f("not base64!", "not base64")
	f(base64.StdEncoding.EncodeToString(testMaster[:16]), "16 bytes, want 32")
	f("", "0 bytes")
	if _, err := ReadMasterKey(path + ".absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}
