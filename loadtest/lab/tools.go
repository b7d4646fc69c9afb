package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeTools writes run/kamcmd and run/sipp for people: outside the lab's
// namespace programs of the Debian 13 root run by that root's own loader.
func (l *Lab) writeTools() error {
	kamcmd, err := l.options.Toolchain.outside("sbin", "kamcmd")
	if err != nil {
		return err
	}
	sipp, err := l.options.Toolchain.outside("bin", "sipp")
	if err != nil {
		return err
	}
	for name, script := range map[string]string{
		"kamcmd": fmt.Sprintf("# Usage: kamcmd edge-1 dispatcher.list\nname=$1\nshift\nexec %s -s \"unix:%s/$name.ctl\" \"$@\"\n", kamcmd, l.path("run")),
		"sipp":   fmt.Sprintf("exec %s \"$@\"\n", sipp),
	} {
		if err := os.WriteFile(l.path("run", name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			return fmt.Errorf("write run/%s: %w", name, err)
		}
	}
	return nil
}

// outside is how a shell of the machine runs a program of usr/bin or usr/sbin.
func (t *Toolchain) outside(dir, name string) (string, error) {
	if t.root == "" {
		return name, nil
	}
	loaders, err := filepath.Glob(filepath.Join(t.root, "lib*", "ld-linux-*.so.*"))
	if err != nil || len(loaders) == 0 {
		return "", fmt.Errorf("the Debian 13 root in %s has no loader", t.root)
	}
	return fmt.Sprintf("'%s' --library-path $(echo '%s'/usr/lib/*-linux-gnu) '%s/usr/%s/%s'", loaders[0], t.root, t.root, dir, name), nil
}
