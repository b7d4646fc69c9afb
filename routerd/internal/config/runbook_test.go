package config

import (
	"os"
	"strings"
	"testing"
)

// TestRunbookTreesAreGood: what the operator is told to write is taken.
func TestRunbookTreesAreGood(t *testing.T) {
	text, err := os.ReadFile("../../../docs/runbooks/waiting.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```yaml\n")
	if len(parts) != 2 {
		t.Fatalf("%d trees", len(parts)-1)
	}
	tree, _, _ := strings.Cut(parts[1], "```")
	if _, err := ParseRouting("waiting.md", []byte(tree)); err != nil {
		t.Error(err)
	}
}
