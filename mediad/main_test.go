package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
)

const patience = 20 * time.Second

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mediad.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", t.TempDir())), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFaultyConfigurationIsToldWhole(t *testing.T) {
	file := writeConfig(t, "worker: m1\ndata: here\nng: {udp: x}\nmedia: {ports: 1-2}\nnonsense: 1\n")
	var out bytes.Buffer
	err := run(context.Background(), []string{"-config", file, "-check"}, io.Discard, &out)
	if !errors.Is(err, errConfig) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{":2: data", ":3: ng.udp", ":4: media.addresses", ":4: media.ports", ":5: nonsense", "metrics.listen"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 8\r\n" +
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"

// A worker that stands alone: it is ready at once, serves what Kamailio's
// module sends, and on SIGTERM waits for its calls to end.
func TestWorkerServesAndDrains(t *testing.T) {
	file := writeConfig(t, `worker: m1
data: DIR
ng: {tcp: "127.20.4.201:2223", udp: "127.20.4.201:2223"}
media: {addresses: [127.20.4.202], ports: 20000-20099}
metrics: {listen: "127.20.4.201:9100"}
`)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-config", file}, io.Discard, io.Discard) }()
	defer stop()
	get := func(path string) (int, string) {
		r, err := http.Get("http://127.20.4.201:9100" + path)
		if err != nil {
			return 0, ""
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	until(t, "ready", func() bool { code, _ := get("/readyz"); return code == 200 })

	udp, err := net.Dial("udp", "127.20.4.201:2223")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_ = udp.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(udp, "c1 d7:command4:pinge")
	buf := make([]byte, 1000)
	if n, err := udp.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "6:result4:pong") {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	c, err := mediaapi.Dial(ctx, "127.20.4.201:2223", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Do(ctx, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: offer})
	if err != nil || !strings.Contains(reply.SDP, "127.20.4.202") {
		t.Fatalf("%+v, %v", reply, err)
	}
	if code, text := get("/metrics"); code != 200 || !strings.Contains(text, "mediad_legs_open 1\n") {
		t.Errorf("%d %s", code, text)
	}

	stop()
	until(t, "draining", func() bool { code, text := get("/readyz"); return code == 503 && strings.Contains(text, "draining") })
	if _, err := c.Do(context.Background(), mediaapi.Request{Command: mediaapi.LegAccept, CallID: "d", Leg: "1", SDP: offer}); err == nil {
		t.Error("a draining worker took a call")
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Error("not healthy while draining")
	}
	if _, err := c.Do(context.Background(), mediaapi.Request{Command: mediaapi.Delete, CallID: "c"}); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("did not end")
	}
}
