package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"trunkline/loadtest/lab"
)

// scrape is the metrics of all routers at one moment, by name with labels: sums,
// and the greatest of what the cluster shares.
type scrape struct {
	sum, most map[string]float64
	have      map[string]int           // how many routers have it
	cpu       map[string]time.Duration // of each router
	at        time.Time
	machine   time.Duration // processor time of everything
	callers   time.Duration // of this program and the phones
}

func (p *proof) scrape(ctx context.Context) (scrape, error) {
	s := scrape{sum: map[string]float64{}, most: map[string]float64{}, have: map[string]int{}, cpu: p.lab.CPU(), at: time.Now(), machine: machineCPU(), callers: p.callersCPU()}
	for _, r := range p.lab.Names() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/metrics", p.lab.Addr(r), lab.PortMetrics), nil)
		if err != nil {
			return s, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return s, fmt.Errorf("read the metrics of %s: %w", r, err)
		}
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, ok := cutLast(lines.Text())
			if v, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(name, "#") {
				s.have[name]++
				s.sum[name] += v
				s.most[name] = max(s.most[name], v)
			}
		}
		res.Body.Close()
		if err := lines.Err(); err != nil {
			return s, fmt.Errorf("read the metrics of %s: %w", r, err)
		}
	}
	return s, nil
}

func cutLast(line string) (name, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// quantile of a histogram between two scrapes, in seconds: the upper end of the
// bucket it falls into, which is at most 14 % more than the truth.
func quantile(name string, q float64, from, to scrape) (seconds float64, count int) {
	type bucket struct{ upper, n float64 }
	var all []bucket
	total := 0.0
	for key, v := range to.sum {
		label, ok := strings.CutPrefix(key, name+`_bucket{vmrange="`)
		if !ok {
			continue
		}
		_, upper, _ := strings.Cut(strings.TrimSuffix(label, `"}`), "...")
		u, err := strconv.ParseFloat(upper, 64)
		if err != nil {
			u = 1e9 // +Inf
		}
		n := v - from.sum[key]
		all = append(all, bucket{u, n})
		total += n
	}
	slices.SortFunc(all, func(a, b bucket) int { return int(max(-1, min(1, (a.upper-b.upper)*1e9))) })
	seen := 0.0
	for _, b := range all {
		if seen += b.n; seen >= q*total && b.n > 0 {
			return b.upper, int(total)
		}
	}
	return 0, int(total)
}

// routersCPU is what the routers used between two scrapes.
func routersCPU(from, to scrape) (sum time.Duration) {
	for name, used := range to.cpu {
		sum += used - from.cpu[name]
	}
	return sum
}

// machineCPU is what all processors did since the start, from the first line of
// /proc/stat (proc_stat(5)).
func machineCPU() (busy time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(line) {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil || i == 4 || i == 5 || i > 8 { // idle, waiting for disks; guests are in user time
			continue
		}
		busy += time.Duration(ticks) * time.Second / 100
	}
	return busy
}

// callersCPU is what this program, the SIPps that ended and the phones used.
func (p *proof) callersCPU() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	if p.phones == nil {
		return sum
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.phones.cmd.Process.Pid))
	if err != nil {
		return sum
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	for _, i := range []int{11, 12} { // utime and stime
		if ticks, err := strconv.ParseInt(f[i], 10, 64); err == nil {
			sum += time.Duration(ticks) * time.Second / 100
		}
	}
	return sum
}
