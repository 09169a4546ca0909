package lab

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/command"
)

const workflow = "../../.github/workflows/ci.yml"

// read is the text of a file.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// all are the files that people and machines act on.
func all(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md", "Containerfile", "pmemlab-conformance.env", workflow}
	for _, pattern := range []string{"*.yaml", "*.service", "*.timer"} {
		found, err := filepath.Glob(pattern)
		if err != nil || found == nil {
			t.Fatalf("no file is named %s (%v)", pattern, err)
		}
		names = append(names, found...)
	}
	return names
}

// program has the flags of the suite.
type program struct {
	options command.Options
	flags   *flag.FlagSet
}

func newProgram() *program {
	p := &program{flags: flag.NewFlagSet("pmemlab-conformance", flag.ContinueOnError)}
	p.flags.SetOutput(io.Discard)
	p.options.Register(p.flags)
	return p
}

// value is what a flag was set to.
func (p *program) value(name string) string { return p.flags.Lookup(name).Value.String() }

// given is the program with these arguments, which it must take.
func given(t *testing.T, args []string) *program {
	t.Helper()
	p := newProgram()
	if err := p.flags.Parse(args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if err := p.options.Check(); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return p
}

// variable is the name of a flag in the environment.
func variable(name string) string {
	return "PMEMLAB_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(strings.TrimPrefix(name, "pmem.")))
}

// TestFlags finds each flag that is mentioned, and each variable, in the program. What may
// be destroyed has no variable.
func TestFlags(t *testing.T) {
	variables := map[string]bool{}
	flags := newProgram().flags
	flags.VisitAll(func(f *flag.Flag) { variables[variable(f.Name)] = !strings.HasPrefix(f.Name, "pmem.destroy") })
	flagWord := regexp.MustCompile(`-(pmem\.[a-z.-]*[a-z])`)
	variableWord := regexp.MustCompile(`PMEMLAB_[A-Z_]*[A-Z]`)
	found := 0
	for _, name := range all(t) {
		text := read(t, name)
		for _, m := range flagWord.FindAllStringSubmatch(text, -1) {
			found++
			if flags.Lookup(m[1]) == nil {
				t.Errorf("%s: the program has no flag -%s", name, m[1])
			}
		}
		for _, word := range variableWord.FindAllString(text, -1) {
			found++
			if !variables[word] {
				t.Errorf("%s: %s is the variable of no flag", name, word)
			}
		}
	}
	if found < 50 {
		t.Errorf("%d flags and variables are mentioned, want more: are they looked for as they are written?", found)
	}
}

// TestTargets finds each target that is mentioned in the Makefile.
func TestTargets(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(read(t, "../../Makefile"), -1) {
		targets[m[1]] = true
	}
	// A word of a command: at the beginning of a line, of a step or of code.
	mention := regexp.MustCompile("(?m)(?:^ *|run: |RUN |&& |`)make ((?:[a-z][a-z0-9-]*[ \t]*)+)")
	for _, name := range []string{"README.md", "Containerfile", workflow} {
		found := mention.FindAllStringSubmatch(read(t, name), -1)
		if found == nil {
			t.Errorf("%s mentions no target", name)
		}
		for _, m := range found {
			for _, target := range strings.Fields(m[1]) {
				if !targets[target] {
					t.Errorf("%s: make %s: the Makefile has no such target", name, target)
				}
			}
		}
	}
	for _, target := range workflowMakes(t) {
		if !targets[target] {
			t.Errorf("%s: the matrix has %s, the Makefile hasn't", workflow, target)
		}
	}
}

// TestCommands has the program take the command lines of the README.
func TestCommands(t *testing.T) {
	line := regexp.MustCompile(`(?m)^    (?:sudo \./|cd \S+ && )?pmemlab-conformance (-[^#\n]*)`)
	lines := line.FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(lines) < 4 {
		t.Fatalf("%d command lines are in the README, want 4 at least", len(lines))
	}
	for _, m := range lines {
		given(t, strings.Fields(m[1]))
	}
}

// TestFirstScreen: what a reader sees first is three commands, and none of them destroys.
func TestFirstScreen(t *testing.T) {
	text := read(t, "README.md")
	first, _, _ := strings.Cut(text[strings.Index(text, "\n    ")+1:], "\n\n")
	commands := strings.Split(first, "\n")
	if len(commands) != 3 || strings.Contains(first, "destroy") {
		t.Errorf("the README begins with %q, want three commands that destroy nothing", commands)
	}
}

// TestContainerfile holds the image to the module: the version of Go, what is copied and
// where the program is.
func TestContainerfile(t *testing.T) {
	text := read(t, "Containerfile")
	field := func(name, pattern, text string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%s: nothing matches %s", name, pattern)
		}
		return m[1]
	}
	want := field("go.mod", `(?m)^go (\d+\.\d+)`, read(t, "../../go.mod"))
	if got := field("Containerfile", `(?m)^FROM docker\.io/library/golang:(\S+) AS build$`, text); got != want {
		t.Errorf("the image is built with Go %s, the module wants %s", got, want)
	}
	made := field("Makefile", `(?m)^conformance-binary:.*\n.* -o (\S+) \./conformance/suite$`, read(t, "../../Makefile"))
	if got := field("Containerfile", `(?m)^COPY --from=build /src/(\S+) /pmemlab-conformance$`, text); got != made {
		t.Errorf("the image has %s, the Makefile makes %s", got, made)
	}
	if !regexp.MustCompile(`(?m)^FROM scratch$`).MatchString(text) || !strings.Contains(text, "\nENTRYPOINT [\"/pmemlab-conformance\"]\n") {
		t.Error("the image isn't the program alone")
	}
	var copied, needed []string
	for _, m := range regexp.MustCompile(`(?m)^COPY (\w+) (\w+)/$`).FindAllStringSubmatch(text, -1) {
		if m[1] != m[2] {
			t.Errorf("%s is copied to %s", m[1], m[2])
		}
		copied = append(copied, m[1])
	}
	for name := range strings.FieldsSeq(goListDeps(t)) {
		if rest, ok := strings.CutPrefix(name, "pmemlab/"); ok {
			top, _, _ := strings.Cut(rest, "/")
			top, _, _ = strings.Cut(top, ".") // pmemlab/x.test
			needed = append(needed, top)
		}
	}
	slices.Sort(needed)
	slices.Sort(copied)
	if needed = slices.Compact(needed); !slices.Equal(copied, needed) {
		t.Errorf("the image is built of %q, the program of %q", copied, needed)
	}
}
