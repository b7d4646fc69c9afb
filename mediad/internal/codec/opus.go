package codec

/*
#cgo pkg-config: opus
#cgo noescape opus_encode
#cgo nocallback opus_encode
#cgo noescape opus_packet_get_nb_samples
#cgo nocallback opus_packet_get_nb_samples
#cgo noescape opus_decode
#cgo nocallback opus_decode
#include <opus.h>

// opus_*_ctl take variable arguments, which cgo cannot pass.
static int trunkline_tune(OpusEncoder *e, int bitrate, int complexity, int loss) {
	int err = opus_encoder_ctl(e, OPUS_SET_BITRATE(bitrate));
	if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity));
	if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_INBAND_FEC(1));
	if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_PACKET_LOSS_PERC(loss));
	if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_SIGNAL(OPUS_AUTO));
	return err;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

const (
	// libopus codes FEC only where rate and expected loss allow it: at 32 kb/s
	// and 10 % it does, up to super-wide band; at 24 kb/s it silently doesn't.
	opusBitrate    = 32000 // bits per second (RFC 7587 section 3.1.1: 28 to 40 for full-band speech)
	opusLossRate   = 10    // per cent
	opusMaxPayload = 1275  // RFC 6716 section 3.2.1
	// A transcoder runs for every frame of a call; prompts are encoded once.
	liveComplexity   = 5
	promptComplexity = 10
)

var errOpus = errors.New("libopus")

func opusError(code C.int) error {
	return fmt.Errorf("%w: %s", errOpus, C.GoString(C.opus_strerror(code)))
}

// opusEncoder keeps libopus's state in Go memory: it holds no Go pointers and
// is freed with the encoder, without finalizers.
type opusEncoder struct{ state []uint64 }

func newOpusEncoder(rate, complexity int) (*opusEncoder, error) {
	e := &opusEncoder{state: make([]uint64, (C.opus_encoder_get_size(1)+7)/8)}
	if code := C.opus_encoder_init(e.ptr(), C.opus_int32(rate), 1, C.OPUS_APPLICATION_VOIP); code != C.OPUS_OK {
		return nil, opusError(code)
	}
	if code := C.trunkline_tune(e.ptr(), opusBitrate, C.int(complexity), opusLossRate); code != C.OPUS_OK {
		return nil, opusError(code)
	}
	return e, nil
}

func (e *opusEncoder) ptr() *C.OpusEncoder {
	return (*C.OpusEncoder)(unsafe.Pointer(&e.state[0]))
}

func (e *opusEncoder) encode(dst []byte, pcm []int16) ([]byte, error) {
	if len(pcm) == 0 {
		return dst, errors.New("encode opus: no samples")
	}
	start := len(dst)
	dst = grow(dst, opusMaxPayload)
	n := C.opus_encode(e.ptr(), (*C.opus_int16)(&pcm[0]), C.int(len(pcm)),
		(*C.uchar)(&dst[start]), opusMaxPayload)
	if n < 0 {
		return dst[:start], fmt.Errorf("encode %d samples: %w", len(pcm), opusError(C.int(n)))
	}
	return dst[:start+int(n)], nil
}

type opusDecoder struct {
	state []uint64
	rate  int
}

func newOpusDecoder(rate int) (*opusDecoder, error) {
	d := &opusDecoder{state: make([]uint64, (C.opus_decoder_get_size(1)+7)/8), rate: rate}
	if code := C.opus_decoder_init(d.ptr(), C.opus_int32(rate), 1); code != C.OPUS_OK {
		return nil, opusError(code)
	}
	return d, nil
}

func (d *opusDecoder) ptr() *C.OpusDecoder {
	return (*C.OpusDecoder)(unsafe.Pointer(&d.state[0]))
}

// opusSamples is how many samples a payload decodes to at a rate, 0 if it is
// malformed.
func opusSamples(payload []byte, rate int) int {
	if len(payload) == 0 {
		return 0
	}
	n := C.opus_packet_get_nb_samples((*C.uchar)(&payload[0]), C.opus_int32(len(payload)), C.opus_int32(rate))
	return max(0, int(n))
}

func (d *opusDecoder) decode(dst []int16, payload []byte) ([]int16, error) {
	// 120 ms is the longest packet (RFC 6716 section 3.2.5).
	return d.call(dst, payload, d.rate*120/1000, 0)
}

// fec makes the samples before payload from its redundancy, or conceals them
// where it has none.
func (d *opusDecoder) fec(dst []int16, payload []byte, samples int) ([]int16, error) {
	return d.call(dst, payload, samples, 1)
}

func (d *opusDecoder) plc(dst []int16, samples int) ([]int16, error) {
	// libopus conceals in units of 2.5 ms; what is cut off is not heard.
	unit := d.rate / 400
	start := len(dst)
	dst, err := d.call(dst, nil, (samples+unit-1)/unit*unit, 0)
	if err != nil {
		return dst, err
	}
	return dst[:start+samples], nil
}

func (d *opusDecoder) call(dst []int16, payload []byte, samples, fec int) ([]int16, error) {
	start := len(dst)
	if samples <= 0 {
		return dst, nil
	}
	dst = grow(dst, samples)
	var data *C.uchar
	if len(payload) > 0 {
		data = (*C.uchar)(&payload[0])
	}
	n := C.opus_decode(d.ptr(), data, C.opus_int32(len(payload)),
		(*C.opus_int16)(&dst[start]), C.int(samples), C.int(fec))
	if n < 0 {
		return dst[:start], fmt.Errorf("decode %d bytes: %w", len(payload), opusError(C.int(n)))
	}
	return dst[:start+int(n)], nil
}

// grow lengthens s by n elements without keeping their old contents.
func grow[T any](s []T, n int) []T {
	if len(s)+n <= cap(s) {
		return s[:len(s)+n]
	}
	return append(s, make([]T, n)...)
}
