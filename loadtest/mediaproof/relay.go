package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trunkline/loadtest/lab"
	"trunkline/mediad/mediaapi"
)

const (
	controlPort = 2223
	metricsPort = 9100
	mediaPorts  = "30000-49999"
)

// relay is one of the two daemons, with a process of its own for each cell.
type relay struct {
	name    string
	addr    netip.Addr // of its media and its control port
	plain   bool       // takes plain RTP
	command func() (*exec.Cmd, error)

	log  string
	cmd  *exec.Cmd
	over chan struct{} // closed when the process has ended
	ng   *mediaapi.Client
	gen  *generator
	ids  []string // of its calls
}

// plainKeys have mediad take plain RTP from the generator, and calls however busy
// the machine is.
var plainKeys = fmt.Sprintf(", plain: [%s/32], max_cpu: 100", generatorAddr)

// mediadRelay is mediad as an operator runs it: one thread per processor. A
// program from before it could take plain RTP, to compare with, is run without.
func mediadRelay(ctx context.Context, name, addr, bin, dir string, threads int) (*relay, error) {
	r := &relay{name: name, addr: netip.MustParseAddr(addr), log: filepath.Join(dir, name+".log")}
	data := filepath.Join(dir, name)
	config, err := r.configure(data, threads, plainKeys)
	if err != nil {
		return nil, err
	}
	keys := plainKeys
	if r.plain = exec.CommandContext(ctx, bin, "-check", "-config", config).Run() == nil; !r.plain {
		keys = ""
		if config, err = r.configure(data, threads, keys); err != nil {
			return nil, err
		}
		if out, err := exec.CommandContext(ctx, bin, "-check", "-config", config).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("check the configuration of %s: %w: %s", bin, err, out)
		}
	}
	r.command = func() (*exec.Cmd, error) {
		config, err := r.configure(data, threads, keys)
		return exec.Command(bin, "-config", config), err
	}
	return r, nil
}

// configure empties mediad's folder, but for its configuration.
func (r *relay) configure(data string, threads int, mediaKeys string) (path string, err error) {
	if err := os.RemoveAll(data); err != nil {
		return "", fmt.Errorf("empty mediad's folder: %w", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", fmt.Errorf("make mediad's folder: %w", err)
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	master, path := filepath.Join(data, "master.key"), filepath.Join(data, "mediad.yaml")
	text := fmt.Sprintf(`worker: m1
data: %s
ng: {tcp: "%s:%d"}
media: {addresses: [%s], ports: %s, threads: %d%s}
recording: {dir: %s, master_key_file: %s}
metrics: {listen: "%s:%d"}
drain: 1s
`, data, r.addr, controlPort, r.addr, mediaPorts, threads, mediaKeys, filepath.Join(data, "recordings"), master, r.addr, metricsPort)
	err = errors.Join(os.WriteFile(master, []byte(base64.StdEncoding.EncodeToString(key[:])+"\n"), 0o600),
		os.WriteFile(path, []byte(text), 0o600))
	if err != nil {
		return "", fmt.Errorf("write mediad's configuration: %w", err)
	}
	return path, nil
}

// rtpengineRelay is Debian's rtpengine without its kernel module. Between equal
// suites it hands the parties' keys across and copies packets unopened, unless it
// has a reason to look into them: to log the keys that are pressed, for one. It
// has that reason here, and a packet that is forged shows whether it looks.
func rtpengineRelay(tools *lab.Toolchain, dir string, threads int) *relay {
	r := &relay{name: "rtpengine", plain: true, addr: netip.MustParseAddr("127.21.0.2"), log: filepath.Join(dir, "rtpengine.log")}
	r.command = func() (*exec.Cmd, error) {
		low, high, _ := strings.Cut(mediaPorts, "-")
		args := []string{"--config-file=none", "--foreground", "--log-stderr", "--log-level=4", "--table=-1",
			fmt.Sprintf("--dtmf-log-dest=%s:9", r.addr), "--interface=" + r.addr.String(), fmt.Sprintf("--listen-tcp-ng=%s:%d", r.addr, controlPort),
			"--port-min=" + low, "--port-max=" + high}
		if threads > 0 {
			args = append(args, fmt.Sprintf("--num-threads=%d", threads))
		}
		// Not bound to a context: it is ended by stop.
		cmd := tools.Command(context.Background(), "rtpengine", args...)
		return cmd, cmd.Err
	}
	return r
}

// start begins the process and waits until it answers.
func (r *relay) start(ctx context.Context, gen netip.Addr) error {
	cmd, err := r.command()
	if err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	out, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", r.name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	r.cmd, r.over = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(r.over)
	}()
	if r.gen, err = newGenerator(gen); err != nil {
		return err
	}
	return r.awaitPing(ctx)
}

// startTimeout is how long a daemon may take until it answers.
const startTimeout = 15 * time.Second

func (r *relay) awaitPing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ng, err := mediaapi.Dial(ctx, fmt.Sprintf("%s:%d", r.addr, controlPort), nil)
		if err == nil {
			if _, err = ng.Do(ctx, mediaapi.Request{Command: mediaapi.Ping}); err == nil {
				r.ng = ng
				return nil
			}
			ng.Close()
		}
		select {
		case <-again.C:
		case <-r.over:
			return fmt.Errorf("%s ended; see %s", r.name, r.log)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w; see %s", r.name, err, r.log)
		}
	}
}

