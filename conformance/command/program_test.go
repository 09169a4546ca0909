package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// built is the path of the program, which is built once, without cgo, as it is packaged.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pmemlab-program-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "pmemlab-conformance")
	cmd := exec.Command("go", "test", "-c", "-o", path, "../suite")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, text)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := built(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("on other systems no case runs")
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ran is what came of the program.
type ran struct {
	code           int
	stdout, stderr string
}

// lastLine is that of standard output.
func (r ran) lastLine() string {
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	return lines[len(lines)-1]
}

// run runs the program with arguments, of which those of the form NAME=value are for the
// environment. It has none of the variables that it reads but these.
func run(t *testing.T, args ...string) ran {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, variablePrefix) || strings.HasPrefix(e, "GITHUB_")
	})
	var rest []string
	for _, a := range args {
		if strings.HasPrefix(a, variablePrefix) || strings.HasPrefix(a, "GITHUB_") {
			env = append(env, a)
		} else {
			rest = append(rest, a)
		}
	}
	cmd := exec.Command(program(t), rest...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// onePage chooses 38 rows that take a second.
const onePage = "-ginkgo.label-filter=pmem2_map_new"

// TestPartsOfARun has the program share a run in each way that there is, and expects
// what one process says.
func TestPartsOfARun(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	whole := run(t, onePage, "-pmem.target=emulated,files", "-pmem.reports="+at("whole"))
	if whole.code != 0 || !strings.HasPrefix(whole.lastLine(), "conformance: ") {
		t.Fatalf("exit code %d:\n%s%s", whole.code, whole.stdout, whole.stderr)
	}
	text := func(out string) string { return out[strings.Index(out, "go on emulated: "):] }
	same := func(name string) {
		t.Helper()
		changes := diffOf(t, at("whole"), at(name))
		if len(changes) != 0 {
			t.Errorf("the report of %s differs: %+v", name, changes)
		}
	}

	shared := run(t, onePage, "-pmem.target=emulated,files", "-pmem.procs=3", "-pmem.reports="+at("shared"))
	if shared.code != 0 || text(shared.stdout) != text(whole.stdout) {
		t.Errorf("three processes exit with %d and say\n%s%s, want\n%s", shared.code, shared.stdout, shared.stderr, whole.stdout)
	}
	same("shared")

	var parts []string
	for i := 1; i <= 2; i++ {
		name := at(fmt.Sprint(i))
		part := run(t, onePage, "-pmem.target=emulated,files", fmt.Sprintf("PMEMLAB_SHARD=%d/2", i), "-pmem.reports="+name)
		if part.code != 0 {
			t.Fatalf("shard %d exits with %d:\n%s%s", i, part.code, part.stdout, part.stderr)
		}
		parts = append(parts, filepath.Join(name, "conformance.json"))
	}
	merged := run(t, append([]string{"-pmem.merge", "-pmem.reports=" + at("merged")}, parts...)...)
	if merged.code != 0 || text(merged.stdout) != text(whole.stdout) {
		t.Errorf("merged: exit code %d\n%s%s, want\n%s", merged.code, merged.stdout, merged.stderr, whole.stdout)
	}
	same("merged")
	if one := run(t, "-pmem.merge", parts[0]); one.code != 2 || !strings.Contains(one.stderr, "shard 2/2 is missing") {
		t.Errorf("a part alone: exit code %d, %s", one.code, one.stderr)
	}

	// The diff says what the parts lack.
	equal := run(t, "-pmem.diff", filepath.Join(at("whole"), "conformance.json"), filepath.Join(at("merged"), "conformance.json"))
	if equal.code != 0 || equal.lastLine() != "diff: 0 changes" {
		t.Errorf("a diff of equal reports: exit code %d, %q", equal.code, equal.stdout)
	}
	other := run(t, "-pmem.diff", filepath.Join(at("whole"), "conformance.json"), parts[0])
	if other.code != 1 || !regexp.MustCompile(`^diff: \d\d changes$`).MatchString(other.lastLine()) {
		t.Errorf("a diff to a part: exit code %d, last line %q", other.code, other.lastLine())
	}
}

func diffOf(t *testing.T, a, b string) []report.Change {
	t.Helper()
	var reps [2]report.Report
	for i, dir := range []string{a, b} {
		rep, err := report.ReadFile(filepath.Join(dir, "conformance.json"))
		if err != nil {
			t.Fatal(err)
		}
		reps[i] = rep
	}
	return report.Diff(reps[0], reps[1])
}

func TestList(t *testing.T) {
	got := run(t, "-pmem.list")
	rows := conformance.Rows()
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.code != 0 || len(lines) != len(rows)+2 {
		t.Fatalf("exit code %d, %d lines, want one for each of %d rows, a head and an end:\n%s", got.code, len(lines), len(rows), got.stderr)
	}
	for i, r := range rows {
		fields := strings.Fields(lines[i+1])
		if fields[0] != r.ID || fields[1] != string(r.Needs) {
			t.Errorf("line %d is %q, want row %s, which needs %s", i+1, lines[i+1], r.ID, r.Needs)
		}
	}
	if want := fmt.Sprintf("conformance: %d rows on %d pages, %d cases", len(rows), len(conformance.Pages(rows)), len(conformance.Cases())); got.lastLine() != want {
		t.Errorf("the last line is %q, want %q", got.lastLine(), want)
	}
}

func TestDoctor(t *testing.T) {
	got := run(t, "-pmem.doctor", "-pmem.target=emulated,files")
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	for _, want := range []string{"kernel", "clwb", "mapsync", "devdax", "ordinary files are no device DAX"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("nothing is said of %s:\n%s", want, got.stdout)
		}
	}
}

