package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
	"trunkline/routerd/routeapi"
)

// Roles a certificate of the private CA can give its holder.
const (
	roleRouter   = ".router.trunkline.internal"
	roleWorker   = ".worker.trunkline.internal"
	roleOperator = ".operator.trunkline.internal"
)

// CheckRole refuses a certificate without a DNS name of the given role.
func CheckRole(cert *x509.Certificate, role string) error {
	for _, name := range cert.DNSNames {
		if strings.HasSuffix(name, role) {
			return nil
		}
	}
	return fmt.Errorf("certificate of %q has no name under %s", cert.Subject.CommonName, role)
}

// peers passes SIP messages to the routers that own their calls.
type peers struct {
	addr func(acd.NodeID) (string, bool) // API address of a live router
	http *http.Client
}

// headerFlow carries where a passed message came from.
const headerFlow = "X-Trunkline-Flow"

func newPeers(conf *tls.Config, addr func(acd.NodeID) (string, bool)) *peers {
	c := conf.Clone()
	// Routers are dialled by address; what counts is the role in the name.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		mids := x509.NewCertPool()
		for _, m := range cs.PeerCertificates[1:] {
			mids.AddCert(m)
		}
		if _, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: conf.RootCAs, Intermediates: mids}); err != nil {
			return err
		}
		return CheckRole(cs.PeerCertificates[0], roleRouter)
	}
	return &peers{addr: addr, http: &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: c, MaxIdleConnsPerHost: 16, ForceAttemptHTTP2: true},
	}}
}

// pass gives a message to another router. Once it returns nil the message is
// that router's; order between messages of one dialog is the far end's own
// (it waits for our answers).
func (p *peers) pass(ctx context.Context, to acd.NodeID, msg sip.Message, flow sip.Flow) error {
	addr, ok := p.addr(to)
	if !ok {
		return fmt.Errorf("router %s is not alive", to)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", "https://"+addr+routeapi.PathPeerSIP, bytes.NewReader(msg.Raw()))
	if err != nil {
		return err
	}
	req.Header.Set(headerFlow, encodeFlow(flow))
	res, err := p.http.Do(req)
	if err != nil {
		return fmt.Errorf("pass a message to %s: %w", to, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return fmt.Errorf("pass a message to %s: %w", to, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("pass a message to %s: %s: %s", to, res.Status, bytes.TrimSpace(body))
	}
	return nil
}

// maxPassed bounds a passed SIP message, as the transport bounds its own.
const maxPassed = 64 << 10

// servePeer takes a message that another router passed because we own its
// call. One that we do not own (any more) is refused, so it never circles.
func (n *Node) servePeer(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPassed))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	msg, err := sip.Parse(raw)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("passed SIP message: %w", err))
		return
	}
	flow, err := decodeFlow(r.Header.Get(headerFlow))
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("passed SIP message: %s: %w", headerFlow, err))
		return
	}
	var call acd.CallID
	known, ours := false, false
	n.view(func(m *acd.Machine) {
		call = m.RootOf(n.callOf(msg))
		var owner acd.Owner
		owner, _, known = m.OwnerOf(call)
		ours = known && owner == n.owner()
	})
	if req, ok := msg.(*sip.Request); ok && !known && opensCall(req) {
		if dial, owner, _, refusal := n.dialOf(req, flow); refusal == nil && dial.beside != "" && owner == n.owner() {
			n.post(dial.beside, dial)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	if !ours {
		fail(w, http.StatusConflict, errors.New("the call is not owned here"))
		return
	}
	n.post(call, arrival{msg, flow})
	w.WriteHeader(http.StatusNoContent)
}

// encodeFlow writes a flow for headerFlow.
func encodeFlow(f sip.Flow) string { return f.Network + " " + f.Remote + " " + f.Local }

func decodeFlow(s string) (sip.Flow, error) {
	f := strings.Fields(s)
	if len(f) != 3 || f[0] != "tcp" && f[0] != "udp" {
		return sip.Flow{}, fmt.Errorf("%q is not network, remote and local address", s)
	}
	return sip.Flow{Network: f[0], Remote: f[1], Local: f[2]}, nil
}
