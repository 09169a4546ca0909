package debian

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const prefix, suffix = "linux-image-6.1.", "-amd64"

func TestNamesThatMatch(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-56-amd64":          true,
		"linux-image-6.1.0-9-amd64":           true,
		"linux-image-6.1.15-1-amd64":          true,
		"linux-image-6.1.0-9-cloud-amd64":     false,
		"linux-image-6.1.0-9-rt-amd64":        false,
		"linux-image-6.1.0-9-amd64-unsigned":  false,
		"linux-image-6.1.0-9-amd64-dbg":       false,
		"linux-image-6.1.0-0.deb11.9-amd64":   false,
		"linux-image-6.1.0-9-arm64":           false,
		"linux-image-6.12.48-1-amd64":         false,
		"linux-image-6.10.0-1-amd64":          false,
		"linux-image-5.10.0-9-amd64":          false,
		"linux-image-amd64":                   false,
		"linux-image-6.1-amd64":               false,
		"linux-image-6.1.amd64":               false,
		"xlinux-image-6.1.0-9-amd64":          false,
		"linux-image-6.1.0-9-amd64.partial":   false,
		"unpacking-linux-image-6.1.0-9-amd64": false,
	} {
		if got := matches(name, prefix, suffix); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestNewerNames(t *testing.T) {
	// From the newest to the oldest.
	names := []string{
		"linux-image-6.1.115-1-amd64",
		"linux-image-6.1.15-2-amd64",
		"linux-image-6.1.15-1-amd64",
		"linux-image-6.1.9-99-amd64",
		"linux-image-6.1.0-100-amd64",
		"linux-image-6.1.0-56-amd64",
		"linux-image-6.1.0-10-amd64",
		"linux-image-6.1.0-9-amd64",
		"linux-image-6.1.0-0-amd64",
	}
	for i, a := range names {
		for j, b := range names {
			if got := newer(a, b); got != (i < j) {
				t.Errorf("%s newer than %s: %v", a, b, got)
			}
		}
	}
}

func TestNewestInTheCache(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	if name, _ := c.newestCached(prefix, suffix); name != "" {
		t.Errorf("an empty cache has %q", name)
	}
	for name, sealed := range map[string]bool{
		"linux-image-6.1.0-9-amd64":        true,
		"linux-image-6.1.0-20-amd64":       true,
		"linux-image-6.1.0-30-amd64":       false,
		"linux-image-6.1.0-40-cloud-amd64": true,
		"linux-image-6.12.0-1-amd64":       true,
	} {
		if err := os.MkdirAll(filepath.Join(c.Dir, name, "files"), 0o755); err != nil {
			t.Fatal(err)
		}
		if sealed {
			old := time.Now().Add(-time.Hour)
			if err := os.WriteFile(c.seal(name), []byte(made+"1  a.deb\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(c.seal(name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	name, age := c.newestCached(prefix, suffix)
	if want := "linux-image-6.1.0-20-amd64"; name != want || age < time.Hour || age > 2*time.Hour {
		t.Errorf("%q of %v, want %s of an hour", name, age, want)
	}
	if name, _ := (&Cache{Dir: filepath.Join(c.Dir, "none")}).newestCached(prefix, suffix); name != "" {
		t.Errorf("a cache that isn't there has %q", name)
	}
}

func TestNumbers(t *testing.T) {
	for name, want := range map[string][]int{
		"":                           nil,
		"amd":                        nil,
		"linux-image-6.1.0-56-amd64": {6, 1, 0, 56, 64},
		"007x10":                     {7, 10},
	} {
		if got := numbers(name); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
