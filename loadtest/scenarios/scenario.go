package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Scenario is one folder, read.
type Scenario struct {
	Name     string
	Promise  string // first heading of the README
	Dir      string // absolute
	Commands []Command
	Settings
}

// Settings are scenario.yaml.
type Settings struct {
	// ID tells the scenario's names from the others': caller's port 10000+ID,
	// phone's port 20000+ID, number +7495200 and ID in four digits, queue qID,
	// agents aID (MD5) and bID (SHA-256); trunk tID, if routing has one.
	ID int `yaml:"id"`
	// Limit is how long it may take; 0: 30 s.
	Limit time.Duration `yaml:"limit"`
	// Facts must be in the history of the scenario's calls and agents, in this
	// order, others between them: "kind attr=value attr=value". Never are kinds
	// that must not be there.
	Facts []string `yaml:"facts"`
	Never []string `yaml:"never"`
	// Counts are how often a kind is there, where that is exact.
	Counts map[string]int `yaml:"counts"`
	// Routing is laid over the scenario's part of the routing tree.
	Routing overlay `yaml:"routing"`
}

// limit is how long the scenario may take.
func (s *Scenario) limit() time.Duration {
	if s.Limit > 0 {
		return s.Limit
	}
	return 30 * time.Second
}

// Load reads every scenario of a folder, by name. The error joins all faults.
func Load(dir string) ([]*Scenario, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the scenarios: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("find the scenarios: %w", err)
	}
	var all []*Scenario
	var faults []error
	ids := map[int]string{}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "testdata" {
			continue
		}
		s, err := read(filepath.Join(dir, e.Name()))
		if err != nil {
			faults = append(faults, fmt.Errorf("scenario %s: %w", e.Name(), err))
			continue
		}
		if other := ids[s.ID]; other != "" {
			faults = append(faults, fmt.Errorf("scenario %s: id %d is that of %s", s.Name, s.ID, other))
		}
		ids[s.ID] = s.Name
		all = append(all, s)
	}
	return all, errors.Join(faults...)
}

// read reads one folder.
func read(dir string) (*Scenario, error) {
	s := &Scenario{Name: filepath.Base(dir), Dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, "scenario.yaml"))
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalWithOptions(text, &s.Settings, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("scenario.yaml: %w", err)
	}
	if s.ID < 1 || s.ID > 999 {
		return nil, fmt.Errorf("scenario.yaml: id %d is not between 1 and 999", s.ID)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		return nil, err
	}
	heading, _, _ := strings.Cut(string(readme), "\n")
	s.Promise = strings.TrimPrefix(heading, "# ")
	if s.Promise == heading || s.Promise == "" {
		return nil, errors.New("README.md does not begin with the promise as its heading")
	}
	if s.Commands, err = commands(string(readme)); err != nil {
		return nil, fmt.Errorf("README.md: %w", err)
	}
	return s, s.check()
}

// check finds what a scenario can't do without.
func (s *Scenario) check() error {
	if !slices.ContainsFunc(s.Commands, func(c Command) bool { return !c.Background }) {
		return errors.New("README.md: no command to wait for")
	}
	used := map[string]bool{}
	for _, c := range s.Commands {
		if c.File == "" {
			return fmt.Errorf("README.md: %q runs no file of ours", c)
		}
		if _, err := c.steps(s.Dir); err != nil {
			return err
		}
		used[filepath.Base(c.File)] = true
	}
	files, err := filepath.Glob(filepath.Join(s.Dir, "*.xml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if !used[filepath.Base(f)] {
			return fmt.Errorf("%s is run by no command", filepath.Base(f))
		}
	}
	return nil
}
