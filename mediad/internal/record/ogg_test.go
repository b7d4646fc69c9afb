package record

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"trunkline/mediad/internal/codec"
)

type closing struct{ *bytes.Buffer }

func (closing) Close() error { return nil }

// oggFile is an exported file taken apart and decoded.
type oggFile struct {
	head, tags []byte
	granule    int64 // of the last page
	pcm        []int16
	ended      bool
}

func takeApart(t *testing.T, b []byte) (f oggFile) {
	t.Helper()
	var packets [][]byte
	for page := uint32(0); len(b) > 0; page++ {
		if string(b[:4]) != "OggS" || f.ended || binary.LittleEndian.Uint32(b[18:]) != page {
			t.Fatalf("page %d begins with %x", page, b[:27])
		}
		laces := b[27 : 27+int(b[26])]
		size := 27 + len(laces)
		at := size
		var packet []byte
		for _, n := range laces {
			packet = append(packet, b[at:at+int(n)]...)
			if at += int(n); n < 255 {
				packets, packet = append(packets, packet), nil
			}
		}
		if packet != nil {
			t.Fatalf("page %d ends in a packet", page)
		}
		sum := binary.LittleEndian.Uint32(b[22:])
		copy(b[22:], []byte{0, 0, 0, 0})
		if oggSum(b[:at]) != sum {
			t.Fatalf("page %d: checksum", page)
		}
		f.ended = b[5]&oggLast != 0
		f.granule = int64(binary.LittleEndian.Uint64(b[6:]))
		b = b[at:]
	}
	f.head, f.tags = packets[0], packets[1]
	d, err := codec.NewDecoder(codec.Opus, 48000)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets[2:] {
		if f.pcm, err = d.Decode(f.pcm, p); err != nil {
			t.Fatalf("packet %d, %x: %v", i, p[:min(4, len(p))], err)
		}
	}
	return f
}

func exportOgg(t *testing.T, dir string) (map[string]oggFile, []OggLeg, error) {
	t.Helper()
	files := map[string]closing{}
	legs, err := ExportOgg(context.Background(), Sources{Dirs: []string{dir}}, testMaster, "c", func(leg string, side Side) (io.WriteCloser, error) {
		files[leg] = closing{new(bytes.Buffer)}
		return files[leg], nil
	})
	apart := map[string]oggFile{}
	for leg, f := range files {
		apart[leg] = takeApart(t, f.Bytes())
	}
	return apart, legs, err
}

// The check value of this CRC: not reflected, initial value and final XOR 0.
func TestOggChecksum(t *testing.T) {
	if got := oggSum([]byte("123456789")); got != 0x89A1897F {
		t.Errorf("%08x", got)
	}
}

// Each leg has its file, begins with the call, and has every gap at its place and
// length: what decodes it hears the tone where it was.
func TestOggHoldsWhatWasSentWhereItWasSent(t *testing.T) {
	left := without(talker{leg: "1", codec: "opus", hz: 440, frames: 300, ssrc: 1}.packets(t, "c"), sequence(100, 150)...)
	right := talker{leg: "2", codec: "opus", hz: 1000, start: 1003 * ms, frames: 200, ssrc: 2}.packets(t, "c")
	files, legs, err := exportOgg(t, writeLog(t, merged(left, right)))
	if err != nil || len(legs) != 2 {
		t.Fatalf("%+v, %v", legs, err)
	}
	for leg, want := range map[string]time.Duration{"1": 6000 * ms, "2": 5003 * ms} {
		f := files[leg]
		if got := time.Duration(f.granule) * time.Second / 48000; got > want || got < want-3*ms || len(f.pcm) != int(f.granule) || !f.ended {
			t.Errorf("leg %s: %v by its pages, %d samples, want %v", leg, got, len(f.pcm), want)
		}
		if string(f.head[:8]) != "OpusHead" || len(f.head) != 19 || f.head[9] != 1 || !bytes.Contains(f.tags, []byte("LEG="+leg)) {
			t.Errorf("leg %s: %q, %q", leg, f.head, f.tags)
		}
	}
	s := stereo{rate: 48000}
	l, r := files["1"].pcm, files["2"].pcm
	if a, b := toneShare(s.part(l, 100*ms, 1990*ms), 48000, 440), toneShare(s.part(l, 3100*ms, 5900*ms), 48000, 440); a < 0.95 || b < 0.95 {
		t.Errorf("left: the tone holds %.3f and %.3f", a, b)
	}
	if p := power(s.part(l, 2500*ms, 2990*ms)); p > power(l)/100 {
		t.Errorf("left: power %.0f late in a long loss", p)
	}
	if p, share := power(s.part(r, 0, 1000*ms)), toneShare(s.part(r, 1100*ms, 4900*ms), 48000, 1000); p > 0 || share < 0.95 {
		t.Errorf("right: power %.0f before it began, the tone holds %.3f", p, share)
	}
	if legs[0].Packets != 250 || legs[0].Concealed < 999*ms || legs[0].Concealed > 1001*ms {
		t.Errorf("%+v", legs[0])
	}
}

