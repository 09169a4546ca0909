package emu_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsTheExample: the programs in README.md are the Examples that run, and what
// they are said to print is what they print.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range []struct{ file, name string }{
		{"example_test.go", "Example"},
		{"example_crash_test.go", "ExampleExplore"},
	} {
		source, err := os.ReadFile(example.file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(source), "func "+example.name+"() {\n")
		program, output, ok := strings.Cut(body, "\t// Output:\n")
		if !ok {
			t.Fatalf("%s has no %s with output", example.file, example.name)
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
}
