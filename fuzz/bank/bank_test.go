package bank

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaults: each can be planted in the code as it is.
func TestFaults(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Faults() {
		text, err := os.ReadFile(filepath.Join("../..", f.File))
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		if n := strings.Count(string(text), f.Old); n != 1 {
			t.Errorf("%s: what it replaces is %d times in %s, want once: %q", f.Name, n, f.File, f.Old)
		}
		if f.Old == f.New || strings.Count(f.Old, "\n")+strings.Count(f.New, "\n") > 0 {
			t.Errorf("%s: %q to %q isn't a fault of one line", f.Name, f.Old, f.New)
		}
		if names[f.Name] || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(f.Name) {
			t.Errorf("%q isn't a name of its own, of small letters and hyphens", f.Name)
		}
		names[f.Name] = true
	}
}
