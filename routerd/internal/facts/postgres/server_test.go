package postgres

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL of the test's own, on a loopback port.
type server struct {
	t    *testing.T
	dir  string
	port int
	who  *syscall.Credential // nil: who runs the test
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

const password = "test only"

// program finds a program of PostgreSQL's.
func program(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err == nil && len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("no %s on this machine: make setup installs PostgreSQL", name)
	}
	return path
}

// startServer makes a database cluster in a folder of its own and starts it.
// PostgreSQL does not run as root, so a test of root's runs it as another user.
func startServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "trunkline-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir}
	t.Cleanup(func() {
		s.kill()
		os.RemoveAll(dir)
	})
	if os.Geteuid() == 0 {
		s.who = stranger(t)
		if err := os.Chown(dir, int(s.who.Uid), int(s.who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.command("cp", "-r", template(t), s.data()).CombinedOutput(); err != nil {
		t.Fatalf("copy the database cluster: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	s.start()
	return s
}

var made struct {
	sync.Once
	dir string
}

// template is a database cluster that each server begins with a copy of: to
// make one takes some seconds.
func template(t *testing.T) string {
	t.Helper()
	made.Do(func() {
		dir, err := os.MkdirTemp("", "trunkline-postgres-")
		if err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, dir: dir}
		if os.Geteuid() == 0 {
			s.who = stranger(t)
			if err := os.Chown(dir, int(s.who.Uid), int(s.who.Gid)); err != nil {
				t.Fatal(err)
			}
		}
		secret := filepath.Join(dir, "password")
		if err := os.WriteFile(secret, []byte(password), 0o644); err != nil {
			t.Fatal(err)
		}
		initdb := s.command(program(t, "initdb"), "-D", s.data(), "-U", "facts", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale", "C")
		if out, err := initdb.CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			t.Fatalf("initdb: %v\n%s", err, out)
		}
		made.dir = dir
	})
	if made.dir == "" {
		t.Fatal("there is no database cluster to begin with")
	}
	return filepath.Join(made.dir, "data")
}

// stranger is a user without rights to run the server as.
func stranger(t *testing.T) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
	return nil
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.who, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts the server and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.log.Reset()
	s.cmd = s.command(program(s.t, "postgres"), "-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir,
		"-c", "fsync=off", "-c", "max_connections=20", "-c", "shared_buffers=16MB")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.done = done
	cmd := s.cmd
	go func() {
		cmd.Wait() // how it ended is in its log
		close(done)
	}()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	for {
		conn, err := pgx.ConnectConfig(ctx, s.config(s.port))
		if err == nil {
			conn.Close(ctx)
			return
		}
		select {
		case <-done:
			// The processes of the last life may hold its memory for a moment.
			if ctx.Err() == nil && bytes.Contains(s.log.Bytes(), []byte("is still in use")) {
				s.start()
				return
			}
			s.t.Fatalf("the server ended: %v\n%s", err, s.log.Bytes())
		case <-ctx.Done():
			s.t.Fatalf("the server does not answer: %v\n%s", err, s.log.Bytes())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill is kill -9 of the server; its other processes notice and end.
func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Kill() // it may be dead already
	<-s.done
}

func (s *server) config(port int) *pgx.ConnConfig {
	c, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=facts dbname=postgres sslmode=disable", port))
	if err != nil {
		s.t.Fatal(err)
	}
	c.Password = password
	return c
}

// sink is a sink that reaches the server through a port.
func (s *server) sink(port int) *Sink {
	sink := New(func() (*pgx.ConnConfig, error) { return s.config(port), nil })
	s.t.Cleanup(sink.Close)
	return sink
}

// wire is a way to the server on which things happen.
type wire struct {
	port int
	// sent and got see the bytes on their way to and from the server. They may
	// block, and return false to cut the connection.
	sent, got func(b []byte) bool

	mu    sync.Mutex
	conns []net.Conn
}

func (s *server) wire(sent, got func(b []byte) bool) *wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	w := &wire{port: ln.Addr().(*net.TCPAddr).Port, sent: sent, got: got}
	s.t.Cleanup(func() {
		ln.Close()
		w.cut()
	})
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, c, up)
			w.mu.Unlock()
			go pump(up, c, w.sent)
			go pump(c, up, w.got)
		}
	}()
	return w
}

func pump(to, from net.Conn, see func([]byte) bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if see != nil && !see(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
}