// TestUsage has a clear sentence and exit code 2 for what can't be followed.
func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"-pmem.target=nvdimm"}, `"nvdimm" isn't a target`},
		{[]string{"PMEMLAB_TARGET=nvdimm"}, `"nvdimm" isn't a target`},
		{[]string{"PMEMLAB_PROCS=none"}, "-pmem.procs=none: want auto or a number"},
		{[]string{"-pmem.procs=0"}, "-pmem.procs=0"},
		{[]string{"-pmem.procs=2", "-pmem.shard=1/2"}, "must be 1"},
		{[]string{"-pmem.procs=2", "-pmem.target=hardware"}, "must be 1"},
		{[]string{"-pmem.shard=3/2"}, `shard "3/2"`},
		{[]string{"-pmem.subject=c"}, "was built without the C library"},
		{[]string{"-pmem.subject=java"}, "want go or c"},
		{[]string{"-pmem.divergences=x"}, "needs -pmem.subject=c"},
		{[]string{"-pmem.list", "-pmem.doctor"}, "only one"},
		{[]string{"-pmem.merge"}, "wants JSON reports"},
		{[]string{"-pmem.merge", file}, "schema"},
		{[]string{"-pmem.diff", file}, "wants two JSON reports"},
		{[]string{"-pmem.diff", file, "/nonexistent"}, "schema"},
		{[]string{"emulated"}, `the argument "emulated" is none`},
		{[]string{"-pmem.devdax=/dev/dax0.0", "-pmem.target=emulated"}, "-pmem.devdax=/dev/dax0.0 is for the target hardware"},
		{[]string{"-pmem.destroy=/dev/dax0.0"}, "/dev/dax0.0"},
		{[]string{"PMEMLAB_DESTROY=/dev/dax0.0"}, "has to be said by the flag -pmem.destroy"},
		{[]string{"PMEMLAB_DESTROY_CONTENTS=1", "-pmem.list"}, "has to be said by the flag -pmem.destroy-contents"},
		{[]string{"-pmem.destroy-contents"}, "needs -pmem.destroy"},
		{[]string{"-pmem.fsdax=/mnt", "-pmem.target=files"}, "is for the target hardware"},
		{[]string{"-pmem.files.tmpfs=/dev/shm"}, "is for the target files"},
		{[]string{"-pmem.files.tmpfs=/nonexistent", "-pmem.target=files"}, "-pmem.files.tmpfs=/nonexistent: no directory"},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			got := run(t, row.args...)
			if got.code != 2 || !strings.Contains(got.stderr, row.want) {
				t.Errorf("exit code %d, %q, want 2 and %q\n%s", got.code, got.stderr, row.want, got.stdout)
			}
		})
	}
}

