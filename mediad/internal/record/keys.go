package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"trunkline/mediad/mediaapi"
)

const (
	masterKeySize = 32
	dataKeySize   = 32
	slotSize      = 512
	slotCall      = 59
	maxLabel      = mediaapi.MaxLabel
	maxCallID     = slotSize - slotCall - 1 - maxLabel

	slotLive   = 1
	slotErased = 2
)

// segmentKeys wraps and unwraps the data keys of one segment.
type segmentKeys struct {
	id   segmentID
	aead cipher.AEAD
}

func newSegmentKeys(master []byte, id segmentID) (*segmentKeys, error) {
	if len(master) != masterKeySize {
		return nil, fmt.Errorf("master key has %d bytes, want %d", len(master), masterKeySize)
	}
	key, err := hkdf.Key(sha256.New, master, id[:], "trunkline recording segment 1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive wrapping key: %w", err)
	}
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	return &segmentKeys{id: id, aead: aead}, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// The key check takes a nonce no slot has.
var checkNonce = bytes.Repeat([]byte{0xFF}, 12)

func (k *segmentKeys) check() (tag [tagSize]byte) {
	copy(tag[:], k.aead.Seal(nil, checkNonce, nil, nil))
	return tag
}

// openKeys returns the keys of a segment, or ErrMasterKey.
func openKeys(master []byte, h segmentHeader) (*segmentKeys, error) {
	k, err := newSegmentKeys(master, h.id)
	if err != nil {
		return nil, err
	}
	if k.check() != h.keyCheck {
		return nil, ErrMasterKey
	}
	return k, nil
}

func slotNonce(number uint32) []byte {
	n := make([]byte, 12)
	binary.LittleEndian.PutUint32(n, number)
	return n
}

// newSlot makes a random data key for a call and the slot that stores it. A
// slot number must be used once in a segment.
func (k *segmentKeys) newSlot(call, label string, number uint32) (slot []byte, data cipher.AEAD, err error) {
	key := make([]byte, dataKeySize)
	rand.Read(key) // never fails
	defer clear(key)
	if data, err = newGCM(key); err != nil {
		return nil, nil, err
	}
	slot = encodeSlot(k.id, keySlot{number: number, call: call, label: label,
		wrapped: k.aead.Seal(nil, slotNonce(number), key, []byte(call))})
	return slot, data, nil
}

// unwrap returns the cipher of a live slot.
func (k *segmentKeys) unwrap(s keySlot) (cipher.AEAD, error) {
	key, err := k.aead.Open(nil, slotNonce(s.number), s.wrapped, []byte(s.call))
	if err != nil {
		return nil, fmt.Errorf("unwrap data key: %w", err)
	}
	defer clear(key)
	return newGCM(key)
}

func encodeSlot(id segmentID, s keySlot) []byte {
	b := make([]byte, slotSize)
	b[4] = slotLive
	if s.erased {
		b[4] = slotErased
	}
	binary.LittleEndian.PutUint16(b[5:], uint16(len(s.call)))
	binary.LittleEndian.PutUint32(b[7:], s.number)
	copy(b[11:slotCall], s.wrapped)
	n := slotCall + copy(b[slotCall:], s.call)
	if n < slotSize {
		b[n] = byte(len(s.label))
		copy(b[n+1:], s.label)
	}
	binary.LittleEndian.PutUint32(b, crc32.Update(id.seed(), castagnoli, b[4:]))
	return b
}

// keySlot is one call's entry in a key file.
type keySlot struct {
	number  uint32
	erased  bool
	call    string
	label   string
	wrapped []byte
}

// slotLabel reads what stands behind the call id of a slot: "" in slots of
// before there were labels.
func slotLabel(b []byte) string {
	if len(b) == 0 || int(b[0]) >= len(b) {
		return ""
	}
	return string(b[1 : 1+int(b[0])])
}

// keyFile is what a key file holds; damaged slots are left out and counted.
type keyFile struct {
	header  segmentHeader
	slots   []keySlot
	damaged []uint32 // their numbers
}

// readKeyFile reads a key file. A torn last slot is not an error: its call has
// no records yet, because keys are written first.
func readKeyFile(path string) (keyFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return keyFile{}, fmt.Errorf("read key file: %w", err)
	}
	return decodeKeyFile(b)
}

func decodeKeyFile(b []byte) (k keyFile, err error) {
	if k.header, err = decodeHeader(b); err != nil {
		return k, err
	}
	seed := k.header.id.seed()
	for number := 1; (number+1)*slotSize <= len(b); number++ {
		s := b[number*slotSize : (number+1)*slotSize]
		length := int(binary.LittleEndian.Uint16(s[5:]))
		if crc32.Update(seed, castagnoli, s[4:]) != binary.LittleEndian.Uint32(s) ||
			binary.LittleEndian.Uint32(s[7:]) != uint32(number) || length > slotSize-slotCall ||
			(s[4] != slotLive && s[4] != slotErased) {
			k.damaged = append(k.damaged, uint32(number))
			continue
		}
		k.slots = append(k.slots, keySlot{
			number: uint32(number), erased: s[4] == slotErased,
			call: string(s[slotCall : slotCall+length]), label: slotLabel(s[slotCall+length:]), wrapped: s[11:slotCall],
		})
	}
	return k, nil
}

// Forget destroys the keys of a call in every segment of the given folders
// and returns how many it destroyed. A log that still records the call must be
// told by its own Forget.
func Forget(dirs []string, call string) (erased int, err error) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return erased, fmt.Errorf("list recordings: %w", err)
		}
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), keysSuffix) {
				continue
			}
			n, err := eraseKeys(filepath.Join(dir, entry.Name()), call)
			erased += n
			if err != nil {
				return erased, fmt.Errorf("erase keys: %w", err)
			}
		}
	}
	return erased, nil
}

// eraseKeys overwrites the call's live slots in one key file and waits until
// they are on disk.
func eraseKeys(path, call string) (erased int, err error) {
	table, err := ReadTable(path)
	if err != nil {
		return 0, err
	}
	var slots []uint32
	for _, s := range table.Calls {
		if s.Call == call {
			slots = append(slots, s.Slot)
		}
	}
	if len(slots) == 0 {
		return 0, nil
	}
	return EraseSlots(path, slots)
}
