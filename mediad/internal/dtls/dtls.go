// Package dtls agrees on the SRTP keys of one leg by DTLS (RFC 5763, RFC 5764):
// the handshake over datagrams that are handed to it, the peer's certificate
// held against the fingerprint of its SDP, and the keys that come of it.
//
// It opens no socket: packets come by Deliver and go by Config.Send. It knows
// nothing of ICE: whose packets are delivered is the caller's to decide. An
// established association stays only to repeat the end of the handshake for a
// peer that missed it; it carries no data and can't be moved to another worker.
package dtls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/pion/dtls/v3"

	"trunkline/mediad/internal/srtp"
)

const (
	// handshakeTime is how long a peer may take, with repeats for what is lost.
	handshakeTime = 30 * time.Second
	// flightInterval is how soon a flight is repeated first.
	flightInterval = 200 * time.Millisecond
	// maxWaiting bounds datagrams delivered and not read yet.
	maxWaiting = 32
	// maxDatagram is what a record and its head may have at most.
	maxDatagram = 2048
	// validity of a certificate: longer than any worker's life.
	validity = 365 * 24 * time.Hour
)

// ErrFingerprint says that the peer's certificate is not the one of its SDP.
var ErrFingerprint = errors.New("certificate is not the one of the SDP")

// Certificate is a worker's own: nobody signs it, its fingerprint in the SDP is
// what vouches for it.
type Certificate struct {
	pair        tls.Certificate
	fingerprint [sha256.Size]byte
}

// NewCertificate makes one, ECDSA P-256, with a new key and an empty name.
func NewCertificate(now time.Time) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for DTLS: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, fmt.Errorf("make a certificate for DTLS: %w", err)
	}
	// Clocks of browsers are not always right.
	cert := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "media"}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(validity)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for DTLS: %w", err)
	}
	return &Certificate{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, sha256.Sum256(der)}, nil
}

// Fingerprint is the certificate's SHA-256.
func (c *Certificate) Fingerprint() []byte { return bytes.Clone(c.fingerprint[:]) }

// profiles in the order in which they are preferred; see srtp.Suites.
var profiles = []struct {
	profile dtls.SRTPProtectionProfile
	suite   srtp.Suite
	key     int // bytes, the rest of KeyBytes is salt
}{
	{dtls.SRTP_AEAD_AES_128_GCM, srtp.AEAD128GCM, 16},
	{dtls.SRTP_AES128_CM_HMAC_SHA1_80, srtp.AESCM128SHA180, 16},
	{dtls.SRTP_AEAD_AES_256_GCM, srtp.AEAD256GCM, 32},
	{dtls.SRTP_AES128_CM_HMAC_SHA1_32, srtp.AESCM128SHA132, 16},
}

// Keys are what a handshake agrees on.
type Keys struct {
	Suite       srtp.Suite
	Local, Peer srtp.Key // what we send and receive with
}

// Config is what an association is made of.
type Config struct {
	Certificate *Certificate
	Client      bool   // we begin
	Fingerprint []byte // SHA-256 of the peer's certificate
	// Send sends a datagram to the peer; it must not block.
	Send func(b []byte)
	// Done is told once: the keys, or why there are none.
	Done func(k Keys, err error)
}

// Association is one handshake and what remains of it.
type Association struct {
	cfg  Config
	conn *pipe
	wg   sync.WaitGroup
}

// Start begins an association.
func Start(cfg Config) *Association {
	a := &Association{cfg: cfg, conn: newPipe(cfg.Send)}
	a.wg.Go(a.run)
	return a
}

// Deliver hands over a datagram of the peer's, which is copied. It never blocks:
// what is too much is lost.
func (a *Association) Deliver(b []byte) { a.conn.deliver(b) }

// Close ends the association without a word to the peer and waits for its end;
// Done may still be told of that.
func (a *Association) Close() {
	_ = a.conn.Close()
	a.wg.Wait()
}

func (a *Association) run() {
	conn, keys, err := a.handshake()
	a.cfg.Done(keys, err)
	if err != nil {
		_ = a.conn.Close()
		return
	}
	// Repeats of the last flight are answered while somebody reads.
	buf := make([]byte, maxDatagram)
	for {
		if _, err := conn.Read(buf); err != nil {
			_ = a.conn.Close()
			_ = conn.Close()
			return
		}
	}
}

func (a *Association) handshake() (*dtls.Conn, Keys, error) {
	conn, err := a.begin()
	if err != nil {
		return nil, Keys{}, fmt.Errorf("begin DTLS: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = a.conn.Close()
		_ = conn.Close()
		return nil, Keys{}, fmt.Errorf("DTLS handshake: %w", err)
	}
	keys, err := a.export(conn)
	if err != nil {
		_ = a.conn.Close()
		_ = conn.Close()
	}
	return conn, keys, err
}

// begin makes the connection of either role, without a packet yet.
func (a *Association) begin() (*dtls.Conn, error) {
	var offered []dtls.SRTPProtectionProfile
	for _, p := range profiles {
		offered = append(offered, p.profile)
	}
	both := []dtls.Option{
		dtls.WithCertificates(a.cfg.Certificate.pair),
		dtls.WithSRTPProtectionProfiles(offered...),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithInsecureSkipVerify(true), // nobody signs these: the fingerprint is what counts
		dtls.WithVerifyPeerCertificate(a.verify),
	}
	if a.cfg.Client {
		var options []dtls.ClientOption
		for _, o := range both {
			options = append(options, o)
		}
		return dtls.ClientWithOptions(a.conn, peerAddr, options...)
	}
	options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for _, o := range both {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(a.conn, peerAddr, options...)
}

// verify holds the peer's certificate against its SDP.
func (a *Association) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return ErrFingerprint
	}
	if sum := sha256.Sum256(raw[0]); !bytes.Equal(sum[:], a.cfg.Fingerprint) {
		return ErrFingerprint
	}
	return nil
}

// export derives the keys (RFC 5764 section 4.2).
func (a *Association) export(conn *dtls.Conn) (Keys, error) {
	state, ok := conn.ConnectionState()
	profile, chosen := conn.SelectedSRTPProtectionProfile()
	if !ok || !chosen {
		return Keys{}, errors.New("DTLS handshake: the peer does no SRTP")
	}
	for _, p := range profiles {
		if p.profile != profile {
			continue
		}
		salt := p.suite.KeyBytes() - p.key
		b, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*p.suite.KeyBytes())
		if err != nil {
			return Keys{}, fmt.Errorf("derive SRTP keys: %w", err)
		}
		client := append(bytes.Clone(b[:p.key]), b[2*p.key:2*p.key+salt]...)
		server := append(bytes.Clone(b[p.key:2*p.key]), b[2*p.key+salt:]...)
		if a.cfg.Client {
			return Keys{p.suite, client, server}, nil
		}
		return Keys{p.suite, server, client}, nil
	}
	return Keys{}, fmt.Errorf("DTLS handshake: SRTP profile %#x was not offered", uint16(profile))
}

// peerAddr stands for the peer: where it is Config.Send knows.
var peerAddr net.Addr = &net.UDPAddr{IP: net.IPv4zero, Port: 9}
