package ngproof

import (
	"bufio"
	stdcontext "context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"trunkline/loadtest/lab"
	"trunkline/mediad/mediaapi"
)

// The sample's addresses, and those that stand for them here.
var (
	proxy    = netip.MustParseAddrPort("127.11.0.10:5060")
	mediaNet = netip.MustParsePrefix("127.11.0.40/29")
	here     = strings.NewReplacer("192.0.2.", "127.11.0.", "198.51.100.5", carrierAt)
)

const (
	gatewayAt = "127.11.0.20"
	carrierAt = "127.11.0.5"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(stdcontext.Context) int { return m.Run() }))
}

// site is Kamailio and two workers, as deploy/rtpengine has them.
type site struct {
	t       *testing.T
	dir     string
	log     string // Kamailio's
	workers [2]*worker
}

type worker struct {
	cmd     *exec.Cmd
	control string
	http    string
}

// commands has a party have the module's other functions called, by INFO: the
// answer's reason is what came of it.
const commands = `
#!define WITH_LOCAL
route[LOCAL] {
	if (!is_method("INFO")) return;
	$var(f) = $hdr(X-Flags);
	$var(rc) = 0;
	switch ($hdr(X-Command)) {
	case "block media":      $var(rc) = 2; if (block_media("$var(f)")) { $var(rc) = 1; } break;
	case "unblock media":    $var(rc) = 2; if (unblock_media("$var(f)")) { $var(rc) = 1; } break;
	case "block DTMF":       $var(rc) = 2; if (block_dtmf("$var(f)")) { $var(rc) = 1; } break;
	case "unblock DTMF":     $var(rc) = 2; if (unblock_dtmf("$var(f)")) { $var(rc) = 1; } break;
	case "silence media":    $var(rc) = 2; if (silence_media("$var(f)")) { $var(rc) = 1; } break;
	case "unsilence media":  $var(rc) = 2; if (unsilence_media("$var(f)")) { $var(rc) = 1; } break;
	case "start forwarding": $var(rc) = 2; if (start_forwarding("$var(f)")) { $var(rc) = 1; } break;
	case "stop forwarding":  $var(rc) = 2; if (stop_forwarding("$var(f)")) { $var(rc) = 1; } break;
	case "start recording":  $var(rc) = 2; if (start_recording("$var(f)")) { $var(rc) = 1; } break;
	case "stop recording":   $var(rc) = 2; if (stop_recording("$var(f)")) { $var(rc) = 1; } break;
	case "play media":       $var(rc) = 2; if (play_media("$var(f)")) { $var(rc) = 1; } break;
	case "stop media":       $var(rc) = 2; if (stop_media("$var(f)")) { $var(rc) = 1; } break;
	case "play DTMF":        $var(rc) = 2; if (play_dtmf("$var(f)")) { $var(rc) = 1; } break;
	case "query":            $var(rc) = 2; if (rtpengine_query("$var(f)")) { $var(rc) = 1; } break;
	case "statistics":       $var(rc) = $rtpestat; break;
	}
	sl_send_reply("200", "$var(rc)");
	exit;
}
`