// TestNothingChecked fails where nothing is known in the end, whatever the reason.
func TestNothingChecked(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, []byte(`{"schema": "`+report.Schema+`", "runs": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-ginkgo.label-filter=TYPO"}, {"-ginkgo.label-filter=TYPO", "-pmem.procs=2"}, {"-ginkgo.focus=TYPO"}, {"-test.run=Nothing"},
		{"-pmem.merge", empty}, {"-pmem.target=files", "-ginkgo.label-filter=needs-devdax"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if got := run(t, args...); got.code != 1 || !strings.Contains(got.stderr, "no row was checked") {
				t.Errorf("exit code %d, %q, want 1 and that no row was checked", got.code, got.stderr)
			}
		})
	}
	if got := run(t, "-pmem.list", "PMEMLAB_FSDAX=/nonexistent"); got.code != 0 {
		t.Errorf("a list exits with %d: %s", got.code, got.stderr)
	}
}

// TestDemands has a run fail that lacks what was required or isn't as it was declared.
func TestDemands(t *testing.T) {
	const few = "-ginkgo.label-filter=pmem2_config_new"
	for _, row := range []struct {
		args []string
		fail string
	}{
		{[]string{"-pmem.target=emulated", "-pmem.require=devdax,mapsync"}, ""},
		{[]string{"-pmem.target=files", "-pmem.require=devdax"}, "devdax"},
		{[]string{"-pmem.target=files", "PMEMLAB_DECLARE=devdax"}, "devdax"},
		{[]string{"-pmem.target=files", "-pmem.declare=!devdax"}, ""},
		{[]string{"-pmem.target=emulated", "-pmem.declare=!devdax"}, "devdax"},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			got := run(t, append(row.args, few, "GITHUB_ACTIONS=true")...)
			errors := regexp.MustCompile(`(?m)^::error .*`).FindAllString(got.stdout, -1)
			switch {
			case row.fail == "" && (got.code != 0 || errors != nil):
				t.Errorf("exit code %d, errors %q", got.code, errors)
			case row.fail != "" && (got.code != 1 || len(errors) != 1 || !strings.Contains(errors[0], row.fail)):
				t.Errorf("exit code %d, errors %q, want 1 and one about %s\n%s", got.code, errors, row.fail, got.stdout)
			}
		})
	}
}

// TestSkipsAreReported runs one spec that ordinary files can't satisfy.
func TestSkipsAreReported(t *testing.T) {
	got := run(t, "-pmem.target=files", "-ginkgo.focus=device DAX, private", "-test.v")
	skipped := regexp.MustCompile(`(?m)^ *--- SKIP: TestConformance/go_on_files:_(\S+) `).FindAllStringSubmatch(got.stdout, -1)
	if len(skipped) != 1 || skipped[0][1] != "devdax" {
		t.Errorf("skipped subtests are %q, want that of devdax:\n%s", skipped, got.stdout)
	}
	if !strings.Contains(got.stdout, "1 spec skipped, 1 row not checked: ordinary files") {
		t.Errorf("nothing says what is skipped:\n%s", got.stdout)
	}
	if want := "conformance: 1 rows, 0 pass, 0 known-divergence, 0 not-applicable, 1 not-supported, 0 fail, 0 error"; got.lastLine() != want || got.code != 1 {
		t.Errorf("exit code %d, the last line is %q, want %q", got.code, got.lastLine(), want)
	}
}

// TestOutsideTheModule runs a test of another module, which imports the suite.
func TestOutsideTheModule(t *testing.T) {
	program(t) // on Linux alone
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, err := os.ReadFile("testdata/outside/conformance_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := source[bytes.Index(source, []byte("func TestMain")):bytes.Index(source, []byte("\n\nfunc TestMapNew"))]
	if !bytes.Contains(readme, shown) {
		t.Errorf("README.md doesn't show\n%s", shown)
	}
	if n := bytes.Count(source, []byte("\n")); n > 30 {
		t.Errorf("the program has %d lines, want 30 at most", n)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"conformance_test.go": string(source),
		"go.sum":              string(sums),
		"go.mod":              "module example.org/outside\n\ngo 1.26\n\nrequire pmemlab v0.0.0\n\nreplace pmemlab => " + root + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Some pages of many: the other tests of the module run them all.
	cmd := exec.Command("go", "test", "-vet=off", "-mod=mod", "-v", "-run", "//^pmem2_(map|source|config)", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.5000s", err, text)
	}
	for _, name := range []string{"TestConformance/mine_on_emulated/", "TestMapNewInAnyOrder/mine_on_emulated/pmem2_map_new/"} {
		if n := bytes.Count(text, []byte("--- PASS: "+name)); n < 30 {
			t.Errorf("%d subtests of %s pass, want 30 and more", n, name)
		}
	}
	if bytes.Contains(text, []byte("--- SKIP")) {
		t.Error("a subtest was skipped: the emulated machine has everything")
	}
}
