package vm

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pmemlab/ci/vm/debian"
	"pmemlab/ci/vm/plan"
)

func TestNewLabOffline(t *testing.T) {
	want := "there's no package linux-image-6.1.*-amd64 in "
	if runtime.GOARCH != "amd64" {
		want = "want linux/amd64"
	}
	for program := range programs {
		if _, err := debian.Program(program); err != nil {
			want = "lacking: "
		}
	}
	cache := filepath.Join(t.TempDir(), "cache")
	if l, err := NewLab(t.Context(), LabConfig{Offline: true, Cache: cache}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, %v: want an error with %q", l, err, want)
	}
	if _, err := os.Stat(cache); !os.IsNotExist(err) {
		t.Errorf("%v: want nothing to be made", err)
	}
}

func TestMakers(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"mke2fs", "mkfs.xfs"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	with := func(keep bool, fs ...string) Boot {
		b := Boot{Keep: keep}
		for _, f := range fs {
			b.DIMMs = append(b.DIMMs, DIMM{Namespace: plan.Namespace{FS: f}})
		}
		return b
	}
	for _, c := range []struct {
		b    Boot
		want []string
	}{
		{with(false), nil},
		{with(false, ""), nil},
		{with(false, "ext4", "ext4", ""), []string{"/sbin/mke2fs"}},
		{with(false, "ext4", "xfs"), []string{"/sbin/mke2fs", "/sbin/mkfs.xfs"}},
		{with(true, "ext4", "xfs"), nil},
	} {
		made, err := c.b.makers()
		var got []string
		for name, from := range made {
			got = append(got, name)
			if from != filepath.Join(bin, filepath.Base(name)) {
				t.Errorf("%s is %s", name, from)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) || err != nil {
			t.Errorf("%+v: %q, %v: want %q", c.b, got, err, c.want)
		}
	}
}

func TestAddProgram(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"script": "#!/bin/sh", "empty": "", "broken": "\x7fELF" + strings.Repeat("x", 60)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		good bool
	}{{"script", true}, {"empty", true}, {"broken", false}, {"gone", false}} {
		a := newInitramfs()
		err := addProgram(a, "/bin/"+c.name, filepath.Join(dir, c.name))
		if (err == nil) != c.good || c.good && len(a.files) != 1 {
			t.Errorf("%s: %v, %d files: want it alone: %v", c.name, err, len(a.files), c.good)
		}
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := debian.Libraries(shell)
	if err != nil {
		t.Skipf("libraries of %s: %v", shell, err)
	}
	a := newInitramfs()
	if err := addProgram(a, "/bin/sh", "/bin/sh"); err != nil || len(a.files) != 1+len(libraries) {
		t.Errorf("%v: %d files: want the shell and %d libraries", err, len(a.files), len(libraries))
	}
}
