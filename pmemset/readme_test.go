package pmemset_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsTheExample: what README.md shows of a set is in the Example that runs.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(readme), "## Several files as one range\n")
	_, shown, begins := strings.Cut(shown, "```go\n")
	shown, _, ends := strings.Cut(shown, "```")
	if !found || !begins || !ends {
		t.Fatal("README.md has no program below its heading on several files")
	}
	indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(shown, "\n"), "\n", "\n\t")
	indented = strings.ReplaceAll(indented, "\n\t\n", "\n\n")
	if !strings.Contains(string(example), indented) {
		t.Errorf("example_linux_test.go doesn't contain what README.md shows:\n%s", shown)
	}
}
