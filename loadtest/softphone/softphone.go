// Package softphone drives baresip, a softphone that others wrote, as an
// operator's phone: it writes its configuration, starts it, follows its
// registration and calls over its control port, and ends it. What its user
// would hear goes to a WAV file, so that a test can listen too.
//
// baresip 1.1 (Debian 13) answers only MD5 challenges: one for another
// algorithm, even beside an MD5 one, makes it give up its registration.
package softphone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is one phone.
type Config struct {
	Dir       string // its own folder: configuration, and the recording of what it heard
	User      string
	Password  string
	Domain    string         // of the address of record
	Local     netip.Addr     // source of SIP and media
	Edge      netip.AddrPort // what it registers through
	Transport string         // udp or tcp
	Tone      int            // Hz it plays
	Expires   time.Duration
	// Deaf plays what it hears to nobody, and Heard stays empty. baresip 1.1 dies of
	// writing a file when a session changes, as on hold.
	Deaf   bool
	Codecs string // baresip's names, preferred first; pcma,opus/48000/2 if empty
	// Command runs baresip, from wherever it is installed.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
	Log     io.Writer // its own output
}

// Ports of the phone at its address.
const (
	portSIP     = 5060
	portControl = 4444
)

// Event is what the phone says happened: REGISTER_OK, REGISTER_FAIL,
// CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED and others.
type Event struct {
	Type  string    `json:"type"`
	Param string    `json:"param"`
	ID    string    `json:"id"` // Call-ID of a call's events
	At    time.Time `json:"-"`  // when it was read
}

// Phone is a running baresip.
type Phone struct {
	cfg     Config
	cmd     *exec.Cmd
	exited  chan struct{}
	exitErr error
	conn    net.Conn
	closed  chan struct{} // reader of the control port ended

	mu      sync.Mutex
	events  []Event
	changed chan struct{}
	replies map[string]chan reply
	token   int
}

// Start writes the configuration, runs baresip and connects to its control port.
func Start(ctx context.Context, cfg Config) (*Phone, error) {
	if err := writeConfig(cfg); err != nil {
		return nil, err
	}
	p := &Phone{cfg: cfg, exited: make(chan struct{}), closed: make(chan struct{}),
		changed: make(chan struct{}), replies: map[string]chan reply{}}
	p.cmd = cfg.Command(context.WithoutCancel(ctx), "baresip", "-f", cfg.Dir, "-v")
	p.cmd.Stdout, p.cmd.Stderr = cfg.Log, cfg.Log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start baresip: %w", err)
	}
	go func() { p.exitErr = p.cmd.Wait(); close(p.exited) }()
	if err := p.connect(ctx); err != nil {
		p.kill()
		return nil, err
	}
	go p.read()
	return p, nil
}

// connect tries until the control port listens, the phone is gone or ctx ends.
func (p *Phone) connect(ctx context.Context) error {
	addr := netip.AddrPortFrom(p.cfg.Local, portControl).String()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			p.conn = conn
			return nil
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("baresip ended before it listened: %w", p.exitErr)
		case <-ctx.Done():
			return fmt.Errorf("connect to baresip at %s: %w", addr, err)
		}
	}
}

