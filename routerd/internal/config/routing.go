package config

import (
	"errors"

	"trunkline/routerd/acd"
)

// faults turns the machine's own verdict on a routing tree into faults with
// lines.
func faults(r acd.Config, f fault) error {
	err := r.Validate()
	if err == nil {
		return nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var out []error
	for _, e := range all {
		var at acd.Fault
		if errors.As(e, &at) {
			e = f.at("$."+at.Path, "%s", at.Text)
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}
