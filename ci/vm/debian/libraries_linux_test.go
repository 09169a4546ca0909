package debian

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pmemlab/ci/vm/kernel/kerneltest"
)

func TestLibrariesOfAShell(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("libraries are looked for where amd64 has them, and this is " + runtime.GOARCH)
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if direct, err := needed(shell); err != nil || len(direct) == 0 {
		t.Skipf("%s needs no libraries: %v", shell, err)
	}
	found, err := Libraries(shell)
	if err != nil {
		if strings.Contains(err.Error(), "directory of shared libraries") {
			t.Skipf("its libraries are where Debian hasn't them: %v", err)
		}
		t.Fatal(err)
	}
	loader := false
	for path, file := range found {
		loader = loader || strings.Contains(filepath.Base(path), "ld-linux")
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s is %s, which is no file: %v", path, file, err)
		}
		// All that each needs is there too.
		names, err := needed(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			where, err := library(name)
			if _, ok := found[where]; !ok || err != nil {
				t.Errorf("%s needs %s, which isn't among %v: %v", file, name, found, err)
			}
		}
	}
	if !loader || len(found) < 2 {
		t.Errorf("%v: want the loader and libc", found)
	}
}

func TestLibrariesOfOthers(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(strings.Repeat("#!/bin/sh\n", 10)), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Libraries(script)
	wants(t, err, script, "bad magic")
	static := filepath.Join(t.TempDir(), "static")
	if err := os.WriteFile(static, kerneltest.Vmlinux(), 0o755); err != nil {
		t.Fatal(err)
	}
	if found, err := Libraries(static); len(found) > 0 || err != nil {
		t.Errorf("a static program needs %v, %v", found, err)
	}
	_, err = library("libno-such.so.9")
	wants(t, err, "isn't in any directory")
	if got, err := library("/any/path"); got != "/any/path" || err != nil {
		t.Errorf("a path: %s, %v", got, err)
	}
}
