package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"trunkline/routerd/acd"
)

// Options say what to start. The zero value of each field is the default.
type Options struct {
	Dir       string            // working folder; out/lab under Sources. Start empties what an earlier lab has left there.
	Sources   string            // the repository; found upwards from the current folder
	Bin       string            // folder of routerd, mediad and routerctl; bin under Sources
	Toolchain *Toolchain        // from FindToolchain or SetUp; found if nil
	Routers   int               // 3
	Workers   int               // 2
	Channels  int               // per SBC link, 60 (T8)
	Max       int               // all links together; the sum of the links
	WrapUp    time.Duration     // of the agents after a call, 1 s
	Agents    []Agent           // accounts
	Prompts   string            // folder of WAV files named <prompt>.wav; mediad/prompts under Sources
	Routing   *acd.Config       // replaces the routing made of the fields above
	Tune      func(*acd.Config) // changes that routing
	Env       []string          // added to the environment of routerd and mediad
	Edges     []string          // IP addresses that routers take for edges beside the two: a test that plays one
	Progress  io.Writer         // a line per step; discarded if nil

	// Alone leaves edges, SBCs and workers out: the caller plays those.
	Alone *Alone

	// edgesOnly leaves routers and workers out: a test of the edges plays the
	// routers itself, at the routers' addresses.
	edgesOnly bool
}

// Alone is what routers alone are surrounded by.
type Alone struct {
	Edges []string // addresses that are heard as edges
	// Ready runs when keys and certificates are there and before the first router
	// starts: routers are not ready without a worker. Its certificate and its
	// place in gossip are m1's.
	Ready func(*Lab) error
}

// sourcesAbove is the repository around the current folder.
func sourcesAbove() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "kamailio", "kamailio.cfg")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no kamailio/kamailio.cfg here or above: run this inside the repository")
}

func (o *Options) setDefaults() error {
	if o.Sources == "" {
		dir, err := sourcesAbove()
		if err != nil {
			return err
		}
		o.Sources = dir
	}
	fill := func(field *string, rest ...string) {
		if *field == "" {
			*field = filepath.Join(append([]string{o.Sources}, rest...)...)
		}
	}
	fill(&o.Dir, "out", "lab")
	fill(&o.Bin, "bin")
	fill(&o.Prompts, "mediad", "prompts")
	for _, dir := range []*string{&o.Dir, &o.Bin, &o.Prompts, &o.Sources} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("make %s absolute: %w", *dir, err)
		}
		*dir = abs
	}
	if !o.edgesOnly {
		programs := []string{"routerd", "mediad"}
		if o.Alone != nil {
			programs = programs[:1]
		}
		for _, name := range programs {
			if _, err := os.Stat(filepath.Join(o.Bin, name)); err != nil {
				return fmt.Errorf("no %s in %s: run `make build`", name, o.Bin)
			}
		}
	}
	// A control socket's address holds 107 bytes (unix(7)).
	if len(o.Dir) > 80 {
		return fmt.Errorf("the lab's folder %s has too long a path for control sockets: choose one of at most 80 characters", o.Dir)
	}
	number := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	number(&o.Routers, 3)
	number(&o.Workers, 2)
	number(&o.Channels, 60)
	number(&o.Max, 2*o.Channels)
	if o.WrapUp == 0 {
		o.WrapUp = time.Second
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Toolchain == nil {
		t, err := FindToolchain()
		if err != nil {
			return err
		}
		o.Toolchain = t
	}
	return nil
}
