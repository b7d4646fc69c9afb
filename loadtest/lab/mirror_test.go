package lab

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMirrorComesFromTheMachine(t *testing.T) {
	f := func(name, file, text, want string) {
		t.Helper()
		etc := t.TempDir()
		path := filepath.Join(etc, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := findMirror(etc)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	list := filepath.Join(t.TempDir(), "mirrors.list")
	if err := os.WriteFile(list, []byte("# cloud\nhttps://cloud.example/debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	f("one line", "sources.list",
		"# deb http://old.example/debian bookworm main\ndeb http://m.example/debian bookworm main contrib # ours\n",
		"http://m.example/debian")
	f("options", "sources.list.d/x.list",
		"deb [arch=amd64 signed-by=/k.gpg] https://m.example/debian/ trixie main\n",
		"https://m.example/debian/")
	f("security and third parties first", "sources.list",
		"deb http://tools.example/apt stable tools\ndeb http://s.example/debian-security bookworm-security main\ndeb-src http://m.example/src bookworm main\ndeb http://m.example/debian bookworm main\n",
		"http://m.example/debian")
	f("deb822", "sources.list.d/debian.sources",
		"Types: deb\n# http://snapshot.example/1\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\nComponents: main\n\nTypes: deb\nURIs: http://s.example/sec\nSuites: bookworm-security\nComponents: main\n",
		"http://m.example/debian")
	f("disabled stanza", "sources.list.d/debian.sources",
		"Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n\nTypes: deb deb-src\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\n",
		"http://m.example/debian")
	f("a list of mirrors", "sources.list.d/debian.sources",
		"Types: deb\nURIs: mirror+file:"+list+"\nSuites: trixie trixie-updates\nComponents: main\n",
		"https://cloud.example/debian")
	f("another distribution", "sources.list",
		"deb http://archive.example/ubuntu noble main universe\n", "")
}