// stop ends the process. Its calls end with it.
func (r *relay) stop() {
	if r.ng != nil {
		r.ng.Close()
		r.ng = nil
	}
	if r.gen != nil {
		r.gen.close()
		r.gen = nil
	}
	if r.cmd != nil {
		_ = r.cmd.Process.Signal(syscall.SIGKILL)
		<-r.over
		r.cmd = nil
	}
	r.ids = nil
}

// call sets up one more call between a party of each suite, by rtpengine's offer
// and answer.
func (r *relay) call(ctx context.Context, near, far suite) error {
	a, b := r.gen.add(near, far)
	id := fmt.Sprintf("call-%d", len(r.ids)+1)
	r.ids = append(r.ids, id)
	offered, err := r.ng.Do(ctx, mediaapi.Request{Command: mediaapi.Offer, CallID: id, FromTag: "a", SDP: a.offer("1"), Transport: far.transport()})
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	toB, err := readSide(offered.SDP, far)
	if err != nil {
		return fmt.Errorf("%s, offer: %w", r.name, err)
	}
	answered, err := r.ng.Do(ctx, mediaapi.Request{Command: mediaapi.Answer, CallID: id, FromTag: "a", ToTag: "b", SDP: b.offer(toB.tag), Transport: near.transport()})
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	toA, err := readSide(answered.SDP, near)
	if err != nil {
		return fmt.Errorf("%s, answer: %w", r.name, err)
	}
	if err := errors.Join(a.connect(toA), b.connect(toB)); err != nil {
		return err
	}
	r.gen.connected(a)
	r.gen.connected(b)
	return nil
}

// record switches the recording of all calls.
func (r *relay) record(ctx context.Context, on bool) error {
	command := mediaapi.StopRecording
	if on {
		command = mediaapi.StartRecording
	}
	for _, id := range r.ids {
		if _, err := r.ng.Do(ctx, mediaapi.Request{Command: command, CallID: id}); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// cpu is the processor time of the process, from /proc/<pid>/stat
// (proc_pid_stat(5)), to 10 ms.
func (r *relay) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", r.name, err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	sum := time.Duration(0)
	for _, i := range []int{11, 12} { // utime and stime
		ticks, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w", r.name, err)
		}
		sum += time.Duration(ticks) * time.Second / 100
	}
	return sum, nil
}

// memory is what the process has to itself, in bytes: its proportional set size
// (proc_pid_smaps(5)).
func (r *relay) memory() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", r.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", r.name, err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read the memory of %s: no Pss", r.name)
}

// metrics are mediad's, by name with labels.
func (r *relay) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/metrics", r.addr, metricsPort), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", r.name, err)
	}
	defer res.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && name != "#" {
			all[name] = v
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", r.name, err)
	}
	return all, nil
}