// A leg that sent G.711 has no file; a call of two such is refused.
func TestOggIsOfOpusOnly(t *testing.T) {
	pcma := talker{leg: "1", codec: "PCMA", hz: 440, frames: 50, ssrc: 1}.packets(t, "c")
	opus := talker{leg: "2", codec: "opus", hz: 440, frames: 50, ssrc: 2}.packets(t, "c")
	files, legs, err := exportOgg(t, writeLog(t, merged(pcma, opus)))
	if err != nil || len(files) != 1 || legs[0].Leg != "2" || legs[0].Packets != 50 {
		t.Errorf("%+v, %v", legs, err)
	}
	if files, _, err := exportOgg(t, writeLog(t, pcma)); !errors.Is(err, ErrNotOpus) || len(files) != 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// Any gap is filled to 2.5 ms, whatever frames came before it.
func TestOggFillsAnyGap(t *testing.T) {
	for toc := 0; toc < 256; toc += 4 {
		for _, gap := range []int64{0, 119, 120, 240, 360, 480, 960, 1000, 2880, 4800, 5760, 48000 + 840, 48000 * 60} {
			var b bytes.Buffer
			w, err := newOggWriter(&b, 1)
			if err != nil {
				t.Fatal(err)
			}
			w.toc = byte(toc)
			if err := w.fill(gap); err != nil {
				t.Fatal(err)
			}
			if err := w.finish(); err != nil {
				t.Fatal(err)
			}
			if w.at != gap/120*120 {
				t.Fatalf("toc %02x, gap %d: filled %d", toc, gap, w.at)
			}
			if gap > 10000 && toc%64 != 0 {
				continue // decoding takes its time
			}
			if f := takeApart(t, b.Bytes()); int64(len(f.pcm)) != w.at || f.granule != w.at {
				t.Fatalf("toc %02x, gap %d: %d samples, granule %d", toc, gap, len(f.pcm), f.granule)
			}
		}
	}
}

// The outline is in the format that players of waveforms read.
func TestPeaks(t *testing.T) {
	dir := writeLog(t, talker{leg: "1", codec: "PCMA", hz: 440, frames: 52, ssrc: 1}.packets(t, "c"))
	var p Peaks
	_, err := ExportWithPeaks(context.Background(), Sources{Dirs: []string{dir}}, testMaster, "c", &seeker{}, &p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version, Channels, Bits, Length int
		SampleRate                      int `json:"sample_rate"`
		SamplesPerPixel                 int `json:"samples_per_pixel"`
		Data                            []int
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 2 || got.Channels != 2 || got.Bits != 8 || got.SampleRate != 8000 || got.SamplesPerPixel != 800 || got.Length != 11 || len(got.Data) != 44 {
		t.Errorf("%+v", got)
	}
	// The talker's amplitude is 8000 of 32768, the operator is silent.
	for i := range 11 {
		if d := got.Data[i*4:]; d[0] > -30 || d[0] < -33 || d[1] < 30 || d[1] > 32 || d[2] != 0 || d[3] != 0 {
			t.Errorf("interval %d: %v", i, d[:4])
		}
	}
}

// seeker is a file in memory.
type seeker struct {
	b  []byte
	at int
}

func (s *seeker) Write(b []byte) (int, error) {
	s.b = append(s.b[:min(s.at, len(s.b))], append(bytes.Clone(b), s.b[min(len(s.b), s.at+len(b)):]...)...)
	s.at += len(b)
	return len(b), nil
}

func (s *seeker) Seek(at int64, whence int) (int64, error) {
	s.at = int(at)
	if whence == io.SeekEnd {
		s.at = len(s.b) + int(at)
	}
	return int64(s.at), nil
}
