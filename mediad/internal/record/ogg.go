package record

import (
	"encoding/binary"
	"fmt"
	"io"
)

// oggWriter writes one Opus stream into an Ogg file (RFC 3533, RFC 7845): the
// packets as they were sent, time without any filled with packets that ask the
// decoder to conceal (RFC 7845 section 4.1), so that positions tell the time.
type oggWriter struct {
	to      io.Writer
	serial  uint32
	page    uint32 // number of the next
	at      int64  // samples at 48 kHz behind what is written
	packets [][]byte
	laces   int // of packets
	toc     byte
}

const (
	oggFirst = 2 // flags of pages
	oggLast  = 4

	opusShortest = 120  // samples of 2.5 ms
	opusMost     = 5760 // samples in a packet: 120 ms
	pagePackets  = 50   // about a second
	celtShort    = 28   // configuration: CELT, full band, 2.5 ms; those behind it 5, 10 and 20 ms
)

// newOggWriter writes the two header packets. What the comments say is NAME=text.
func newOggWriter(to io.Writer, serial uint32, comments ...string) (*oggWriter, error) {
	w := &oggWriter{to: to, serial: serial, toc: (celtShort + 3) << 3}
	head := append([]byte("OpusHead"), 1, 1) // version, channels
	head = binary.LittleEndian.AppendUint16(head, 0)
	head = binary.LittleEndian.AppendUint32(head, 48000)
	head = append(head, 0, 0, 0) // gain, mapping family
	if err := w.writePage([][]byte{head}, 0, oggFirst); err != nil {
		return nil, err
	}
	tags := append([]byte("OpusTags"), 9, 0, 0, 0)
	tags = append(tags, "trunkline"...)
	tags = binary.LittleEndian.AppendUint32(tags, uint32(len(comments)))
	for _, c := range comments {
		tags = binary.LittleEndian.AppendUint32(tags, uint32(len(c)))
		tags = append(tags, c...)
	}
	return w, w.writePage([][]byte{tags}, 0, 0)
}

// opusTicks is how long one frame of a packet with this first byte sounds, in
// samples at 48 kHz (RFC 6716 section 3.1).
func opusTicks(toc byte) int64 {
	config := int64(toc >> 3)
	switch {
	case config < 12:
		return [4]int64{480, 960, 1920, 2880}[config&3]
	case config < 16:
		return [2]int64{480, 960}[config&1]
	}
	return opusShortest << (config & 3)
}

// fill lets time pass up to a position, to 2.5 ms.
func (w *oggWriter) fill(until int64) error {
	for until-w.at >= opusShortest {
		toc := w.toc &^ 3
		frame := opusTicks(toc)
		if frame > until-w.at { // the rest, in frames that are short enough
			toc, frame = toc&4|celtShort<<3, opusShortest
			for frame*2 <= until-w.at && toc>>3 < celtShort+2 {
				toc, frame = toc+1<<3, frame*2
			}
		}
		n := min(opusMost/frame, (until-w.at)/frame)
		if err := w.put([]byte{toc | 3, byte(n)}, n*frame); err != nil { // n frames of no bytes
			return err
		}
	}
	return nil
}

// add writes a packet that sounds for so many samples.
func (w *oggWriter) add(payload []byte, ticks int64) error {
	w.toc = payload[0]
	return w.put(payload, ticks)
}

func (w *oggWriter) put(packet []byte, ticks int64) error {
	laces := len(packet)/255 + 1
	if len(w.packets) == pagePackets || w.laces+laces > 255 {
		if err := w.flush(0); err != nil {
			return err
		}
	}
	w.packets = append(w.packets, packet)
	w.laces += laces
	w.at += ticks
	return nil
}

func (w *oggWriter) flush(flags byte) error {
	err := w.writePage(w.packets, w.at, flags)
	w.packets, w.laces = w.packets[:0], 0
	return err
}

// finish writes the last page.
func (w *oggWriter) finish() error { return w.flush(oggLast) }

func (w *oggWriter) writePage(packets [][]byte, granule int64, flags byte) error {
	b := append([]byte("OggS"), 0, flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(granule))
	b = binary.LittleEndian.AppendUint32(b, w.serial)
	b = binary.LittleEndian.AppendUint32(b, w.page)
	b = append(b, 0, 0, 0, 0) // checksum
	count := len(b)
	b = append(b, 0)
	for _, p := range packets {
		for n := len(p); ; n -= 255 {
			b = append(b, byte(min(n, 255)))
			if n < 255 {
				break
			}
		}
	}
	b[count] = byte(len(b) - count - 1)
	for _, p := range packets {
		b = append(b, p...)
	}
	binary.LittleEndian.PutUint32(b[22:], oggSum(b))
	w.page++
	if _, err := w.to.Write(b); err != nil {
		return fmt.Errorf("write Ogg page: %w", err)
	}
	return nil
}

// oggTable is of the polynomial 0x04C11DB7, not reflected (RFC 3533 section 6).
var oggTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&0x80000000 != 0 {
				r = r<<1 ^ 0x04C11DB7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return t
}()

// oggSum is a page's checksum, in whose place there are zeros.
func oggSum(page []byte) (sum uint32) {
	for _, b := range page {
		sum = sum<<8 ^ oggTable[byte(sum>>24)^b]
	}
	return sum
}
