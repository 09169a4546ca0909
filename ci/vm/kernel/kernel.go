// Package kernel takes a kernel and its modules out of an unpacked Debian package, in the
// form that a virtual machine boots fastest.
package kernel

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pmemlab/ci/vm/debian"
)

// Kernel is what a package of a kernel holds.
type Kernel struct {
	// Version is uname -r: "6.1.0-56-amd64".
	Version string
	// Image boots: a vmlinux, or where that can't be had the compressed vmlinuz, which takes
	// a software-emulated CPU some seconds more.
	Image string

	modules map[string]string // path of each, by its name
	verify  func(file string) error
}

// Open finds the kernel in the folder of an unpacked package, and keeps what it makes of
// it in the folder cache. Each file of the package that is used is verified, if verify isn't
// nil.
func Open(files, cache string, verify func(file string) error) (*Kernel, error) {
	if verify == nil {
		verify = func(string) error { return nil }
	}
	images, err := filepath.Glob(filepath.Join(files, "boot", "vmlinuz-*"))
	if err != nil {
		return nil, err
	}
	if len(images) != 1 {
		return nil, fmt.Errorf("%s/boot has %d kernels vmlinuz-*, not one", files, len(images))
	}
	if err := verify(images[0]); err != nil {
		return nil, err
	}
	k := &Kernel{
		Version: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-"),
		Image:   images[0],
		modules: map[string]string{},
		verify:  verify,
	}
	vmlinux := filepath.Join(cache, "vmlinux-"+k.Version)
	if err := extract(images[0], vmlinux); err == nil {
		k.Image = vmlinux
	} else if !errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", images[0], err)
	}
	root := filepath.Join(files, "lib", "modules", k.Version)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".ko") {
			k.modules[moduleName(path)] = path
		}
		return err
	})
	if err == nil && len(k.modules) == 0 {
		err = errors.New("there's no module *.ko")
	}
	if err != nil {
		return nil, fmt.Errorf("modules of %s: %w", k.Version, err)
	}
	return k, nil
}

// Offsets in the header of a bzImage: its number of 512-byte sectors of real-mode code, the
// magic, and where from their end on the compressed kernel lies.
const (
	setupSectors  = 0x1f1
	headerMagic   = 0x202
	payloadOffset = 0x248
	payloadLength = 0x24c
	headerEnd     = 0x250
)

// extract writes the vmlinux in a bzImage to the file to, if it isn't there yet: a file beside
// it has the checksums of both.
func extract(bzImage, to string) error {
	from, err := debian.Sum(bzImage)
	if err != nil {
		return err
	}
	sums := to + ".SHA256SUMS"
	if made, err := debian.Sum(to); err == nil {
		if kept, err := os.ReadFile(sums); err == nil && string(kept) == sumsOf(from, bzImage, made, to) {
			return nil
		}
	}
	image, err := os.ReadFile(bzImage)
	if err != nil {
		return err
	}
	payload, err := payload(image)
	if err != nil {
		return err
	}
	vmlinux, err := decompress(payload)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(vmlinux, []byte("\x7fELF")) {
		return errors.New("what is compressed in it is no ELF file")
	}
	if err := replace(to, vmlinux); err != nil {
		return err
	}
	made := sha256.Sum256(vmlinux)
	return replace(sums, []byte(sumsOf(from, bzImage, hex.EncodeToString(made[:]), to)))
}

func sumsOf(from, bzImage, made, vmlinux string) string {
	return fmt.Sprintf("%s  %s\n%s  %s\n", from, filepath.Base(bzImage), made, filepath.Base(vmlinux))
}

// replace writes a file as a whole or not at all, also where another one does the same.
func replace(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // there's a better error
	}
	return err
}

// payload is the compressed kernel in a bzImage.
func payload(image []byte) ([]byte, error) {
	if len(image) < headerEnd || string(image[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, errors.New("no bzImage: it has no header HdrS")
	}
	sectors := uint64(image[setupSectors])
	if sectors == 0 {
		sectors = 4 // what very old boot loaders took 0 for
	}
	start := (sectors+1)*512 + uint64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	length := uint64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if length < 8 || start+length > uint64(len(image)) {
		return nil, fmt.Errorf("its compressed kernel, %d bytes at %d, isn't inside the %d bytes of the file", length, start, len(image))
	}
	return image[start : start+length], nil
}

// decompressors are programs by what their formats begin with.
var decompressors = []struct{ magic, program string }{
	{"\xfd7zXZ\x00", "xz"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\x1f\x8b", "gzip"},
}

// decompress unpacks a payload by the program for its format: the length that the kernel's
// build puts behind the compressed data isn't given to it.
func decompress(payload []byte) ([]byte, error) {
	for _, d := range decompressors {
		if !bytes.HasPrefix(payload, []byte(d.magic)) {
			continue
		}
		if d.program != "gzip" {
			payload = payload[:len(payload)-4]
		}
		cmd := exec.Command(d.program, "-dc")
		cmd.Stdin = bytes.NewReader(payload)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", d.program, err, errs.String())
		}
		return out, nil
	}
	return nil, fmt.Errorf("a compressed kernel that begins with % x is of no known format", payload[:min(8, len(payload))])
}
