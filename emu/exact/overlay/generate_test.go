package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// here is the installed Go, as if it built for linux/amd64.
func here(t *testing.T) toolchain {
	t.Helper()
	tc, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	tc.goos, tc.goarch = "linux", "amd64"
	return tc
}

// copyOf makes a GOROOT with the files that the overlay patches.
func copyOf(t *testing.T, tc toolchain) toolchain {
	t.Helper()
	root := t.TempDir()
	for _, p := range releases[minor(tc.version)] {
		text, err := os.ReadFile(filepath.Join(tc.goroot, "src", p.file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(root, "src", p.file)
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tc.goroot = root
	return tc
}

func TestInstalledGo(t *testing.T) {
	tc := here(t)
	dir := filepath.Join(t.TempDir(), "a", "b")
	path, err := generate(tc, dir)
	if err != nil {
		t.Fatalf("%s: %v", tc.version, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		t.Fatal(err)
	}
	for _, p := range releases[minor(tc.version)] {
		out, err := os.ReadFile(overlay.Replace[filepath.Join(tc.goroot, "src", p.file)])
		if err != nil {
			t.Errorf("%s: %v", p.file, err)
		}
		if !strings.Contains(string(out), p.new) {
			t.Errorf("%s: got no %q", p.file, p.new)
		}
	}
	added, err := filepath.Glob("_runtime/*")
	if err != nil || len(added) != 6 {
		t.Errorf("_runtime: got %q, error %v, want 6 files", added, err)
	}
	for _, name := range added {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.ReadFile(overlay.Replace[filepath.Join(tc.goroot, "src", "runtime", filepath.Base(name))])
		if err != nil || !bytes.Equal(out, want) {
			t.Errorf("%s: got error %v, %d bytes, want %d", name, err, len(out), len(want))
		}
	}
}

// wantRefusal checks that an error names all of wants and that nothing was written.
func wantRefusal(t *testing.T, tc toolchain, wants ...string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	_, err := generate(tc, dir)
	if err == nil {
		t.Fatalf("%+v: got no error, want one with %q", tc, wants)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to name %q", err, want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was written", dir)
	}
}

func TestRefusedToolchains(t *testing.T) {
	good := copyOf(t, here(t))
	for _, version := range []string{"go1.25.4", "go1.27.0", "go1.26rc1", "devel go1.26-abcdef", "go1.26.8 X:rangefunc", "go1.26-custom", "", "go2.26.1"} {
		tc := good
		tc.version = version
		wantRefusal(t, tc, version, "go1.26", tc.goroot)
	}
	for _, version := range []string{"go1.26", "go1.26.0", "go1.26.999"} {
		tc := good
		tc.version = version
		if _, err := generate(tc, t.TempDir()); err != nil {
			t.Errorf("%s: got %v, want nil", version, err)
		}
	}
	for _, p := range [][2]string{{"linux", "arm64"}, {"darwin", "amd64"}} {
		tc := good
		tc.goos, tc.goarch = p[0], p[1]
		wantRefusal(t, tc, p[0]+"/"+p[1], "linux/amd64")
	}
	if _, err := generate(good, filepath.Join(t.TempDir(), "a b")); err == nil {
		t.Error("folder with a space: got nil, want an error")
	}
}

func TestAnchors(t *testing.T) {
	tc := here(t)
	for _, p := range releases[minor(tc.version)] {
		for name, change := range map[string]func(string) string{
			"missing": func(s string) string { return strings.Replace(s, p.old, "// gone\n", 1) },
			"doubled": func(s string) string { return strings.Replace(s, p.old, p.old+p.old, 1) },
		} {
			bad := copyOf(t, tc)
			path := filepath.Join(bad.goroot, "src", p.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(change(string(text))), 0o666); err != nil {
				t.Fatal(err)
			}
			t.Run(name+" in "+p.file, func(t *testing.T) {
				anchor, _, _ := strings.Cut(strings.TrimSpace(p.old), "\n")
				anchor, _, _ = strings.Cut(anchor, "\t")
				anchor, _, _ = strings.Cut(anchor, "\"")
				wantRefusal(t, bad, p.file, anchor)
			})
		}
	}
	missing := copyOf(t, tc)
	if err := os.Remove(filepath.Join(missing.goroot, "src", "runtime", "race_amd64.s")); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, missing, "race_amd64.s")
	taken := copyOf(t, tc)
	if err := os.WriteFile(filepath.Join(taken.goroot, "src", "runtime", "exact.go"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, taken, "exact.go", "exists")
}
