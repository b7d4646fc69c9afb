package record

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"
)

// Whatever is in a segment file, reading it ends, invents no record, and gives
// only records whose CRC is right, in order.
func FuzzScan(f *testing.F) {
	dir := writeLog(f, talker{leg: "1", codec: "PCMA", hz: 440, frames: 4, ssrc: 1}.packets(f, "c"))
	whole, err := os.ReadFile(segmentFiles(f, dir, sealedSuffix)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append(bytes.Clone(whole[:300]), whole[100:]...))
	f.Add(bytes.Repeat([]byte{0x52, 0xC7}, 500))
	f.Fuzz(func(t *testing.T, b []byte) {
		var seed uint32
		if h, err := decodeHeader(b); err == nil {
			seed = h.id.seed()
		}
		scan := newScanner(bytes.NewReader(b), int64(len(b)), seed)
		behind := int64(0)
		for {
			at, record, err := scan.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if at < behind || at < headerSize || at+int64(len(record)) > int64(len(b)) {
				t.Fatalf("record at %d of %d bytes overlaps or leaves the file", at, len(record))
			}
			if !bytes.Equal(record, b[at:at+int64(len(record))]) || recordSum(record, seed) != binary.LittleEndian.Uint32(record[4:]) {
				t.Fatalf("record at %d is not what the file holds", at)
			}
			behind = at + int64(len(record))
		}
		if scan.end > int64(len(b)) || (behind > 0 && scan.end != behind) {
			t.Fatalf("end is %d, the last record ends at %d", scan.end, behind)
		}
		if int64(len(b)) >= trailerSize {
			start, length, _, err := decodeTrailer(b[len(b)-trailerSize:], int64(len(b)), seed)
			if err == nil {
				fuzzIndex(t, b[start:start+length], start)
			}
		}
	})
}

func TestIndexThatPointsOutsideIsRefused(t *testing.T) {
	for _, at := range []int64{0, headerSize - 1, 500, 501, 1 << 50} {
		c := &callIndex{slot: 1}
		c.add(at)
		b := encodeIndex([]*callIndex{c}, 500, 0)
		if offsets, err := indexOffsets(b[:len(b)-trailerSize], map[uint32]bool{1: true}, 500); err == nil {
			t.Errorf("offset %d was believed: %v", at, offsets)
		}
	}
}

// A record behind damage of any length is found, wherever the reader's buffer
// happens to end.
func TestScanFindsTheRecordBehindLongDamage(t *testing.T) {
	record := make([]byte, recordHead+minBody)
	finishRecord(record, 0)
	// Each byte about the buffer's end, where a record may be cut, then a step that
	// meets every residue of the lengths it is read in.
	step := 1
	for damage := scanBuffer - 100; damage < scanBuffer+4000; damage += step {
		if damage > scanBuffer+200 {
			step = 37
		}
		b := append(make([]byte, headerSize+damage), record...)
		b = append(b, record...)
		scan := newScanner(bytes.NewReader(b), int64(len(b)), 0)
		for _, want := range []int64{int64(headerSize + damage), int64(headerSize + damage + len(record))} {
			if at, _, err := scan.next(); err != nil || at != want {
				t.Fatalf("behind %d damaged bytes: record at %d, %v; want %d", damage, at, err, want)
			}
		}
		if scan.damaged != 1 {
			t.Fatalf("%d damaged places, want 1", scan.damaged)
		}
	}
}

// Any bytes as an index give offsets inside the records' part, or an error.
func FuzzIndex(f *testing.F) {
	c := &callIndex{slot: 1}
	c.add(64)
	c.add(300)
	b := encodeIndex([]*callIndex{c}, 500, 0)
	f.Add(b[:len(b)-trailerSize], int64(500))
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		fuzzIndex(t, b, max(0, end%(1<<40)))
	})
}

func fuzzIndex(t *testing.T, index []byte, end int64) {
	t.Helper()
	offsets, err := indexOffsets(index, map[uint32]bool{1: true}, end)
	if err != nil {
		return
	}
	if len(offsets) > len(index) {
		t.Fatalf("%d offsets from %d bytes", len(offsets), len(index))
	}
	for _, at := range offsets {
		if at < headerSize || at >= end {
			t.Fatalf("offset %d outside the records, which end at %d", at, end)
		}
	}
}

// Any bytes as a key file give slots within bounds, or an error; any bytes as
// a packet give a packet or an error.
func FuzzKeyFile(f *testing.F) {
	dir := writeLog(f, twoCalls(f))
	b, err := os.ReadFile(segmentFiles(f, dir, keysSuffix)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeKeyFile(b)
		if err == nil && (len(k.slots)+len(k.damaged)+1)*slotSize > len(b)+slotSize {
			t.Fatalf("%d slots from %d bytes", len(k.slots), len(b))
		}
		if p, err := getPacket(b, map[string]string{}); err == nil && len(p.payload)+len(p.leg)+packetHead != len(b) {
			t.Fatalf("a packet of %d+%d bytes from %d", len(p.leg), len(p.payload), len(b))
		}
	})
}
