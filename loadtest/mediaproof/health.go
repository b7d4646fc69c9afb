package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"trunkline/loadtest/check"
)

const (
	// mostOthers is how much of the processors other work may take: figures of a
	// machine that does something else are none.
	mostOthers = 0.25
	// mostLate is how late the generator may send, p99: one that is starved
	// measures its own waiting.
	mostLate = 5 * time.Millisecond
)

// health is what the machine had done at some moment.
type health struct {
	at      time.Time
	machine time.Duration // everything
	ours    time.Duration // this program and the daemons
	drops   int           // of the generator's sockets
}

func (p *proof) watch() health {
	h := health{at: time.Now(), machine: machineCPU(), ours: ownCPU(), drops: socketDrops(generatorAddr.As4())}
	for _, r := range []*relay{p.ours, p.theirs} {
		if r.cmd == nil {
			continue
		}
		if cpu, err := r.cpu(); err == nil {
			h.ours += cpu
		}
	}
	return h
}

// healthy judges the machine since h. Where it was not left alone the run is
// INVALID: its figures say nothing about the daemons, good or bad.
func (p *proof) healthy(h health, when string, tallies ...*tally) {
	now := p.watch()
	wall := now.at.Sub(h.at).Seconds()
	others := (now.machine - h.machine - (now.ours - h.ours)).Seconds() / wall
	var all tally
	for _, t := range tallies {
		all.add(t)
	}
	late := quantile(&all.lateTicks, 0.99)
	drops := now.drops - h.drops
	p.report.Add(when+": processors used by other work", round(others), fmt.Sprintf("of %d", runtime.NumCPU()),
		fmt.Sprintf("<= %g, or the run is INVALID", mostOthers), others <= mostOthers)
	p.report.Add(when+": the generator sent late, p99", check.Millis(late), "ms",
		fmt.Sprintf("<= %g, or the run is INVALID", check.Millis(mostLate)), late <= mostLate)
	p.report.Add(when+": packets that came and the generator had no room for", drops, "packets", "= 0, or the run is INVALID", drops == 0)
	p.invalid = p.invalid || others > mostOthers || late > mostLate || drops > 0
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

func ownCPU() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// socketDrops is how many datagrams the kernel threw away at sockets of an
// address, from /proc/net/udp.
func socketDrops(addr [4]byte) (drops int) {
	file, err := os.Open("/proc/net/udp")
	if err != nil {
		return 0
	}
	defer file.Close()
	local := fmt.Sprintf("%02X%02X%02X%02X:", addr[3], addr[2], addr[1], addr[0]) // a little-endian machine's
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 13 || !strings.HasPrefix(f[1], local) {
			continue
		}
		if n, err := strconv.Atoi(f[12]); err == nil {
			drops += n
		}
	}
	return drops
}
