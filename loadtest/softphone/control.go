package softphone

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// reply is the phone's answer to a command.
type reply struct {
	Event    bool   `json:"event"`
	Response bool   `json:"response"`
	OK       bool   `json:"ok"`
	Data     string `json:"data"`
	Token    string `json:"token"`
}

// Do runs one of baresip's commands and returns what it prints.
func (p *Phone) Do(ctx context.Context, command, params string) (string, error) {
	p.mu.Lock()
	p.token++
	token := strconv.Itoa(p.token)
	got := make(chan reply, 1)
	p.replies[token] = got
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.replies, token)
		p.mu.Unlock()
	}()
	msg, err := json.Marshal(map[string]string{"command": command, "params": params, "token": token})
	if err != nil {
		return "", err
	}
	if _, err := p.conn.Write(netstring(msg)); err != nil {
		return "", fmt.Errorf("baresip %s: %w", command, err)
	}
	select {
	case r := <-got:
		if !r.OK {
			return r.Data, fmt.Errorf("baresip %s failed: %s", command, strings.TrimSpace(r.Data))
		}
		return r.Data, nil
	case <-p.closed:
		return "", fmt.Errorf("baresip %s: %w", command, io.ErrUnexpectedEOF)
	case <-ctx.Done():
		return "", fmt.Errorf("baresip %s: %w", command, ctx.Err())
	}
}

// read follows the control port until it closes.
func (p *Phone) read() {
	defer close(p.closed)
	in := bufio.NewReader(p.conn)
	for {
		msg, err := readNetstring(in)
		if err != nil {
			return
		}
		p.message(msg)
	}
}

func (p *Phone) message(msg []byte) {
	var r reply
	if err := json.Unmarshal(msg, &r); err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Response {
		if got := p.replies[r.Token]; got != nil {
			got <- r
			delete(p.replies, r.Token)
		}
		return
	}
	var e Event
	if err := json.Unmarshal(msg, &e); err != nil || !r.Event {
		return
	}
	e.At = time.Now()
	p.events = append(p.events, e)
	close(p.changed)
	p.changed = make(chan struct{})
}

// netstring frames as "<length>:<bytes>,".
func netstring(msg []byte) []byte {
	return append(append([]byte(strconv.Itoa(len(msg))+":"), msg...), ',')
}

var errNetstring = errors.New("malformed netstring")

func readNetstring(in *bufio.Reader) ([]byte, error) {
	head, err := in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil || n < 0 || n > 1<<20 {
		return nil, errNetstring
	}
	msg := make([]byte, n+1)
	if _, err := io.ReadFull(in, msg); err != nil {
		return nil, err
	}
	if msg[n] != ',' {
		return nil, errNetstring
	}
	return msg[:n], nil
}
