package srtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func packet(ssrc uint32, seq int, payload string) []byte {
	p := make([]byte, 12, 12+len(payload)+Overhead)
	p[0], p[1] = 0x80, 8
	binary.BigEndian.PutUint16(p[2:], uint16(seq))
	binary.BigEndian.PutUint32(p[4:], uint32(seq)*160)
	binary.BigEndian.PutUint32(p[8:], ssrc)
	return append(p, payload...)
}

func report(ssrc uint32) []byte {
	p := []byte{0x80, 201, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(p[4:], ssrc)
	return p
}

func pair(t testing.TB, s Suite) (Key, *Sender, *Receiver) {
	t.Helper()
	k := NewKey(s)
	return k, sender(t, s, k), receiver(t, s, k)
}

func sender(t testing.TB, s Suite, k Key) *Sender {
	t.Helper()
	snd, err := NewSender(s, k)
	if err != nil {
		t.Fatal(err)
	}
	return snd
}

func receiver(t testing.TB, s Suite, k Key) *Receiver {
	t.Helper()
	rcv, err := NewReceiver(s, k)
	if err != nil {
		t.Fatal(err)
	}
	return rcv
}

func seal(t testing.TB, s *Sender, p []byte) []byte {
	t.Helper()
	out, err := s.Seal(make([]byte, 0, len(p)+Overhead), p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func eachSuite(t *testing.T, f func(t *testing.T, s Suite)) {
	for _, s := range Suites() {
		t.Run(string(s), func(t *testing.T) { f(t, s) })
	}
}

func TestPacketsComeThrough(t *testing.T) {
	eachSuite(t, func(t *testing.T, s Suite) {
		_, snd, rcv := pair(t, s)
		for seq := 65000; seq < 65536+200; seq++ { // through a wrap of SEQ
			plain := packet(7, seq, fmt.Sprint("payload ", seq))
			got, h, index, err := rcv.Open(seal(t, snd, plain))
			if err != nil || !bytes.Equal(got, plain) || h.SSRC != 7 || index != uint64(seq) {
				t.Fatalf("%d: %v, index %d", seq, err, index)
			}
		}
		rep, err := snd.SealRTCP(make([]byte, 0, 100), report(7))
		if err != nil {
			t.Fatal(err)
		}
		again := bytes.Clone(rep)
		if got, err := rcv.OpenRTCP(rep); err != nil || !bytes.Equal(got, report(7)) {
			t.Fatal(err)
		}
		if _, err := rcv.OpenRTCP(again); !errors.Is(err, ErrReplayed) {
			t.Errorf("SRTCP twice: %v", err)
		}
	})
}

func TestForgedAndReplayedAreToldApart(t *testing.T) {
	eachSuite(t, func(t *testing.T, s Suite) {
		_, snd, rcv := pair(t, s)
		good := seal(t, snd, packet(7, 1, "x"))
		bad := bytes.Clone(good)
		bad[12] ^= 1
		if _, _, _, err := rcv.Open(bad); !errors.Is(err, ErrForged) {
			t.Errorf("forged: %v", err)
		}
		if _, _, _, err := rcv.Open(bytes.Clone(good)); err != nil {
			t.Error(err)
		}
		if _, _, _, err := rcv.Open(good); !errors.Is(err, ErrReplayed) {
			t.Errorf("again: %v", err)
		}
		for _, short := range []string{"", "\x80", "\x90\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x8f\x08aaaaaaaaaaaaaaaaaaa"} {
			if _, _, _, err := rcv.Open([]byte(short)); err == nil {
				t.Errorf("%q was taken", short)
			}
		}
	})
}

// A relay's successor protects the same packets in the same bytes, and the
// receiver's successor takes them, wherever the predecessor died.
func TestSuccessorContinuesByteForByte(t *testing.T) {
	eachSuite(t, func(t *testing.T, s Suite) {
		for _, died := range []int{100, 65500, 65535, 65536, 65537, 3 * 65536, 4*65536 - 2} {
			k, snd, rcv := pair(t, s)
			const first = 50
			// Jump close to the point of death: an index below 2^15 ahead is in reach.
			for seq := first; seq <= died; seq += min(30000, max(1, died-seq)) {
				if _, _, _, err := rcv.Open(seal(t, snd, packet(7, seq, "x"))); err != nil {
					t.Fatal(err)
				}
			}
			snd2, rcv2 := sender(t, s, k), receiver(t, s, k)
			for _, m := range snd.Marks(nil) {
				if err := snd2.Restore(m); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range rcv.Marks(nil) {
				if err := rcv2.Restore(s, k, m); err != nil {
					t.Fatal(err)
				}
			}
			for seq := died + 3; seq < died+20; seq++ { // two were lost meanwhile
				a, b := seal(t, snd, packet(7, seq, "x")), seal(t, snd2, packet(7, seq, "x"))
				if !bytes.Equal(a, b) {
					t.Fatalf("died at %d: packet %d differs", died, seq)
				}
				if _, _, index, err := rcv.Open(a); err != nil || index != uint64(seq) {
					t.Fatalf("died at %d: receiver at %d: %v", died, seq, err)
				}
				if _, _, index, err := rcv2.Open(b); err != nil || index != uint64(seq) {
					t.Fatalf("died at %d: successor at %d: index %d, %v", died, seq, index, err)
				}
			}
		}
	})
}

func TestSuccessorTakesNothingTwice(t *testing.T) {
	k, snd, rcv := pair(t, AEAD128GCM)
	var sent [][]byte
	for seq := range 10 {
		p := seal(t, snd, packet(7, seq, "x"))
		sent = append(sent, bytes.Clone(p))
		if _, _, _, err := rcv.Open(p); err != nil {
			t.Fatal(err)
		}
	}
	rep, _ := snd.SealRTCP(make([]byte, 0, 100), report(7))
	oldReport := bytes.Clone(rep)
	if _, err := rcv.OpenRTCP(rep); err != nil {
		t.Fatal(err)
	}
	rcv2 := receiver(t, AEAD128GCM, k)
	for _, m := range rcv.Marks(nil) {
		if err := rcv2.Restore(AEAD128GCM, k, m); err != nil {
			t.Fatal(err)
		}
	}
	for seq, p := range sent {
		if _, _, _, err := rcv2.Open(p); !errors.Is(err, ErrReplayed) {
			t.Errorf("packet %d again: %v", seq, err)
		}
	}
	if _, err := rcv2.OpenRTCP(oldReport); !errors.Is(err, ErrReplayed) {
		t.Errorf("report again: %v", err)
	}
	next, _ := snd.SealRTCP(make([]byte, 0, 100), report(7))
	if _, err := rcv2.OpenRTCP(next); err != nil {
		t.Errorf("next report: %v", err)
	}
}

func TestSRTCPIndexSkipsAhead(t *testing.T) {
	k, snd, rcv := pair(t, AESCM128SHA180)
	for range 5 {
		p, err := snd.SealRTCP(make([]byte, 0, 100), report(9))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rcv.OpenRTCP(p); err != nil {
			t.Fatal(err)
		}
	}
	snd2 := sender(t, AESCM128SHA180, k)
	for _, m := range snd.Marks(nil) {
		if err := snd2.Restore(m); err != nil {
			t.Fatal(err)
		}
	}
	p, err := snd2.SealRTCP(make([]byte, 0, 100), report(9))
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint32(p[len(p)-14:]) &^ (1 << 31); got != 5+indexSkip+1 {
		t.Errorf("index %d", got)
	}
	if _, err := rcv.OpenRTCP(p); err != nil {
		t.Error(err)
	}
}

func TestNoIndexIsUsedTwice(t *testing.T) {
	_, snd, _ := pair(t, AEAD128GCM)
	f := func(seq int, want error) {
		t.Helper()
		_, err := snd.Seal(make([]byte, 0, 100), packet(7, seq, "x"))
		if !errors.Is(err, want) {
			t.Errorf("seq %d: %v, want %v", seq, err, want)
		}
	}
	f(10, nil)
	f(10, ErrReused)
	f(12, nil)
	f(11, nil)
	f(11, ErrReused)
	f(9, ErrReused)     // before the first: would take ROC -1
	f(65530, ErrReused) // likewise
	f(500, nil)
	f(12, ErrReused) // too old to tell
	if !snd.Knows(7) || snd.Knows(8) {
		t.Error("Knows")
	}
	for i := range 2 * maxStreams {
		_, err := snd.Seal(make([]byte, 0, 100), packet(uint32(100+i), 1, "x"))
		if (err == nil) != (i < maxStreams-1) {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
}

// The first packet that arrives may already have wrapped.
func TestStreamJoinedJustAfterItsWrap(t *testing.T) {
	eachSuite(t, func(t *testing.T, s Suite) {
		_, snd, rcv := pair(t, s)
		for seq := 65530; seq < 65536+10; seq++ {
			p := seal(t, snd, packet(7, seq, "x"))
			if seq < 65536+3 {
				continue // lost
			}
			if _, _, index, err := rcv.Open(p); err != nil || index != uint64(seq) {
				t.Fatalf("%d: index %d, %v", seq, index, err)
			}
		}
	})
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := NewKey(AEAD256GCM)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %s", k, k, struct{ K Key }{k}), log.String()} {
		if !strings.Contains(s, "[redacted]") || strings.Contains(s, fmt.Sprint([]byte(k))) {
			t.Errorf("%s", s)
		}
	}
}

func BenchmarkSealOpen(b *testing.B) {
	for _, s := range Suites() {
		b.Run(string(s), func(b *testing.B) {
			_, snd, rcv := pair(b, s)
			plain, wire := packet(7, 0, strings.Repeat("x", 160)), make([]byte, 0, 256)
			seq := 0
			b.ReportAllocs()
			for b.Loop() {
				seq++
				binary.BigEndian.PutUint16(plain[2:], uint16(seq))
				out, _ := snd.Seal(wire, plain)
				if _, _, _, err := rcv.Open(out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
