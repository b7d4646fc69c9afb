package load

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestScenariosAreWellFormedAndFilledIn(t *testing.T) {
	entries, err := scenarios.ReadDir("scenario")
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d scenarios, %v", len(entries), err)
	}
	for _, e := range entries {
		text, err := scenario(strings.TrimSuffix(e.Name(), ".xml"), 6*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "HOLD_MS") || strings.Contains(text, "MEDIA_PORT") || !strings.Contains(text, `"6000"`) {
			t.Errorf("%s is not filled in", e.Name())
		}
		// The scenario's DOCTYPE and latin-1 declaration are SIPp's habit; its
		// elements must nest whatever the encoding is called.
		d := xml.NewDecoder(strings.NewReader(strings.Replace(text, "ISO-8859-1", "UTF-8", 1)))
		elements := map[string]int{}
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", e.Name(), err)
			}
			if s, ok := tok.(xml.StartElement); ok {
				elements[s.Name.Local]++
			}
		}
		if elements["scenario"] != 1 || elements["send"] < 3 || elements["recv"] < 5 {
			t.Errorf("%s has %v", e.Name(), elements)
		}
		// Without rrs and these the requests would miss the edges (a SIPp trap).
		for _, want := range []string{`rrs="true"`, "[routes]", "[next_url]", "RTP/SAVP", "a=crypto:1 "} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s", e.Name(), want)
			}
		}
	}
}

func TestReadStatTakesThePlacingTimeNotTheWhole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "stat.csv"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readStat(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if got.created != 40 || got.failed != 0 || got.repeats != 0 {
		t.Errorf("%+v, want 40 calls, none failed", got)
	}
	if got.placing < 1800*time.Millisecond || got.placing > 2300*time.Millisecond {
		t.Errorf("placing took %v, want about 2 s of the whole", got.placing)
	}
	if _, err := readStat("nonsense"); !errors.Is(err, errStat) {
		t.Errorf("nonsense gives %v", err)
	}
	if _, err := readStat("a;b\n1;2\n"); !errors.Is(err, errStat) {
		t.Errorf("foreign columns give %v", err)
	}
}

func TestTheRoutingIsValidAtThePeak(t *testing.T) {
	cfg := Defaults()
	r := &run{cfg: cfg}
	if err := r.routing().Validate(); err != nil {
		t.Error(err)
	}
	// Agents needed: calls a second times the seconds each holds an agent.
	holds := max(cfg.Ring+cfg.Talk, cfg.Hold) + 100*time.Millisecond
	if need := int(float64(cfg.Rate)/60*holds.Seconds()) + 1; cfg.Agents < need*3/4 {
		t.Errorf("%d agents, though up to %d may be needed", cfg.Agents, need)
	}
}