// Await returns the first event, among those so far and to come, that match accepts.
func (p *Phone) Await(ctx context.Context, match func(Event) bool) (Event, error) {
	for seen := 0; ; {
		p.mu.Lock()
		events, changed := p.events[seen:], p.changed
		seen = len(p.events)
		p.mu.Unlock()
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		select {
		case <-changed:
		case <-p.exited:
			return Event{}, fmt.Errorf("baresip ended: %w", p.exitErr)
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// ErrRegister says that the registration was refused.
var ErrRegister = errors.New("baresip could not register")

// AwaitRegistered returns when the phone is registered. The phone registers
// as it starts and may be done before its control port is read, so its own
// list is asked too.
func (p *Phone) AwaitRegistered(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := p.Do(ctx, "reginfo", "")
		if err != nil {
			return fmt.Errorf("await baresip's registration: %w", err)
		}
		if registered(list, p.cfg.User+"@"+p.cfg.Domain) {
			return nil
		}
		p.mu.Lock()
		i := slices.IndexFunc(p.events, func(e Event) bool { return e.Type == "REGISTER_FAIL" })
		var failed Event
		if i >= 0 {
			failed = p.events[i]
		}
		p.mu.Unlock()
		if i >= 0 {
			return fmt.Errorf("%w: %s", ErrRegister, failed.Param)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("await baresip's registration: %w; it says %q", ctx.Err(), list)
		}
	}
}

// registered finds the account's line in reginfo, which says OK, ERR or zzz.
func registered(list, account string) bool {
	for line := range strings.Lines(list) {
		if strings.Contains(line, account) && strings.Contains(line, "OK") {
			return true
		}
	}
	return false
}

// Heard is the WAV file of what the phone played to its user in its last call.
func (p *Phone) Heard() string { return heardFile(p.cfg) }

// Stop asks the phone to quit, which removes its registration, and kills it
// when it does not.
func (p *Phone) Stop(ctx context.Context) error {
	_, err := p.Do(ctx, "quit", "")
	select {
	case <-p.exited:
		p.conn.Close()
		<-p.closed
		return nil
	case <-ctx.Done():
		p.kill()
		p.conn.Close()
		<-p.closed
		if err == nil {
			err = ctx.Err()
		}
		return fmt.Errorf("stop baresip: %w", err)
	}
}

func (p *Phone) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func heardFile(cfg Config) string { return filepath.Join(cfg.Dir, "heard.wav") }

func writeConfig(cfg Config) error {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("make baresip's folder: %w", err)
	}
	for name, text := range map[string]string{"config": configFile(cfg), "accounts": accountLine(cfg), "contacts": ""} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write baresip's %s: %w", name, err)
		}
	}
	return nil
}

// configFile has no audio hardware, no devices, no user interface.
func configFile(cfg Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("poll_method epoll")
	line("sip_listen %s:%d", cfg.Local, portSIP)
	line("net_interface %s", cfg.Local)
	line("call_max_calls 2")
	line("call_local_timeout 120")
	line("audio_source ausine,%d", cfg.Tone)
	if cfg.Deaf {
		line("audio_player aubridge,nobody")
	} else {
		line("audio_player aufile,%s", heardFile(cfg))
	}
	line("audio_alert aufile,/dev/null")
	line("audio_channels 1-2")
	line("audio_level no")
	line("ausrc_srate 48000")
	line("auplay_srate 48000")
	line("rtp_ports 20000-29999")
	line("rtcp_mux yes")
	line("jitter_buffer_delay 5-10")
	line("module_path /usr/lib/baresip/modules")
	for _, m := range []string{"g711", "opus", "ausine", "aufile", "aubridge", "srtp", "uuid"} {
		line("module %s.so", m)
	}
	for _, m := range []string{"account", "menu", "ctrl_tcp"} {
		line("module_app %s.so", m)
	}
	line("ctrl_tcp_listen %s:%d", cfg.Local, portControl)
	line("opus_bitrate 28000")
	return b.String()
}

// accountLine demands SRTP (mediaenc=srtp-mand) and answers by itself.
func accountLine(cfg Config) string {
	expires := cfg.Expires
	if expires == 0 {
		expires = time.Minute
	}
	codecs := cmp.Or(cfg.Codecs, "pcma,opus/48000/2")
	return fmt.Sprintf(`<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;outbound="sip:%s;transport=%s";regint=%d;answermode=auto;mediaenc=srtp-mand;audio_codecs=%s;ptime=20`+"\n",
		cfg.User, cfg.Domain, cfg.Transport, cfg.User, cfg.Password, cfg.Edge, cfg.Transport, int(expires.Seconds()), codecs)
}
