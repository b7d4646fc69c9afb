package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"trunkline/loadtest/lab"
	"trunkline/mediad/mediaapi"
	"trunkline/raftstore/gossip"
)

// mediaAddress is the one that all sessions are said to be on. Nothing is
// bound there.
const mediaAddress = "127.10.4.11"

// session is every answer and offer of the worker.
const session = "v=0\r\no=- 1 1 IN IP4 " + mediaAddress + "\r\ns=-\r\nc=IN IP4 " + mediaAddress + "\r\nt=0 0\r\n" +
	"m=audio 30000 RTP/SAVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n" +
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:b25lIGtleSBpcyBlbm91Z2ggZm9yIHNpbGVuY2Uh\r\na=ptime:20\r\na=rtcp-mux\r\na=sendrecv\r\n"

// worker is a media worker without media.
type worker struct {
	listener net.Listener
	gossip   *gossip.Gossip

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func startWorker(l *lab.Lab) (*worker, error) {
	const name = "m1"
	host := l.Addr(name)
	conf, err := l.PKI().Client(name)
	if err != nil {
		return nil, err
	}
	conf.MinVersion = tls.VersionTLS13
	control := fmt.Sprintf("%s:%d", host, lab.PortNG)
	w := &worker{conns: map[net.Conn]bool{}}
	if w.listener, err = tls.Listen("tcp", control, conf); err != nil {
		return nil, fmt.Errorf("listen as a media worker: %w", err)
	}
	go w.accept()
	raw, err := os.ReadFile(l.PKI().File("gossip.key"))
	if err != nil {
		return nil, fmt.Errorf("read the gossip key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("read the gossip key: %w", err)
	}
	meta, err := json.Marshal(mediaapi.WorkerMeta{
		Kind: mediaapi.WorkerKind, Incarnation: 1, Control: control,
		Replication: fmt.Sprintf("%s:%d", host, lab.PortReplication), Addresses: []string{mediaAddress}, FreePorts: 30000,
	})
	if err != nil {
		return nil, fmt.Errorf("encode what a worker says of itself: %w", err)
	}
	var join []string
	for _, r := range l.Names() {
		join = append(join, fmt.Sprintf("%s:%d", l.Addr(r), lab.PortGossip))
	}
	w.gossip, err = gossip.Start(gossip.Config{
		Name: name, Listen: fmt.Sprintf("%s:%d", host, lab.PortGossip), Join: join, Key: key, Meta: func() []byte { return meta },
	})
	return w, err
}

func (w *worker) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.conns[c] = true
		w.mu.Unlock()
		go w.serve(c)
	}
}

// serve answers orders in turn; what is ready is written together.
func (w *worker) serve(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	var b []byte
	for {
		msg, err := mediaapi.ReadMessage(in)
		if err != nil {
			return
		}
		cookie, format, req, err := mediaapi.ParseRequest(msg)
		if err != nil {
			return
		}
		b = mediaapi.AppendReply(b[:0], cookie, format, answerTo(req))
		if _, err := out.Write(b); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func answerTo(req mediaapi.Request) mediaapi.Reply {
	r := mediaapi.Reply{Result: mediaapi.ResultOK, Address: mediaAddress, Codec: "PCMA", Suite: "AES_CM_128_HMAC_SHA1_80"}
	switch req.Command {
	case mediaapi.LegAccept, mediaapi.LegOffer:
		r.SDP = session
	case mediaapi.Ping:
		r.Result = mediaapi.ResultPong
	}
	return r
}

func (w *worker) close() {
	if w.gossip != nil {
		w.gossip.Close()
	}
	w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
}
