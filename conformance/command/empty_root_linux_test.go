package command

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEmptyRoot runs the program where nothing is but it, /proc, /sys, /dev/shm and /tmp,
// as nobody in particular.
func TestEmptyRoot(t *testing.T) {
	path := program(t)
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s isn't static: it has a segment %v", path, p.Type)
		}
	}
	root := t.TempDir()
	for _, dir := range []string{"proc", "sys", "dev/shm", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// t.TempDir is for its owner alone.
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "pmemlab-conformance"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	const enter = `cd "$1" &&
mount --rbind /proc proc && mount --rbind /sys sys &&
mount -t tmpfs -o mode=1777 none dev/shm && mount -t tmpfs -o mode=1777 none tmp &&
exec chroot --userspec=65534:65534 . /pmemlab-conformance -pmem.target=emulated -pmem.procs=2`
	if text, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("this user can't make a root of its own: %v: %s", err, text)
	}
	text, err := exec.Command("unshare", "--mount", "--propagation=private", "sh", "-c", enter, "sh", root).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; err != nil || !strings.HasSuffix(last, ", 0 not-supported, 0 fail, 0 error") || strings.Contains(last, " 0 pass") {
		t.Errorf("%v, want a last line where everything is checked and nothing fails:\n%s", err, text)
	}
}
