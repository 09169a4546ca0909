package conformance

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRemoveLeft removes what a case has left that is still under way, and nothing that
// a link leads to.
func TestRemoveLeft(t *testing.T) {
	parent := t.TempDir()
	victim := filepath.Join(parent, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := makeOwnDirectory(parent)
	if err != nil {
		t.Fatal(err)
	}
	left, err := makeOwnDirectory(parent)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(left, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(parent, filepath.Join(left, "link")); err != nil {
		t.Fatal(err)
	}
	_ = setAppendOnly(file, true) // where that can be done
	if err := removeOwnDirectory(done); err != nil {
		t.Fatal(err)
	}
	if err := RemoveLeft(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "victim" {
		t.Errorf("left are %v, want the victim alone", entries)
	}
	if err := RemoveLeft(); err != nil {
		t.Errorf("once more: %v", err)
	}
}
