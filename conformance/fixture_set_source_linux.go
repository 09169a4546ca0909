package conformance

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2/platform"
)

// Umask sets the umask of the process until the case has ended.
func (t *T) Umask(mask int) {
	old := unix.Umask(mask)
	t.Cleanup(func() { unix.Umask(old) })
	t.Note("umask", "%#o", mask)
}

// specialFile makes a FIFO or a socket on this machine.
func specialFile(t *T, path string, kind uint32) {
	if kind == platform.SIFIFO {
		t.suite(unix.Mkfifo(path, 0o600), "mkfifo")
		return
	}
	t.suite(unix.Mknod(path, unix.S_IFSOCK|0o600, 0), "mknod of a socket")
}

// symlink makes a symbolic link on this machine.
func symlink(t *T, target, path string) { t.suite(os.Symlink(target, path), "symlink") }

// checkNames expects a directory of this machine to hold exactly these names.
func checkNames(t *T, dir, when string, want ...string) {
	entries, err := os.ReadDir(dir)
	t.suite(err, "list %s", dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	t.Note("names in the directory "+when, "%d", len(got))
	t.Check(slices.Equal(got, want), "%s the directory holds %q, want %q", when, got, want)
}
