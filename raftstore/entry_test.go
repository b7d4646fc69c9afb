package raftstore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// TestEntryWire pins the format: a log outlives the program that wrote it.
func TestEntryWire(t *testing.T) {
	got := hex.EncodeToString(encodeEntry(entryCommand, 258, []byte("hi")))
	if want := "0201" + "0000000000000102" + "ab76179c" + "6869"; got != want {
		t.Errorf("entry is %s, want %s", got, want)
	}
	old, _ := hex.DecodeString("01" + "0000000000000102" + "6869")
	kind, stamp, body, err := decodeEntry(old)
	if kind != entryCommand || stamp != 258 || string(body) != "hi" || err != nil {
		t.Errorf("entry of version 1 is read as %d, %d, %q, %v", kind, stamp, body, err)
	}
}

func TestAnyFlippedBitOfAnEntryIsFound(t *testing.T) {
	good := encodeEntry(entryCommand, 123456789, []byte("call c1 answered"))
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, _, err := decodeEntry(bad); err == nil {
			t.Errorf("bit %d flipped: not found", i)
		}
	}
}

// A damaged entry must neither be applied nor sent to others.
func TestDamagedEntryIsFatalToItsNode(t *testing.T) {
	store := raft.NewInmemStore()
	bad := encodeEntry(entryCommand, 1, []byte("x"))
	bad[len(bad)-1] ^= 1
	if err := store.StoreLogs([]*raft.Log{
		{Index: 1, Type: raft.LogCommand, Data: encodeEntry(entryCommand, 1, []byte("x"))},
		{Index: 2, Type: raft.LogCommand, Data: bad},
		{Index: 3, Type: raft.LogNoop},
	}); err != nil {
		t.Fatal(err)
	}
	var fatal error
	l := &watchedLog{store, &diskWatch{fatal: func(err error) { fatal = err }}}
	f := func(index uint64, ok bool) {
		t.Helper()
		fatal = nil
		var e raft.Log
		err := l.GetLog(index, &e)
		if (err == nil) != ok || errors.Is(fatal, ErrDiskDamaged) == ok {
			t.Errorf("entry %d: %v, fatal %v", index, err, fatal)
		}
	}
	f(1, true)
	f(2, false)
	f(3, true)
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(entryCommand, 1, []byte("x")))
	f.Add(encodeEntry(entryCluster, 2, make([]byte, 16)))
	f.Add([]byte{entryVersion1, 0, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, stamp, body, err := decodeEntry(b)
		if err != nil || b[0] == entryVersion1 {
			return
		}
		if again := encodeEntry(kind, stamp, body); !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %d, %d, %x, which is %x", b, kind, stamp, body, again)
		}
	})
}
