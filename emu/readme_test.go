package emu_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsTheExample: the program in README.md is the Example that runs,
// and what it is said to print is what it prints.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "func Example() {\n")
	program, output, ok := strings.Cut(body, "\t// Output:\n")
	if !ok {
		t.Fatal("example_test.go has no Example with output")
	}
	output, _, _ = strings.Cut(output, "}\n")
	for _, want := range []string{
		"```go\n" + strings.ReplaceAll(strings.TrimPrefix(program, "\t"), "\n\t", "\n") + "```\n",
		"```\n" + strings.ReplaceAll(output, "\t// ", "") + "```\n",
	} {
		if !strings.Contains(string(readme), want) {
			t.Errorf("README.md lacks\n%s", want)
		}
	}
}
