package scenarios

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Command is one line of a README that runs sipp in the scenario's folder.
type Command struct {
	Args       []string // without sipp itself
	File       string   // of -sf
	Addr       string   // host:port of -i and -p
	Network    string   // tcp or udp, of -t
	Background bool     // the line ends in &
}

func (c Command) String() string { return "sipp " + strings.Join(c.Args, " ") }

// commands are the lines that begin with sipp, in fenced blocks, in order. A
// shell is not needed: there are words, and & for the background.
func commands(readme string) ([]Command, error) {
	var out []Command
	fenced := false
	for line := range strings.Lines(readme) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		words := strings.Fields(line)
		if !fenced || len(words) == 0 || words[0] != "sipp" {
			continue
		}
		if strings.ContainsAny(line, "\"'$`|;\\<>") {
			return nil, fmt.Errorf("%q needs a shell", strings.TrimSpace(line))
		}
		c := Command{Args: words[1:], Network: "udp"}
		if last := len(c.Args) - 1; last >= 0 && c.Args[last] == "&" {
			c.Args, c.Background = c.Args[:last], true
		}
		host, port := "", ""
		for i := 0; i+1 < len(c.Args); i++ {
			switch value := c.Args[i+1]; c.Args[i] {
			case "-sf":
				c.File = value
			case "-i":
				host = value
			case "-p":
				port = value
			case "-t":
				if strings.HasPrefix(value, "t") {
					c.Network = "tcp"
				}
			}
		}
		if host == "" || port == "" {
			return nil, fmt.Errorf("%q does not say where it is: -i and -p", c)
		}
		c.Addr = host + ":" + port
		out = append(out, c)
	}
	if fenced {
		return nil, errors.New("a block of commands is not closed")
	}
	return out, nil
}

// step is one message or pause of a scenario file, as SIPp counts them.
type step struct {
	what    string   // "recv 200", "send", "pause"
	comment string   // the sentence before it
	checks  []string // regular expressions its message must match
}

func (s step) String() string {
	if s.comment != "" {
		return s.comment + " (" + s.what + ")"
	}
	return s.what
}

// counted are the elements that have a number in SIPp's messages.
var counted = map[string]bool{"send": true, "recv": true, "pause": true, "nop": true, "sendCmd": true, "recvCmd": true, "timewait": true}

// steps reads the command's scenario file, found from dir.
func (c Command) steps(dir string) ([]step, error) {
	f, err := os.Open(filepath.Join(dir, c.File))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := xml.NewDecoder(f)
	var out []step
	comment := ""
	for depth := 0; ; {
		t, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.File, err)
		}
		switch t := t.(type) {
		case xml.Comment:
			comment = strings.Join(strings.Fields(string(t)), " ")
		case xml.StartElement:
			depth++
			if t.Name.Local == "ereg" && len(out) > 0 {
				last := &out[len(out)-1]
				last.checks = append(last.checks, attribute(t, "regexp"))
			}
			if depth != 2 || !counted[t.Name.Local] {
				continue
			}
			s := step{what: t.Name.Local, comment: comment}
			if what := attribute(t, "request") + attribute(t, "response"); what != "" {
				s.what += " " + what
			}
			out, comment = append(out, s), ""
		case xml.EndElement:
			depth--
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no steps", c.File)
	}
	return out, nil
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
