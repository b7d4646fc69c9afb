// Command setup makes a machine ready to build and run the tier: it installs
// the C libraries the Go build needs, a database for the tests, and finds or builds the toolchain of
// Kamailio, SIPp and baresip. It is pure Go, because it has to run before any
// of that is there, and it does nothing when nothing is missing.
package main

import (
	"context"
	"fmt"
	"os"

	"trunkline/loadtest/lab"
)

func main() {
	os.Exit(lab.Main(func(ctx context.Context) int {
		if _, err := lab.SetUp(ctx, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "setup:", err)
			return 1
		}
		return 0
	}))
}
