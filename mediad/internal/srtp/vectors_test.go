package srtp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// The RFCs' vectors are of session keys or of derivations, never of both. So a
// reference of our own, in the plainest form, is held against each of them, and
// what a Sender makes under a master key against the reference.

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keystream is AES in counter mode (RFC 3711 section 4.1.1, RFC 6188 section 2).
func keystream(t testing.TB, key, iv []byte, n int) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, n)
	cipher.NewCTR(block, iv).XORKeyStream(out, out)
	return out
}

// derived is a session key by label (RFC 3711 section 4.3.1). A GCM suite's salt
// of 12 octets is filled up with zeros (RFC 7714 section 11).
func derived(t testing.TB, key, salt []byte, label byte, n int) []byte {
	t.Helper()
	iv := make([]byte, 16)
	copy(iv, salt)
	iv[7] ^= label
	return keystream(t, key, iv, n)
}

// counterIV is salt, SSRC and packet index put together (RFC 3711 section 4.1.1).
func counterIV(salt []byte, ssrc uint32, index uint64) []byte {
	iv := make([]byte, 16)
	copy(iv, salt)
	var x [16]byte
	binary.BigEndian.PutUint32(x[4:], ssrc)
	binary.BigEndian.PutUint32(x[8:], uint32(index>>16))
	binary.BigEndian.PutUint16(x[12:], uint16(index))
	for i := range iv {
		iv[i] ^= x[i]
	}
	return iv
}

// gcmIV is RFC 7714 section 8.1's, or 9.1's with the whole index in place of ROC and
// SEQ.
func gcmIV(salt []byte, ssrc uint32, index uint64) []byte {
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[2:], ssrc)
	binary.BigEndian.PutUint32(iv[6:], uint32(index>>16))
	binary.BigEndian.PutUint16(iv[10:], uint16(index))
	for i := range iv {
		iv[i] ^= salt[i]
	}
	return iv
}

func gcm(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tag(key []byte, n int, parts ...[]byte) []byte {
	m := hmac.New(sha1.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)[:n]
}

func xor(a, b []byte) []byte {
	out := bytes.Clone(a)
	for i := range out {
		out[i] ^= b[i]
	}
	return out
}

// RFC 3711 appendix B.2 and RFC 6188 section 7.1.
func TestReferenceKeystreamIsTheRFCs(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		iv := counterIV(unhex(t, "f0f1f2f3f4f5f6f7f8f9fafbfcfd"), 0, 0)
		if got := keystream(t, unhex(t, key), iv, 48); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%x", got)
		}
	}
	f("2b7e151628aed2a6abf7158809cf4f3c",
		"e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0")
	f("57f82fe3613fd170a85ec93c40b1f092 2ec4cb0dc025b58272147cc438944a98",
		"92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31")
}

