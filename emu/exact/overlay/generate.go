package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// additions are the files that the overlay adds to package runtime.
//
//go:embed _runtime/*.go _runtime/*.s
var additions embed.FS

// toolchain is an installed Go and what it builds for.
type toolchain struct{ goroot, version, goos, goarch string }

// generate writes the overlay for a toolchain to dir, which it makes, and returns the path
// of overlay.json. If anything isn't as it knows it, it says what, and writes nothing.
func generate(t toolchain, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(dir, " \t\n'\"") {
		return "", fmt.Errorf("the folder %q can't stand in GOFLAGS: choose one without spaces and quotes", dir)
	}
	files, err := patched(t)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range files {
		out := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(out, []byte(text), 0o666); err != nil {
			return "", err
		}
		replace[filepath.Join(t.goroot, "src", filepath.FromSlash(name))] = out
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "overlay.json")
	return out, os.WriteFile(out, append(text, '\n'), 0o666)
}

// patched returns the text of each file of the overlay, by its path below GOROOT/src.
func patched(t toolchain) (map[string]string, error) {
	if t.goos != "linux" || t.goarch != "amd64" {
		return nil, fmt.Errorf("the overlay exists for linux/amd64 only, not for %s/%s", t.goos, t.goarch)
	}
	patches, ok := releases[minor(t.version)]
	if !ok {
		known := slices.Sorted(maps.Keys(releases))
		return nil, fmt.Errorf("%s in %s: the overlay knows go%s only; another version's runtime may differ where it is patched",
			t.version, t.goroot, strings.Join(known, ", go"))
	}
	files := map[string]string{}
	var wrong []error
	for _, p := range patches {
		text, ok := files[p.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(t.goroot, "src", filepath.FromSlash(p.file)))
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			text = string(b)
		}
		want := max(p.count, 1)
		if got := strings.Count(text, p.old); got != want {
			wrong = append(wrong, fmt.Errorf("%s of %s: the anchor %q is there %d times, not %d", p.file, t.version, p.old, got, want))
		}
		files[p.file] = strings.ReplaceAll(text, p.old, p.new)
	}
	added, err := additions.ReadDir("_runtime")
	if err != nil {
		return nil, err
	}
	for _, f := range added {
		text, err := additions.ReadFile("_runtime/" + f.Name())
		if err != nil {
			return nil, err
		}
		path := filepath.Join(t.goroot, "src", "runtime", f.Name())
		if _, err := os.Lstat(path); err == nil {
			wrong = append(wrong, fmt.Errorf("%s exists already", path))
		}
		files["runtime/"+f.Name()] = string(text)
	}
	return files, errors.Join(wrong...)
}

// minor returns "1.26" of "go1.26.8"; of anything else, such as "devel", "".
func minor(version string) string {
	v, ok := strings.CutPrefix(version, "go1.")
	if !ok {
		return ""
	}
	// "go1.26.8 X:…" names an experiment, which may change the runtime.
	if strings.ContainsAny(v, " -+") {
		return ""
	}
	end := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 && v[end] != '.' {
		return "" // a beta or release candidate
	}
	if end >= 0 {
		v = v[:end]
	}
	return "1." + v
}
