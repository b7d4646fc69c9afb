package main

import (
	"context"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trunkline/loadtest/lab"
)

//go:embed scenario/*.xml
var scenarios embed.FS

// sipp is one running SIPp.
type sipp struct {
	name string
	dir  string
	cmd  *exec.Cmd
	done chan error
}

func (p *proof) start(ctx context.Context, name, scenario string, args ...string) (*sipp, error) {
	file := filepath.Join(p.dir, name+".xml")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		return nil, fmt.Errorf("write the scenario: %w", err)
	}
	s := &sipp{name: name, dir: p.dir, done: make(chan error, 1)}
	args = append(args, "-sf", file, "-t", "t1", "-trace_stat", "-stf", s.file(".stat.csv"), "-fd", "1",
		"-trace_err", "-error_file", s.file(".errors"), "-nostdin")
	s.cmd = p.lab.Toolchain().Command(ctx, "sipp", args...)
	s.cmd.Dir = p.dir
	out, err := os.Create(s.file(".out"))
	if err != nil {
		return nil, fmt.Errorf("open SIPp's output: %w", err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start SIPp: %w", err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

func (s *sipp) file(suffix string) string { return filepath.Join(s.dir, s.name+suffix) }

// wait returns when all calls were made. Exit code 1 means that some failed,
// which is counted and no error.
func (s *sipp) wait() error {
	err := <-s.done
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return fmt.Errorf("SIPp %s: %w, see %s", s.name, err, s.file(".errors"))
	}
	return nil
}

// stop ends a SIPp that would go on for ever.
func (s *sipp) stop() {
	s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.done
}

// answering starts the phones.
func (p *proof) answering(ctx context.Context) (*sipp, error) {
	text, err := scenarios.ReadFile("scenario/phone.xml")
	if err != nil {
		return nil, fmt.Errorf("no scenario: %w", err)
	}
	return p.start(ctx, "phones", string(text), "-i", phonesAddr, "-p", strconv.Itoa(phonesPort))
}

// load is calls to one number: so many a second by all callers together.
type load struct {
	name, number string
	rate, calls  int
	talk         time.Duration
	refreshes    int // of the session timer, each after refreshAfter
}

// refreshAfter is when a held caller refreshes a session of 300 s.
const refreshAfter = 100 * time.Second

// life is how long one call lasts.
func (l load) life() time.Duration { return time.Duration(l.refreshes)*refreshAfter + l.talk }

func (l load) scenario() (string, error) {
	text, err := scenarios.ReadFile("scenario/caller.xml")
	if err != nil {
		return "", fmt.Errorf("no scenario: %w", err)
	}
	refresh, err := scenarios.ReadFile("scenario/refresh.xml")
	if err != nil {
		return "", fmt.Errorf("no scenario: %w", err)
	}
	timer, all := "", ""
	for i := range l.refreshes {
		timer = "      Supported: timer\n      Session-Expires: 300;refresher=uac\n"
		all += strings.NewReplacer("REFRESH_MS", strconv.FormatInt(refreshAfter.Milliseconds(), 10), "THIS_CSEQ", strconv.Itoa(i+2)).Replace(string(refresh))
	}
	return strings.NewReplacer("TIMER", timer, "REFRESHES", all, "TALK_MS", strconv.FormatInt(l.talk.Milliseconds(), 10),
		"LAST_CSEQ", strconv.Itoa(l.refreshes+2)).Replace(string(text)), nil
}

// callers start one SIPp for each router.
func (p *proof) callers(ctx context.Context, l load) ([]*sipp, error) {
	text, err := l.scenario()
	if err != nil {
		return nil, err
	}
	var all []*sipp
	routers := p.lab.Names()
	for i, r := range routers {
		calls := (l.calls + i) / len(routers)
		s, err := p.start(ctx, l.name+"-"+r, text, fmt.Sprintf("%s:%d", p.lab.Addr(r), lab.PortSIP), "-i", callersAddr(i),
			"-s", l.number, "-r", strconv.Itoa(l.rate*1000/len(routers)), "-rp", "1000000", "-m", strconv.Itoa(calls),
			"-l", strconv.Itoa(10*calls+10), "-timeout", strconv.Itoa(int((l.life()+time.Duration(calls/max(1, l.rate/len(routers)))*time.Second).Seconds())+90)+"s")
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// result is what SIPps counted.
type result struct {
	created, failed, repeats, open int
	placing                        time.Duration // from the first call to the last
}

func resultOf(all []*sipp) (sum result, err error) {
	for _, s := range all {
		text, err := os.ReadFile(s.file(".stat.csv"))
		if err != nil {
			return sum, fmt.Errorf("read SIPp's statistics: %w", err)
		}
		r, err := readStat(string(text))
		if err != nil {
			return sum, fmt.Errorf("SIPp's statistics of %s: %w", s.name, err)
		}
		sum.created += r.created
		sum.failed += r.failed
		sum.repeats += r.repeats
		sum.open += r.open
		sum.placing = max(sum.placing, r.placing)
	}
	return sum, nil
}

var errStat = errors.New("not SIPp statistics")

// readStat reads -trace_stat: a row a second with cumulative counters. The time
// of placing ends with the row in which the last call was made.
func readStat(text string) (r result, err error) {
	in := csv.NewReader(strings.NewReader(text))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = ';', -1, true
	rows, err := in.ReadAll()
	if err != nil || len(rows) < 2 {
		return r, errors.Join(errStat, err)
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	number := func(row []string, name string) int {
		i, ok := col[name]
		if !ok {
			err = fmt.Errorf("%w: no column %s", errStat, name)
			return 0
		}
		n, _ := strconv.Atoi(row[min(i, len(row)-1)])
		return n
	}
	last := rows[len(rows)-1]
	r = result{created: number(last, "TotalCallCreated"), failed: number(last, "FailedCall(C)"), repeats: number(last, "Retransmissions(C)"), open: number(last, "CurrentCall")}
	for i, row := range rows[1:] {
		if number(row, "TotalCallCreated") == r.created {
			r.placing = time.Duration(i) * time.Second // the row before was not the last one yet
			break
		}
	}
	return r, err
}
