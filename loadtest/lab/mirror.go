package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// source is one archive of the machine's package sources.
type source struct {
	uri        string
	suites     []string
	components []string
}

// findMirror is the Debian archive this machine installs from: the project
// names no host, so that a closed network's own mirror is used where there is
// one. etc is /etc/apt.
func findMirror(etc string) (string, error) {
	sources, err := readSources(etc)
	if err != nil {
		return "", err
	}
	for _, s := range sources {
		if s.isDebianRelease() {
			return s.uri, nil
		}
	}
	return "", errors.New("this machine's package sources name no Debian archive to build the Debian 13 root from: run this on Debian 12 or 13, or install Kamailio 6, SIPp 3.7 and baresip")
}

// isDebianRelease tells the release itself from security updates, backports
// and third parties' archives.
func (s source) isDebianRelease() bool {
	if !strings.HasPrefix(s.uri, "http://") && !strings.HasPrefix(s.uri, "https://") {
		return false
	}
	main := false
	for _, c := range s.components {
		main = main || c == "main"
	}
	for _, name := range s.suites {
		switch name {
		case "bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable":
			return main
		}
	}
	return false
}

// readSources reads both formats of sources.list(5).
func readSources(etc string) ([]source, error) {
	var all []source
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		files, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			return nil, fmt.Errorf("list package sources: %w", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("read package sources: %w", err)
			}
			if strings.HasSuffix(file, ".sources") {
				all = append(all, parseDeb822(string(text))...)
			} else {
				all = append(all, parseOneLine(string(text))...)
			}
		}
	}
	return all, nil
}

// parseOneLine reads lines such as
//
//	deb [signed-by=/key.gpg] http://host/debian bookworm main contrib
func parseOneLine(text string) []source {
	var found []source
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		if open := strings.TrimSpace(line); strings.HasPrefix(open, "[") {
			_, line, _ = strings.Cut(open, "]")
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		for _, uri := range resolveMirror(f[0]) {
			found = append(found, source{uri, f[1:2], f[2:]})
		}
	}
	return found
}

// parseDeb822 reads stanzas of fields; a field goes on in indented lines.
func parseDeb822(text string) []source {
	var found []source
	for stanza := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		fields := map[string]string{}
		name := ""
		for line := range strings.SplitSeq(stanza, "\n") {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				fields[name] += " " + line
				continue
			}
			key, value, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			name = strings.ToLower(key)
			fields[name] = value
		}
		binary := false
		for _, t := range strings.Fields(fields["types"]) {
			binary = binary || t == "deb"
		}
		if !binary || strings.TrimSpace(fields["enabled"]) == "no" {
			continue
		}
		for _, uri := range strings.Fields(fields["uris"]) {
			for _, uri := range resolveMirror(uri) {
				found = append(found, source{uri, strings.Fields(fields["suites"]), strings.Fields(fields["components"])})
			}
		}
	}
	return found
}

// resolveMirror reads the list that a mirror+file: URI points to, as cloud
// images have it.
func resolveMirror(uri string) []string {
	path, ok := strings.CutPrefix(uri, "mirror+file:")
	if !ok {
		return []string{uri}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var uris []string
	for line := range strings.SplitSeq(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
			uris = append(uris, f[0])
		}
	}
	return uris
}

// aptProxy is the proxy apt is told to use, which debootstrap does not know of.
func aptProxy(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
