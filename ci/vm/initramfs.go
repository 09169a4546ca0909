package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// initramfs collects the files of an initramfs. Its folders are made as they are needed.
type initramfs struct {
	files map[string]entry
}

// entry is a file, by its content or by where it is.
type entry struct {
	content []byte
	from    string
	mode    cpio.FileMode
}

func newInitramfs() *initramfs { return &initramfs{files: map[string]entry{}} }

// add adds a file with a content.
func (a *initramfs) add(name string, content []byte) {
	a.files[clean(name)] = entry{content: content, mode: 0o644}
}

// addFile adds a file of this machine, to be run if it's a program.
func (a *initramfs) addFile(name, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	a.files[clean(name)] = entry{from: from, mode: cpio.FileMode(info.Mode().Perm())}
	return nil
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// firmware is where the kernel looks for ACPI tables in an initramfs: the first files of one
// that isn't compressed.
const firmware = "kernel/firmware/acpi/"

// write writes it as the kernel reads it: tables first, folders before what is in them.
func (a *initramfs) write(w io.Writer) error {
	var names []string
	for name := range a.files {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		if first, second := strings.HasPrefix(x, firmware), strings.HasPrefix(y, firmware); first != second {
			if first {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
	out := cpio.NewWriter(w)
	made := map[string]bool{".": true}
	for _, name := range names {
		if err := folders(out, made, path.Dir(name)); err != nil {
			return err
		}
		if err := a.files[name].write(out, name); err != nil {
			return fmt.Errorf("initramfs: %s: %w", name, err)
		}
	}
	return out.Close()
}

// folders writes a folder and those above it, unless they are made.
func folders(out *cpio.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := folders(out, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return out.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755, Links: 2})
}

func (e entry) write(out *cpio.Writer, name string) error {
	content := e.content
	if e.from != "" {
		var err error
		if content, err = os.ReadFile(e.from); err != nil {
			return err
		}
	}
	if err := out.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | e.mode, Size: int64(len(content)), Links: 1}); err != nil {
		return err
	}
	_, err := io.Copy(out, bytes.NewReader(content))
	return err
}

// save writes it to a file.
func (a *initramfs) save(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(a.write(f), f.Close())
}
