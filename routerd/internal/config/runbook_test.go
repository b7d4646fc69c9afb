package config

import (
	"os"
	"strings"
	"testing"
)

// TestRunbookTreesAreGood: what the operator is told to write is taken.
func TestRunbookTreesAreGood(t *testing.T) {
	for _, page := range []string{"waiting.md", "trunks.md"} {
		text, err := os.ReadFile("../../../docs/runbooks/" + page)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(text), "```yaml\n")
		if len(parts) != 2 {
			t.Fatalf("%s has %d trees", page, len(parts)-1)
		}
		tree, _, _ := strings.Cut(parts[1], "```")
		if _, err := ParseRouting(page, []byte(tree)); err != nil {
			t.Error(err)
		}
	}
}
