package demo

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"trunkline/loadtest/check"
	"trunkline/loadtest/softphone"
)

// judgeRecording exports a call's recording and listens to both channels.
func (s *show) judgeRecording(ctx context.Context, c *call, talk float64) (string, error) {
	dir, err := s.recordings()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%02d-%s.wav", c.n, c.id()))
	name := func(what string) string { return fmt.Sprintf("call %d: recording, %s", c.n, what) }
	if err := s.export(ctx, c.id(), path); err != nil {
		s.report.Add(name("exported"), err.Error(), "", "= yes", false)
		return "none", nil
	}
	audio, err := check.ReadWAV(path)
	if err != nil || len(audio.Channels) != 2 {
		s.report.Add(name("channels"), fmt.Sprint(len(audio.Channels), err), "", "= 2", false)
		return filepath.Base(path), nil
	}
	left, right := audio.Channels[0], audio.Channels[1]
	s.report.AtLeast(name("the caller's tone on the left"), check.HeardShare(left, audio.Rate, callerTone(c.n)), "of it", channelBound)
	s.report.AtLeast(name("the agent's tone on the right"), check.HeardShare(right, audio.Rate, s.toneOf(c.operator)), "of it", channelBound)
	s.report.Add(name("length"), audio.Seconds(), "s", fmt.Sprintf("= the talk of %.1f s, to 1 s", talk), audio.Seconds() > talk-1 && audio.Seconds() < talk+1)
	return filepath.Base(path), nil
}

// export runs mediad's own command, as a person would.
func (s *show) export(ctx context.Context, callID, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	args := []string{"export", "-master-key", s.lab.MasterKeyFile(), "-call", callID, "-out", path}
	for _, dir := range s.lab.RecordingDirs() {
		args = append(args, "-dir", dir)
	}
	bin := s.cfg.Lab.Bin
	if bin == "" {
		bin = "bin"
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "mediad"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mediad export: %w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// judgeSoftphone listens to what the softphone played to its user. The file
// is complete only when the phone has closed it, at the end of the call.
func (s *show) judgeSoftphone(ctx context.Context, c *call) {
	name := fmt.Sprintf("call %d: the softphone hears the caller", c.n)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := s.phone.Await(ctx, func(e softphone.Event) bool { return e.Type == "CALL_CLOSED" && strings.Contains(e.ID, c.id()) })
	if err != nil {
		s.report.Add(name, "the phone has not closed the call: "+err.Error(), "", ">= 0.8 of the talk", false)
		return
	}
	audio, err := check.ReadWAV(s.phone.Heard())
	if err != nil || len(audio.Channels) == 0 {
		s.report.Add(name, fmt.Sprint(err), "", ">= 0.8 of the talk", false)
		return
	}
	s.report.AtLeast(name, check.HeardShare(audio.Channels[0], audio.Rate, callerTone(c.n)), "of the talk", 0.8)
}