// RFC 3711 appendix B.3 and RFC 6188 section 7.2.
func TestReferenceDerivationIsTheRFCs(t *testing.T) {
	f := func(key, salt, wantKey, wantSalt, wantAuth string) {
		t.Helper()
		for label, want := range []string{wantKey, wantAuth, wantSalt} {
			w := unhex(t, want)
			if got := derived(t, unhex(t, key), unhex(t, salt), byte(label), len(w)); !bytes.Equal(got, w) {
				t.Errorf("label %d: %x", label, got)
			}
		}
	}
	f("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6",
		"c61e7a93744f39ee10734afe3ff7a087", "30cbbc08863d8c85d49db34a9ae1", "cebe321f6ff7716b6fd4ab49af256a156d38baa4")
	f("f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6", "3b04803de51ee7c96423ab5b78d2",
		"5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4", "fa31791685ca444a9e07c6c64e93",
		"fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
}

// RFC 7714 sections 16.1.1, 16.2.1, 17.1 and 17.3.
func TestReferenceGCMIsTheRFCs(t *testing.T) {
	salt := unhex(t, "51756964 2070726f 2071756f")
	rtp := unhex(t, "8040f17b 8041f8d3 5501a0b2 47616c6c69612065 7374206f6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573")
	rtcp := unhex(t, "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef")
	f := func(key, wantRTP, wantRTCP string) {
		t.Helper()
		a := gcm(t, unhex(t, key))
		got := a.Seal(nil, gcmIV(salt, 0x5501a0b2, 0xf17b), rtp[12:], rtp[:12])
		if !bytes.Equal(got, unhex(t, wantRTP)) {
			t.Errorf("SRTP %x", got)
		}
		got = sealGCMReport(a, salt, rtcp, 0x5d4)
		if !bytes.Equal(got[8:], unhex(t, wantRTCP)) {
			t.Errorf("SRTCP %x", got)
		}
	}
	f("000102030405060708090a0b0c0d0e0f",
		"f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
		"63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4")
	f("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
		"d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4")
}

func sealGCMReport(a cipher.AEAD, salt, plain []byte, index uint32) []byte {
	trailer := binary.BigEndian.AppendUint32(nil, 1<<31|index)
	ssrc := binary.BigEndian.Uint32(plain[4:])
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[2:], ssrc)
	binary.BigEndian.PutUint32(iv[8:], index)
	out := a.Seal(bytes.Clone(plain[:8]), xor(iv, salt), plain[8:], append(bytes.Clone(plain[:8]), trailer...))
	return append(out, trailer...)
}

// What each suite sends under a master key is what the RFCs say, packet for packet
// and over a wrap of the sequence number; SRTCP too.
func TestEachSuiteIsTheRFCs(t *testing.T) {
	eachSuite(t, func(t *testing.T, s Suite) {
		k := NewKey(s)
		p := suites[s]
		key, salt := k[:p.key], k[p.key:]
		aead := s == AEAD128GCM || s == AEAD256GCM
		tagLen := 10
		if s == AESCM128SHA132 {
			tagLen = 4
		}
		snd := sender(t, s, k)
		for i := range 40 {
			seq := 65530 + i
			plain := packet(0xcafebabe, seq, strings.Repeat("media", i))
			index := uint64(seq)
			var want []byte
			if aead {
				want = gcm(t, derived(t, key, salt, 0, p.key)).Seal(bytes.Clone(plain[:12]),
					gcmIV(derived(t, key, salt, 2, 12), 0xcafebabe, index), plain[12:], plain[:12])
			} else {
				iv := counterIV(derived(t, key, salt, 2, 14), 0xcafebabe, index)
				want = append(bytes.Clone(plain[:12]), xor(plain[12:], keystream(t, derived(t, key, salt, 0, p.key), iv, len(plain)))...)
				roc := binary.BigEndian.AppendUint32(nil, uint32(index>>16))
				want = append(want, tag(derived(t, key, salt, 1, 20), tagLen, want, roc)...)
			}
			if got := seal(t, snd, plain); !bytes.Equal(got, want) {
				t.Fatalf("SRTP index %d:\n got %x\nwant %x", index, got, want)
			}
		}
		for index := uint32(1); index < 4; index++ {
			plain := append(report(0xcafebabe), strings.Repeat("\x81\xca\x00\x00", int(index))...)
			got, err := snd.SealRTCP(make([]byte, 0, 256), plain)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			if aead {
				want = sealGCMReport(gcm(t, derived(t, key, salt, 3, p.key)), derived(t, key, salt, 5, 12), plain, index)
			} else {
				iv := counterIV(derived(t, key, salt, 5, 14), 0xcafebabe, uint64(index))
				want = append(bytes.Clone(plain[:8]), xor(plain[8:], keystream(t, derived(t, key, salt, 3, p.key), iv, len(plain)))...)
				want = binary.BigEndian.AppendUint32(want, 1<<31|index)
				want = append(want, tag(derived(t, key, salt, 4, 20), 10, want)...) // RFC 3711 section 5.2: 80 bits for SRTCP whatever SRTP has
			}
			if !bytes.Equal(got, want) {
				t.Errorf("SRTCP index %d:\n got %x\nwant %x", index, got, want)
			}
		}
	})
}
