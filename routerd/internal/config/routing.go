package config

import (
	"errors"
	"fmt"
	"os"
	"time"

	"trunkline/routerd/acd"
)

// LoadRouting reads and validates a routing tree from a file.
func LoadRouting(path string) (acd.Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return acd.Config{}, fmt.Errorf("read routing: %w", err)
	}
	return ParseRouting(path, src)
}

// ParseRouting reads and validates a routing tree and fills in what its
// calendars' zones mean in the years around the present; name heads the faults.
// The error joins all of them, by line.
func ParseRouting(name string, src []byte) (acd.Config, error) {
	t, err := parse(name, src)
	if err != nil {
		return acd.Config{}, err
	}
	var c acd.Config
	t.into(&c)
	fillOffsets(&c, time.Now().Year())
	t.machine(c.Validate())
	if err := t.err(); err != nil {
		return acd.Config{}, err
	}
	return c, nil
}

// machine notes the machine's own verdict on a routing tree.
func (t *tree) machine(err error) {
	if err == nil {
		return
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, e := range all {
		var at acd.Fault
		if errors.As(e, &at) {
			t.at(at.Path, "%s", at.Text)
		} else {
			t.at("", "%v", e)
		}
	}
}
