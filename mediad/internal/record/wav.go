package record

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// wavWriter writes a stereo 16-bit PCM file. The sizes in its header are put
// in by finish, when they are known.
type wavWriter struct {
	to     io.WriteSeeker
	buffer *bufio.Writer
	rate   int
	frames int64
	frame  []byte
}

const (
	wavHeader    = 44
	wavFrame     = 4 // two channels of 16 bits
	maxWAVFrames = (math.MaxUint32 - wavHeader) / wavFrame
)

func newWAVWriter(to io.WriteSeeker, rate int) (*wavWriter, error) {
	w := &wavWriter{to: to, buffer: bufio.NewWriterSize(to, 256<<10), rate: rate}
	_, err := w.buffer.Write(w.header())
	return w, err
}

func (w *wavWriter) header() []byte {
	data := uint32(w.frames * wavFrame)
	b := append(make([]byte, 0, wavHeader), "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, wavHeader-8+data)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1) // PCM
	b = binary.LittleEndian.AppendUint16(b, 2) // channels
	b = binary.LittleEndian.AppendUint32(b, uint32(w.rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(w.rate*wavFrame))
	b = binary.LittleEndian.AppendUint16(b, wavFrame)
	b = binary.LittleEndian.AppendUint16(b, 16) // bits
	b = append(b, "data"...)
	return binary.LittleEndian.AppendUint32(b, data)
}

// write appends samples of both channels, clipped to 16 bits.
func (w *wavWriter) write(left, right []int32) error {
	w.frame = w.frame[:0]
	for i := range left {
		w.frame = binary.LittleEndian.AppendUint16(w.frame, uint16(clip16(left[i])))
		w.frame = binary.LittleEndian.AppendUint16(w.frame, uint16(clip16(right[i])))
	}
	if w.frames += int64(len(left)); w.frames > maxWAVFrames {
		return fmt.Errorf("a WAV file holds at most %d samples", maxWAVFrames)
	}
	_, err := w.buffer.Write(w.frame)
	return err
}

func (w *wavWriter) finish() error {
	if err := w.buffer.Flush(); err != nil {
		return err
	}
	if _, err := w.to.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := w.to.Write(w.header()); err != nil {
		return err
	}
	_, err := w.to.Seek(0, io.SeekEnd)
	return err
}

func clip16(v int32) int16 {
	return int16(max(math.MinInt16, min(math.MaxInt16, v)))
}
