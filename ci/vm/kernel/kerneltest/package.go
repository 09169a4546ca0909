// Package kerneltest makes what a package of a kernel holds, for tests: nothing of it boots.
package kerneltest

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Version is that of the kernel in a package.
const Version = "6.1.0-0-made-up"

// Write makes the folder of an unpacked package: an image, and modules by their paths below
// lib/modules/Version/kernel.
func Write(dir string, image []byte, modules map[string][]byte) error {
	files := map[string][]byte{filepath.Join("boot", "vmlinuz-"+Version): image}
	for name, content := range modules {
		files[filepath.Join("lib", "modules", Version, "kernel", name)] = content
	}
	var errs []error
	for name, content := range files {
		file := filepath.Join(dir, name)
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644))
	}
	return errors.Join(errs...)
}

// Image is a bzImage with one sector of real-mode code and the payload.
func Image(payload []byte) []byte {
	const start = 2 * 512
	image := make([]byte, start, start+len(payload))
	image[0x1f1] = 1
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(image[0x248:], 0)
	binary.LittleEndian.PutUint32(image[0x24c:], uint32(len(payload)))
	return append(image, payload...)
}

// Gzip is the content as a payload.
func Gzip(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	// A bytes.Buffer takes all.
	_, _ = w.Write(content)
	_ = w.Close()
	return b.Bytes()
}

// Vmlinux is an ELF file as a kernel's is, and a payload of Image by Gzip.
func Vmlinux() []byte { return ELF(".notes", "a made-up kernel") }

// Module is an ELF file with lines in a section .modinfo, as "depends=a,b".
func Module(info ...string) []byte {
	return ELF(".modinfo", strings.Join(info, "\x00")+"\x00")
}

// ELF is a file with one section.
func ELF(name, content string) []byte {
	names := "\x00.shstrtab\x00" + name + "\x00"
	data := uint64(binary.Size(elf.Header64{}))
	strs := data + uint64(len(content))
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: strs + uint64(len(names)), Ehsize: uint16(data),
		Shentsize: uint16(binary.Size(elf.Section64{})), Shnum: 3, Shstrndx: 1,
	}
	sections := [3]elf.Section64{
		1: {Name: 1, Type: uint32(elf.SHT_STRTAB), Off: strs, Size: uint64(len(names)), Addralign: 1},
		2: {Name: 11, Type: uint32(elf.SHT_PROGBITS), Off: data, Size: uint64(len(content)), Addralign: 1},
	}
	var b bytes.Buffer
	// A bytes.Buffer takes all.
	_ = binary.Write(&b, binary.LittleEndian, header)
	b.WriteString(content + names)
	_ = binary.Write(&b, binary.LittleEndian, sections)
	return b.Bytes()
}
