package main

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/icholy/digest"

	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
)

// Where SIPp is: the callers' at one address for each router, the phones' at
// another. Routers hear them as edges.
const (
	phonesAddr = "127.10.7.9"
	phonesPort = 5070
	password   = "a phone's"
)

func callersAddr(router int) string { return fmt.Sprintf("127.10.7.%d", router+1) }

func heard() (addrs []string) {
	for i := range 3 {
		addrs = append(addrs, callersAddr(i))
	}
	return append(addrs, phonesAddr)
}

// Numbers: one leads to the queue that the phones serve, the other to one that
// nobody serves.
const (
	servedNumber = "+74950000001"
	heldNumber   = "+74950000002"
)

func agentID(i int) string { return fmt.Sprintf("a%d", i) }

// routing has no limits: not they are measured.
func (p *proof) routing() *acd.Config {
	c := &acd.Config{
		Trunks: []acd.Trunk{{ID: "sbc-a"}},
		Queues: []acd.Queue{
			{ID: "served", Music: lab.Music, RingTimeout: 15 * time.Second, WrapUp: 100 * time.Millisecond},
			{ID: "held", Music: lab.Music},
		},
		Numbers: []acd.Number{{Number: servedNumber, Queue: "served"}, {Number: heldNumber, Queue: "held"}},
	}
	for i := range p.agents {
		a1 := []byte(agentID(i) + ":" + lab.Realm + ":" + password)
		sha, md := sha256.Sum256(a1), md5.Sum(a1)
		c.Agents = append(c.Agents, acd.Agent{
			ID: acd.AgentID(agentID(i)), Name: agentID(i), Queues: []acd.QueueID{"served"}, AutoAvailable: true,
			HA1SHA256: hex.EncodeToString(sha[:]), HA1MD5: hex.EncodeToString(md[:]),
		})
	}
	return c
}

// registrars is how many connections the phones register over.
const registrars = 16

// register registers every phone, at the routers in turn.
func (p *proof) register(ctx context.Context) error {
	routers := p.lab.Names()
	// A router that has just become ready may not have the routing tree yet.
	for s := (scrape{}); s.have[`routerd_queue_waiting_calls{queue="served"}`] < len(routers); {
		var err error
		if s, err = p.scrape(ctx); err != nil {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	p.say("registering %d phones", p.agents)
	faults := make([]error, registrars)
	var all sync.WaitGroup
	for k := range registrars {
		all.Go(func() {
			router := fmt.Sprintf("%s:%d", p.lab.Addr(routers[k%len(routers)]), lab.PortSIP)
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(phonesAddr)}}
			conn, err := d.DialContext(ctx, "tcp", router)
			if err != nil {
				faults[k] = fmt.Errorf("connect to register: %w", err)
				return
			}
			defer conn.Close()
			in := textproto.NewReader(bufio.NewReader(conn))
			for i := k; i < p.agents && faults[k] == nil; i += registrars {
				faults[k] = registerOne(ctx, conn, in, i)
			}
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

func registerOne(ctx context.Context, conn net.Conn, in *textproto.Reader, i int) error {
	id := agentID(i)
	authorization := ""
	for cseq := 1; cseq <= 10; cseq++ {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		uri := "sip:" + lab.ClusterHost
		_, err := fmt.Fprintf(conn, "REGISTER %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKr%d.%d\r\nMax-Forwards: 70\r\n"+
			"From: <sip:%s@%s>;tag=r%d\r\nTo: <sip:%s@%s>\r\nCall-ID: register-%s\r\nCSeq: %d REGISTER\r\n"+
			"Contact: <sip:%s@%s:%d;transport=tcp>\r\nExpires: 7200\r\n%sContent-Length: 0\r\n\r\n",
			uri, conn.LocalAddr(), i, cseq, id, lab.ClusterHost, i, id, lab.ClusterHost, id, cseq, id, phonesAddr, phonesPort, authorization)
		if err != nil {
			return fmt.Errorf("register %s: %w", id, err)
		}
		status, err := in.ReadLine()
		if err != nil {
			return fmt.Errorf("register %s: %w", id, err)
		}
		head, err := in.ReadMIMEHeader()
		if err != nil {
			return fmt.Errorf("register %s: %w", id, err)
		}
		switch {
		case strings.HasPrefix(status, "SIP/2.0 200 "):
			return nil
		case strings.HasPrefix(status, "SIP/2.0 503 "): // no leader at the moment; a phone asks again
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			continue
		case !strings.HasPrefix(status, "SIP/2.0 401 "):
			return fmt.Errorf("register %s: %s", id, status)
		}
		challenge, err := digest.ParseChallenge(head.Get("WWW-Authenticate"))
		if err != nil {
			return fmt.Errorf("register %s: read the challenge: %w", id, err)
		}
		cred, err := digest.Digest(challenge, digest.Options{Method: "REGISTER", URI: uri, Count: 1, Username: id, Password: password})
		if err != nil {
			return fmt.Errorf("register %s: answer the challenge: %w", id, err)
		}
		authorization = "Authorization: " + cred.String() + "\r\n"
	}
	return fmt.Errorf("register %s: not registered in ten attempts", id)
}