// start brings the site up. change is applied to the workers' configurations.
func start(t *testing.T, change func(n int, text string) string) *site {
	t.Helper()
	tools, err := lab.SetUp(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "ngproof")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, log: filepath.Join(dir, "kamailio.log")}
	mediad := filepath.Join(dir, "mediad")
	build := exec.Command("go", "build", "-tags", "nolibopusfile", "-o", mediad, "./mediad")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build mediad: %v\n%s", err, out)
	}
	sample, err := os.ReadFile(filepath.Join(root, "deploy/rtpengine/mediad.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.workers {
		s.workers[i] = s.startWorker(i+1, mediad, filepath.Join(root, "mediad/prompts"), string(sample), change)
	}
	conf, err := os.ReadFile(filepath.Join(root, "deploy/rtpengine/kamailio.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("kamailio.cfg", here.Replace(string(conf)))
	s.write("local.cfg", commands)
	file := filepath.Join(dir, "kamailio.cfg")
	if out, err := tools.Command(t.Context(), "kamailio", "-c", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("kamailio -c: %v\n%s", err, out)
	}
	out, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	kamailio := tools.Command(stdcontext.Background(), "kamailio", "-f", file, "-Y", dir, "-DD", "-E", "-m", "64", "-M", "8")
	kamailio.Stdout, kamailio.Stderr = out, out
	s.run(kamailio)
	s.until("Kamailio listens", func() bool {
		b, _ := os.ReadFile("/proc/net/udp")
		return strings.Contains(string(b), "0A000B7F:13C4")
	})
	return s
}

// run starts a process that ends with the test.
func (s *site) run(cmd *exec.Cmd) {
	s.t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

func (s *site) startWorker(n int, mediad, prompts, sample string, change func(int, string) string) *worker {
	s.t.Helper()
	w := &worker{control: fmt.Sprintf("127.11.0.%d:2223", 30+n), http: fmt.Sprintf("127.11.0.%d:9100", 30+n)}
	data := filepath.Join(s.dir, fmt.Sprintf("m%d", n))
	text := here.Replace(sample)
	for old, new := range map[string]string{
		"worker: m1": fmt.Sprintf("worker: m%d", n), "127.11.0.31:2223": w.control, "127.11.0.41": fmt.Sprintf("127.11.0.%d", 40+n),
		"/var/lib/trunkline/m1": data, "/usr/share/trunkline/prompts": prompts, "127.0.0.1:9100": w.http, "allow: [127.11.0.10/32]": "allow: [127.0.0.1/32]", // where loopback's datagrams come from
	} {
		if !strings.Contains(text, old) {
			s.t.Fatalf("the sample has no %q", old)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	if change != nil {
		text = change(n, text)
	}
	file := s.write(fmt.Sprintf("m%d.yaml", n), text)
	if out, err := exec.Command(mediad, "-check", "-config", file).CombinedOutput(); err != nil {
		s.t.Fatalf("mediad -check: %v\n%s", err, out)
	}
	w.cmd = exec.Command(mediad, "-config", file)
	log, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("m%d.log", n)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	w.cmd.Stdout, w.cmd.Stderr = log, log
	s.run(w.cmd)
	s.until("worker answers", func() bool { return s.ask(w, mediaapi.Request{Command: mediaapi.Ping}).Result == mediaapi.ResultPong })
	return w
}

func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *site) until(what string, cond func() bool) {
	s.t.Helper()
	stop := time.NewTimer(patience)
	defer stop.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-stop.C:
			s.t.Fatalf("waited in vain: %s\n%s", what, s.kamailioSaid())
		}
	}
}

func (s *site) kamailioSaid() string {
	b, _ := os.ReadFile(s.log)
	return string(b)
}

// ask sends a worker a command of our own.
func (s *site) ask(w *worker, r mediaapi.Request) mediaapi.Reply {
	s.t.Helper()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(w.control)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write(mediaapi.AppendRequest(nil, token(), mediaapi.JSON, r)); err != nil {
		return mediaapi.Reply{}
	}
	buf := make([]byte, 64<<10)
	n, err := bufio.NewReaderSize(c, len(buf)).Read(buf)
	if err != nil {
		return mediaapi.Reply{}
	}
	_, _, reply, err := mediaapi.ParseReply(buf[:n])
	if err != nil {
		s.t.Fatal(err)
	}
	return reply
}

// calls are the calls of each worker.
func (s *site) calls() (n [2]int) {
	s.t.Helper()
	for i, w := range s.workers {
		n[i] = len(s.ask(w, mediaapi.Request{Command: mediaapi.List}).Calls)
	}
	return n
}

func (s *site) noneLeft() {
	s.t.Helper()
	s.until("every call's legs are given back", func() bool { return s.calls() == [2]int{} })
}

// A plain gateway and a carrier with SRTP call each other through Kamailio:
// what they say arrives to the octet, either may hold, and a BYE, a CANCEL or a
// refusal gives everything back.
func TestCallsThroughUnmodifiedKamailio(t *testing.T) {
	s := start(t, nil)
	gateway, carrier := newParty(t, gatewayAt, false), newParty(t, carrierAt, true)

	gateway.ice = true // which ICE=remove takes off
	call(gateway, carrier)
	talk(gateway, carrier, "out")
	if n := s.calls(); n[0]+n[1] != 1 {
		t.Errorf("%v calls", n)
	}
	carrier.mode, gateway.mode = "sendonly", "recvonly"
	if offered, answered := again(carrier, gateway); !strings.Contains(offered, "a=sendonly") || !strings.Contains(answered, "a=recvonly") {
		t.Errorf("hold is told as\n%s\nand answered as\n%s", offered, answered)
	}
	carrier.mode, gateway.mode = "sendrecv", "sendrecv"
	again(gateway, carrier)
	talk(gateway, carrier, "again")
	hangUp(carrier, gateway)
	s.noneLeft()

	call(carrier, gateway)
	talk(carrier, gateway, "in")
	hangUp(carrier, gateway)
	s.noneLeft()

	m := carrier.invite(gateway)
	gateway.respond(m, "486 Busy Here", "")
	carrier.expect("486 INVITE")
	carrier.request("ACK", "")
	gateway.expect("ACK")
	s.noneLeft()

	m = gateway.invite(carrier)
	carrier.respond(m, "180 Ringing", "") // or there is nothing to cancel yet
	gateway.ringing()
	gateway.request("CANCEL", "")
	gateway.expect("200 CANCEL")
	carrier.respond(carrier.expect("CANCEL"), "200 OK", "")
	carrier.respond(m, "487 Request Terminated", "")
	carrier.expect("ACK")
	gateway.expect("487 INVITE")
	s.noneLeft()
}

// do has Kamailio call one of its module's functions for a party's call.
func do(p *party, command, flags string) string {
	p.t.Helper()
	p.request("INFO", "", "X-Command: "+command, "X-Flags: "+flags)
	m := p.expect("200 INFO")
	return strings.TrimPrefix(m.start, "SIP/2.0 200 ")
}

// Every function of the module is understood, or refused in words.
func TestModuleFunctions(t *testing.T) {
	s := start(t, nil)
	gateway, carrier := newParty(t, gatewayAt, false), newParty(t, carrierAt, true)
	call(gateway, carrier)
	talk(gateway, carrier, "first")
	f := func(command, flags, want string) {
		t.Helper()
		if got := do(gateway, command, flags); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%s %s: %s, want %s\n%s", command, flags, got, want, s.kamailioSaid())
		}
	}
	f("query", " ", "1")
	f("statistics", " ", "RTP: [1-9][0-9]+ bytes, 60 packets, 0 errors; RTCP: 0 bytes, [0-9]+ packets, 0 errors")

	f("block media", "directional", "1") // of the one whose INFO it is
	gateway.speak("blocked", 5)
	f("unblock media", "directional", "1")
	talk(gateway, carrier, "unblocked") // and nothing of before
	f("block DTMF", " ", "1")
	f("unblock DTMF", " ", "1")
	f("silence media", "directional", "1")
	gateway.speak("secret", 5)
	for i := range 5 {
		if h := carrier.listen(); h.text != strings.Repeat("\xd5", 160) {
			t.Errorf("packet %d of silence is %q", i, h.text)
		}
	}
	f("unsilence media", "directional", "1")

	f("play media", "file=/usr/share/sounds/music.wav all", "1")
	h := gateway.listen()
	if h.kind != 8 || len(h.text) != 160 {
		t.Errorf("a prompt is heard as %+v", h)
	}
	f("stop media", "all", "1")
	f("play DTMF", "code=5 duration=100", "1")
	for h = carrier.listen(); h.kind != 101; h = carrier.listen() {
	}
	if h.text[0] != 5 {
		t.Errorf("the key is %d", h.text[0])
	}

	f("start recording", " ", "2") // not configured
	f("start forwarding", " ", "2")
	f("stop forwarding", " ", "2")
	f("play media", "file=nothing.wav all", "2")
	for _, reason := range []string{"recording is not configured", "PCM is forwarded to nobody", "no prompt"} {
		if !strings.Contains(s.kamailioSaid(), reason) {
			t.Errorf("Kamailio was not told: %s", reason)
		}
	}
	hangUp(gateway, carrier)
	s.noneLeft()
}

// Two workers, one with ports for two calls and one that may have two: the
// module asks the other where one answers so, and the caller is refused when
// both do. One that drains says load limit; one that is dead is passed over.
func TestOtherWorkerIsAsked(t *testing.T) {
	s := start(t, func(n int, text string) string {
		if n == 1 {
			return strings.Replace(text, "20000-39999", "20000-20007", 1)
		}
		return strings.Replace(text, "max_cpu", "max_legs: 4\n  max_cpu", 1)
	})
	var gateways, carriers []*party
	gateway, carrier := newParty(t, gatewayAt, false), newParty(t, carrierAt, true)
	for range 4 {
		g, c := *gateway, *carrier // the sockets are shared, the calls are not
		call(&g, &c)
		talk(&g, &c, "one of four")
		gateways, carriers = append(gateways, &g), append(carriers, &c)
	}
	if n := s.calls(); n != [2]int{2, 2} {
		t.Fatalf("calls are spread %v", n)
	}
	gateway.fresh()
	gateway.callID, gateway.local, gateway.remote = token()+"@ngproof", "<sip:a@x>;tag="+token(), "<sip:b@y>"
	gateway.target = "sip:b@" + proxy.String()
	gateway.request("INVITE", gateway.sdp())
	gateway.expect("488 INVITE")
	gateway.request("ACK", "")
	for _, reason := range []string{"Ran out of ports", "Parallel session limit reached"} {
		if !strings.Contains(s.kamailioSaid(), reason) {
			t.Errorf("no worker said %q", reason)
		}
	}
	for i, g := range gateways { // they all still talk
		talk(g, carriers[i], "still")
	}
	for i, g := range gateways {
		hangUp(g, carriers[i])
	}
	s.noneLeft()

	drained := s.workers[0]
	call(gateway, carrier) // a drain ends when no call is left
	for s.calls()[0] == 0 {
		hangUp(gateway, carrier)
		s.noneLeft()
		call(gateway, carrier)
	}
	if err := drained.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.until("the worker says load limit", func() bool {
		r := s.ask(drained, mediaapi.Request{Command: mediaapi.Offer, CallID: "x", FromTag: "x", Supports: []string{"load limit"}})
		return r.Result == mediaapi.ResultLoadLimit
	})
	g, c := *gateway, *carrier
	g.rtp, c.rtp = nil, nil // they stay the others'
	for range 4 {           // whichever is asked first
		call(&g, &c)
		talk(&g, &c, "elsewhere")
		hangUp(&g, &c)
	}
	talk(gateway, carrier, "drained, not cut off")
	hangUp(gateway, carrier) // the drained worker ends
	s.until("the drained worker ends", func() bool { return s.ask(drained, mediaapi.Request{Command: mediaapi.Ping}).Result == "" })
	for range 3 {
		call(&g, &c)
		talk(&g, &c, "without it")
		hangUp(&g, &c)
	}
}
