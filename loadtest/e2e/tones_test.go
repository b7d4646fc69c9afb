package e2e

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// tonePrompts makes a folder of prompts that a far end can tell apart: each is
// a tone of its own.
func tonePrompts(t *testing.T, tones map[string]prompt) string {
	t.Helper()
	dir := t.TempDir()
	for name, p := range tones {
		if err := os.WriteFile(filepath.Join(dir, name+".wav"), p.wav(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// prompt is a tone in Hz, a multiple of 50, for so long.
type prompt struct {
	hz  int
	len time.Duration
}

// wav is the tone as 16-bit mono at 16 kHz.
func (p prompt) wav() []byte {
	const rate = 16000
	n := int(p.len.Seconds() * rate)
	b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+2*n))...)
	b = append(b, "WAVEfmt "...)
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16)} {
		b, _ = binary.Append(b, binary.LittleEndian, v) // fixed sizes: it can't fail
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*n))
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*float64(p.hz)*float64(i)/rate))))
	}
	return b
}
