package raftstore

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// TestFrameWire pins the format: nodes of two versions talk to each other
// during an upgrade.
func TestFrameWire(t *testing.T) {
	f := func(in frame, want string) {
		t.Helper()
		got := in.appendTo(nil)
		if hex.EncodeToString(got) != want {
			t.Errorf("%+v is %x, want %s", in, got, want)
		}
		back, err := readFrame(bufio.NewReader(bytes.NewReader(got)))
		if err != nil || back.kind != in.kind || back.id != in.id || back.status != in.status ||
			back.index != in.index || !bytes.Equal(back.body, in.body) {
			t.Errorf("%x reads as %+v, %v", got, back, err)
		}
	}
	f(frame{kind: framePropose, id: 258, body: []byte("hi")}, "0000000b"+"01"+"0000000000000102"+"6869")
	f(frame{kind: framePropose, id: 1}, "00000009"+"01"+"0000000000000001")
	f(frame{kind: frameHello, id: 3}, "00000009"+"02"+"0000000000000003")
	f(frame{kind: frameAnswer, id: 258, status: statusApplied, index: 7, body: []byte("ok")},
		"00000014"+"03"+"0000000000000102"+"01"+"0000000000000007"+"6f6b")
	f(frame{kind: frameAdmin, id: 5, body: []byte("{}")}, "0000000b"+"04"+"0000000000000005"+"7b7d")
	f(frame{kind: frameAnswer, id: 5, status: statusDone, body: []byte("{}")},
		"00000014"+"03"+"0000000000000005"+"06"+"0000000000000000"+"7b7d")
	f(frame{kind: frameAnswer, id: 1, status: statusNotLeader}, "00000012"+"03"+"0000000000000001"+"02"+"0000000000000000")
}

func TestMalformedFramesAreRefused(t *testing.T) {
	f := func(wire string) {
		t.Helper()
		b, err := hex.DecodeString(wire)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readFrame(bufio.NewReader(bytes.NewReader(b))); !errors.Is(err, errFrame) {
			t.Errorf("%s reads as %+v, %v", wire, got, err)
		}
	}
	f("00000008" + "01" + "00000000000000")                               // shorter than its head
	f("ffffffff" + "01" + "0000000000000001")                             // too long
	f("0000000a" + "01" + "0000000000000001")                             // cut short
	f("00000009" + "00" + "0000000000000001")                             // no such kind
	f("0000000a" + "02" + "0000000000000001" + "00")                      // hello with a body
	f("0000000a" + "03" + "0000000000000001" + "01")                      // answer without an index
	f("00000012" + "03" + "0000000000000001" + "00" + "0000000000000000") // no such status
	f("00000012" + "03" + "0000000000000001" + "07" + "0000000000000000")
}

func FuzzReadFrame(f *testing.F) {
	f.Add(frame{kind: framePropose, id: 1, body: []byte("x")}.appendTo(nil))
	f.Add(frame{kind: frameHello, id: 1}.appendTo(nil))
	f.Add(frame{kind: frameAnswer, id: 1, status: statusFresh, index: 2, body: []byte("y")}.appendTo(nil))
	f.Add([]byte{0, 0, 0, 9, 1})
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := bufio.NewReader(bytes.NewReader(wire))
		rest := wire
		for {
			got, err := readFrame(r)
			if err != nil {
				return
			}
			// What was understood is written back as it came.
			again := got.appendTo(nil)
			if !bytes.HasPrefix(rest, again) {
				t.Fatalf("%x was read as %+v, which is %x", rest, got, again)
			}
			rest = rest[len(again):]
		}
	})
}
