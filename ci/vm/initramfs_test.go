package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
)

// listed is an initramfs read back: a line for each file, in their order.
func listed(t *testing.T, r io.Reader) (lines []string) {
	t.Helper()
	archive := cpio.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		kind := "file"
		if h.Mode&cpio.ModeType == cpio.TypeDir {
			kind = "folder"
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %o %s %s", kind, h.Mode.Perm(), h.Name, content)))
	}
}

func TestInitramfs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a := newInitramfs()
	a.add("/plan.json", []byte("{}"))
	a.add("kernel/firmware/acpi/ssdt.aml", []byte("SSDT"))
	a.add("/kernel/firmware/acpi/nfit.aml", []byte("NFIT"))
	a.add("/a/b/../c//d", []byte("D"))
	a.add("../../up", nil)
	for name, from := range map[string]string{
		"/init":     write("init", "#!", 0o755),
		"/a.b":      write("plain", "no program", 0o640),
		"/a/b/deep": write("deep", "", 0o700),
	} {
		if err := a.addFile(name, from); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.addFile("/gone", filepath.Join(dir, "gone")); err == nil {
		t.Error("a file that isn't there was added")
	}
	want := []string{
		"folder 755 kernel",
		"folder 755 kernel/firmware",
		"folder 755 kernel/firmware/acpi",
		"file 644 kernel/firmware/acpi/nfit.aml NFIT",
		"file 644 kernel/firmware/acpi/ssdt.aml SSDT",
		"file 640 a.b no program",
		"folder 755 a",
		"folder 755 a/b",
		"file 700 a/b/deep",
		"folder 755 a/c",
		"file 644 a/c/d D",
		"file 755 init #!",
		"file 644 plan.json {}",
		"file 644 up",
	}
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := a.write(b); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files make another initramfs the second time")
	}
	got := listed(t, &first)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The kernel makes no folders by itself.
	made := map[string]bool{".": true}
	for _, line := range got {
		name := strings.Fields(line)[2]
		if !made[path.Dir(name)] {
			t.Errorf("%s comes before its folder", name)
		}
		made[name] = true
	}
}

func TestInitramfsIsSavedOrFails(t *testing.T) {
	a, file := newInitramfs(), filepath.Join(t.TempDir(), "initramfs.cpio")
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.addFile("/bin/x", from); err != nil {
		t.Fatal(err)
	}
	if err := a.save(file); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := listed(t, f); len(got) != 2 {
		t.Errorf("%q: want a folder and a file", got)
	}
	if err := os.Remove(from); err != nil {
		t.Fatal(err)
	}
	if err := a.save(file); err == nil || !strings.Contains(err.Error(), "initramfs: bin/x") {
		t.Errorf("%v: want an error with the name of what is gone", err)
	}
	if err := a.save(filepath.Join(file, "below")); err == nil {
		t.Error("it was saved below a file")
	}
}
