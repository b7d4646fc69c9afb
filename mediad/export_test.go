package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/record"
)

// recorded is a folder with call "abc", two seconds of silence on both legs
// and one packet lost, and a master key file.
func recorded(t *testing.T) (dir, keyFile string) {
	t.Helper()
	dir = t.TempDir()
	master := bytes.Repeat([]byte{9}, 32)
	keyFile = filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(keyFile, []byte(base64.StdEncoding.EncodeToString(master)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := record.Open(dir, master, record.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start("abc", "sales"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for i := range 100 {
		for leg, ssrc := range map[string]uint32{"1": 11, "2": 22} {
			if leg == "2" && i == 50 {
				continue
			}
			l.Append(&record.Packet{
				Call: "abc", Leg: leg, Side: record.SideOf(leg), Codec: "PCMA", PayloadType: 8,
				Arrival: start.Add(time.Duration(i) * 20 * time.Millisecond),
				Seq:     uint16(i), Timestamp: uint32(i * 160), SSRC: ssrc, Payload: bytes.Repeat([]byte{0xD5}, 160),
			})
		}
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir, keyFile
}

func TestExportWritesWAVAndReport(t *testing.T) {
	dir, key := recorded(t)
	out := filepath.Join(t.TempDir(), "abc.wav")
	var stdout bytes.Buffer
	if err := runExport(context.Background(), []string{"-dir", dir, "-dir", t.TempDir(), "-master-key", key, "-call", "abc", "-out", out}, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := "2s at 8000 Hz, PCMA"; !strings.Contains(stdout.String(), want) {
		t.Errorf("printed %q, want %q in it", stdout.String(), want)
	}
	if want := "gap   leg 2 at 1s: 20ms, 1 packets, lost"; !strings.Contains(stdout.String(), want) {
		t.Errorf("printed %q, want %q in it", stdout.String(), want)
	}
	wav, err := os.ReadFile(out)
	if err != nil || len(wav) != 44+2*8000*4 {
		t.Errorf("file of %d bytes, %v", len(wav), err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(wav))
	if got, err := os.ReadFile(out + ".sha256"); err != nil || string(got) != sum+"  abc.wav\n" {
		t.Errorf("sum %q, %v", got, err)
	}
	if got, err := os.ReadFile(strings.TrimSuffix(out, ".wav") + ".json"); err != nil || !strings.Contains(string(got), `"sha256": "`+sum+`"`) {
		t.Errorf("report %s, %v", got, err)
	}
}

// The outline is beside the file; Ogg files are of Opus only, and it is said.
func TestExportOutlinesTheSound(t *testing.T) {
	dir, key := recorded(t)
	out := filepath.Join(t.TempDir(), "abc.wav")
	var stderr bytes.Buffer
	if err := runExport(context.Background(), []string{"-peaks", "-ogg", "-since", "2026-01-01", "-dir", dir, "-master-key", key, "-call", "abc", "-out", out}, io.Discard, &stderr); err != nil {
		t.Fatal(err)
	}
	peaks, err := os.ReadFile(strings.TrimSuffix(out, ".wav") + ".peaks.json")
	if err != nil || !strings.HasPrefix(string(peaks), `{"version":2,"channels":2,"sample_rate":8000,"samples_per_pixel":800,"bits":8,"length":20,`) {
		t.Errorf("%.100s, %v", peaks, err)
	}
	if !strings.Contains(stderr.String(), "no leg sent Opus") {
		t.Errorf("%q", stderr.String())
	}
	err = runExport(context.Background(), []string{"-until", "2026-01-01", "-dir", dir, "-master-key", key, "-call", "abc", "-out", out}, io.Discard, io.Discard)
	if !errors.Is(err, record.ErrNoRecording) {
		t.Errorf("before its time: %v", err)
	}
}

func TestExportPrintsAndKeepsJSON(t *testing.T) {
	dir, key := recorded(t)
	out := filepath.Join(t.TempDir(), "abc.wav")
	var stdout bytes.Buffer
	if err := runExport(context.Background(), []string{"-json", "-dir", dir, "-master-key", key, "-call", "abc", "-out", out}, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(strings.TrimSuffix(out, ".wav") + ".json")
	if err != nil || !bytes.Equal(kept, stdout.Bytes()) {
		t.Errorf("kept %q, %v; printed %q", kept, err, stdout.Bytes())
	}
	var report struct {
		PacketsLeft int     `json:"packets_left"`
		LostRight   int     `json:"lost_right"`
		Duration    float64 `json:"duration_seconds"`
	}
	if err := json.Unmarshal(kept, &report); err != nil || report.PacketsLeft != 100 || report.LostRight != 1 || report.Duration != 2 {
		t.Errorf("report %+v, %v", report, err)
	}
}

// A failed export leaves nothing behind and says why.
func TestFailedExportLeavesNoFile(t *testing.T) {
	dir, key := recorded(t)
	folder := t.TempDir()
	out := filepath.Join(folder, "abc.wav")
	f := func(want error, text string, args ...string) {
		t.Helper()
		err := runExport(context.Background(), args, io.Discard, io.Discard)
		if err == nil || (want != nil && !errors.Is(err, want)) || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want %v with %q", err, want, text)
		}
		if entries, _ := os.ReadDir(folder); len(entries) > 0 {
			t.Errorf("%s was left behind", entries[0].Name())
		}
	}
	f(record.ErrNoRecording, "no recording", "-dir", dir, "-master-key", key, "-call", "other", "-out", out)
	f(nil, "-call is missing", "-dir", dir, "-master-key", key, "-out", out)
	f(nil, "unexpected argument", "-dir", dir, "-master-key", key, "-call", "abc", "-out", out, "more")
	f(os.ErrNotExist, "master key", "-dir", dir, "-master-key", key+".absent", "-call", "abc", "-out", out)
	if err := os.WriteFile(key, []byte("c2hvcnQ="), 0o600); err != nil {
		t.Fatal(err)
	}
	f(nil, "5 bytes, want 32", "-dir", dir, "-master-key", key, "-call", "abc", "-out", out)
	other := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	if err := os.WriteFile(key, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	f(record.ErrMasterKey, "wrong master key", "-dir", dir, "-master-key", key, "-call", "abc", "-out", out)
}
