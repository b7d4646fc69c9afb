package load

import (
	"context"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"trunkline/loadtest/lab"
)

//go:embed scenario/*.xml
var scenarios embed.FS

// agentHangsUpPrefix begins the caller numbers of the scenario in which the
// operator ends the call.
const agentHangsUpPrefix = "+7498"

// mediaPort is where the generators say their media is. Something must be
// bound there: to a closed port the kernel answers each packet with an error.
const mediaPort = 30000

// stream is one SIPp through one SBC.
type stream struct {
	sbc       string
	scenario  string
	transport string // SIPp's -t
	local     netip.Addr
	hold      time.Duration

	result result
	cpu    time.Duration
}

// result is what one or more SIPps counted.
type result struct {
	created, failed, repeats int
	placing                  time.Duration // from the first call to the last
	setup                    []time.Duration
}

func (a result) add(b result) result {
	return result{a.created + b.created, a.failed + b.failed, a.repeats + b.repeats, max(a.placing, b.placing), append(a.setup, b.setup...)}
}

// callers runs both SIPps to the end of their last calls.
func (r *run) callers(ctx context.Context) ([]*stream, time.Duration, error) {
	streams := []*stream{
		{sbc: lab.SBCA, scenario: "caller-hangs-up", transport: "u1", local: netip.MustParseAddr("127.10.7.1"), hold: r.cfg.Hold},
		{sbc: lab.SBCB, scenario: "agent-hangs-up", transport: "t1", local: netip.MustParseAddr("127.10.7.2"), hold: 30 * time.Second},
	}
	r.say("placing %d calls/min for %v, half through each SBC", r.cfg.Rate, r.cfg.For)
	began := time.Now()
	errs := make(chan error, len(streams))
	for _, s := range streams {
		if err := r.sink(s.local); err != nil {
			return nil, 0, err
		}
		cmd, err := r.sipp(ctx, s, r.cfg.Rate/len(streams))
		if err != nil {
			return nil, 0, err
		}
		go func() { errs <- r.follow(cmd, s) }()
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var failed []error
	for left := len(streams); left > 0; {
		select {
		case err := <-errs:
			failed = append(failed, err)
			left--
		case <-tick.C:
			open, _ := r.swarm.Load()
			r.say("%d calls answered by agents, %d talking", len(r.swarm.Calls()), open)
		}
	}
	return streams, time.Since(began), errors.Join(failed...)
}

// sipp writes the scenario and starts SIPp. -l is out of reach: at that limit
// SIPp counts calls it never made.
func (r *run) sipp(ctx context.Context, s *stream, perMinute int) (*exec.Cmd, error) {
	text, err := scenario(s.scenario, s.hold)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(r.dir, s.sbc+".xml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("write the scenario: %w", err)
	}
	calls := perMinute * int(r.cfg.For/time.Second) / 60
	path := func(suffix string) string { return filepath.Join(r.dir, s.sbc+suffix) }
	cmd := r.lab.Toolchain().Command(ctx, "sipp", r.addr(s.sbc, lab.PortSIP).String(),
		"-sf", file, "-i", s.local.String(), "-p", "5060", "-t", s.transport, "-s", lab.SalesNumber,
		"-r", strconv.Itoa(perMinute), "-rp", "60000", "-m", strconv.Itoa(calls), "-l", strconv.Itoa(10*calls),
		"-trace_stat", "-stf", path(".stat.csv"), "-fd", "1",
		"-trace_rtt", "-rtt_freq", "50", "-trace_err", "-error_file", path(".errors"),
		"-timeout", strconv.Itoa(int(r.cfg.For.Seconds())+60)+"s", "-nostdin")
	cmd.Dir = r.dir
	out, err := os.Create(path(".out"))
	if err != nil {
		return nil, fmt.Errorf("open SIPp's output: %w", err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start SIPp: %w", err)
	}
	return cmd, nil
}

// follow waits for a SIPp and reads what it wrote. Exit code 1 means failed
// calls, which are counted, not an error of the run.
func (r *run) follow(cmd *exec.Cmd, s *stream) error {
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return fmt.Errorf("SIPp through %s: %w, see %s.errors in %s", s.sbc, err, s.sbc, r.dir)
	}
	s.cpu = cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()
	stat, err := os.ReadFile(filepath.Join(r.dir, s.sbc+".stat.csv"))
	if err != nil {
		return fmt.Errorf("read SIPp's statistics: %w", err)
	}
	if s.result, err = readStat(string(stat)); err != nil {
		return fmt.Errorf("SIPp's statistics of %s: %w", s.sbc, err)
	}
	rtt, err := filepath.Glob(filepath.Join(r.dir, s.sbc+"_*_rtt.csv"))
	if err != nil || len(rtt) != 1 {
		return fmt.Errorf("SIPp through %s wrote %d files of response times, not one", s.sbc, len(rtt))
	}
	text, err := os.ReadFile(rtt[0])
	if err != nil {
		return fmt.Errorf("read SIPp's response times: %w", err)
	}
	s.result.setup = readTimesOf(string(text))
	return nil
}

func scenario(name string, hold time.Duration) (string, error) {
	text, err := scenarios.ReadFile("scenario/" + name + ".xml")
	if err != nil {
		return "", fmt.Errorf("no scenario %s: %w", name, err)
	}
	return strings.NewReplacer("HOLD_MS", strconv.FormatInt(hold.Milliseconds(), 10), "MEDIA_PORT", strconv.Itoa(mediaPort)).Replace(string(text)), nil
}

var errStat = errors.New("not SIPp statistics")

// readStat reads -trace_stat: a row a second, with cumulative counters. The
// time of placing ends when the last call was made, long before the last row.
func readStat(text string) (result, error) {
	in := csv.NewReader(strings.NewReader(text))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = ';', -1, true
	rows, err := in.ReadAll()
	if err != nil || len(rows) < 2 {
		return result{}, errors.Join(errStat, err)
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	for _, name := range []string{"TotalCallCreated", "FailedCall(C)", "Retransmissions(C)", "ElapsedTime(C)"} {
		if _, ok := col[name]; !ok {
			return result{}, fmt.Errorf("%w: no column %s", errStat, name)
		}
	}
	number := func(row []string, name string) int {
		i := col[name]
		if i >= len(row) {
			return 0
		}
		n, _ := strconv.Atoi(row[i])
		return n
	}
	last := rows[len(rows)-1]
	out := result{created: number(last, "TotalCallCreated"), failed: number(last, "FailedCall(C)"), repeats: number(last, "Retransmissions(C)")}
	made, at := 0, time.Duration(0)
	for _, row := range rows[1:] {
		n, t := number(row, "TotalCallCreated"), clock(row[col["ElapsedTime(C)"]])
		if n < out.created {
			made, at = n, t
			continue
		}
		// The last call was made between two rows: at the pace so far.
		out.placing = t
		if made > 0 {
			out.placing = min(t, at+time.Duration(float64(at)*float64(n-made)/float64(made)))
		}
		break
	}
	return out, nil
}

// clock reads HH:MM:SS or HH:MM:SS:micros.
func clock(s string) time.Duration {
	f := strings.Split(s, ":")
	if len(f) < 3 {
		return 0
	}
	h, _ := strconv.Atoi(f[0])
	m, _ := strconv.Atoi(f[1])
	sec, _ := strconv.ParseFloat(f[2], 64)
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec*float64(time.Second))
	if len(f) > 3 {
		us, _ := strconv.Atoi(f[3])
		d += time.Duration(us) * time.Microsecond
	}
	return d
}

// readTimesOf reads -trace_rtt: date; milliseconds; timer.
func readTimesOf(text string) []time.Duration {
	var out []time.Duration
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ";")
		if len(f) < 3 {
			continue
		}
		if ms, err := strconv.ParseFloat(f[1], 64); err == nil {
			out = append(out, time.Duration(ms*float64(time.Millisecond)))
		}
	}
	return out
}

// sink binds the media ports of an address with the smallest buffer and reads
// nothing: the kernel drops what comes.
func (r *run) sink(addr netip.Addr) error {
	for _, port := range []uint16{mediaPort, mediaPort + 1} {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
		if err != nil {
			return fmt.Errorf("bind the media sink: %w", err)
		}
		_ = conn.SetReadBuffer(1)
		r.sinks = append(r.sinks, conn)
	}
	return nil
}
