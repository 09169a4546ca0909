package exact_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"pmemlab/emu/exact"
)

// overlaid prepares go with the settings that the overlay's command prints, and without a
// C compiler.
func overlaid(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if exact.Enabled() {
		t.Skip("this is the program built with the overlay")
	}
	if testing.Short() {
		t.Skip("compiles much of the standard library")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the overlay is for linux/amd64")
	}
	// A cached result is that of these files.
	for _, pattern := range []string{"overlay/*.go", "overlay/_runtime/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 3 {
			t.Fatalf("%s: %d files, error %v", pattern, len(files), err)
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "overlay")
	generate := exec.Command("go", "run", "./overlay", "-o", dir)
	generate.Stderr = os.Stderr
	out, err := generate.Output()
	if err != nil {
		t.Fatalf("%v: %v", generate, err)
	}
	m := regexp.MustCompile(`^(CGO_ENABLED=1) GOFLAGS='(-race [^']*-overlay=[^']*)' go test ./...\n$`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("%v printed %q, want the settings", generate, out)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), string(m[1]), "GOFLAGS="+string(m[2]), "CC=/nonexistent/cc")
	return cmd
}

// TestWithOverlay runs the other tests and the benchmarks of this package with the overlay.
func TestWithOverlay(t *testing.T) {
	out, err := overlaid(t, "test", "-vet=off", "-count=1", "-v", "-bench=.", "-benchtime=1000000x", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"--- PASS: TestReplay", "--- PASS: TestKindsOfStores", "--- PASS: TestLateStores", "BenchmarkDrain"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("output doesn't have %q", want)
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^(Benchmark.*ns/op|.*records, .*)$`).FindAll(out, -1) {
		t.Logf("%s", line)
	}
}

// TestStandardLibrary: the patched runtime does what the real one does.
func TestStandardLibrary(t *testing.T) {
	out, err := overlaid(t, "test", "-vet=off", "-short", "sync", "sync/atomic", "encoding/json", "sort").CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}
