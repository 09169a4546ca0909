package kernel

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pmemlab/ci/vm/kernel/kerneltest"
)

func TestPayload(t *testing.T) {
	content := []byte("0123456789")
	put := func(at int, n uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], n); return b }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   string // the payload, or what the error says
		fails  bool
	}{
		"as it is":            {func(b []byte) []byte { return b }, "0123456789", false},
		"an offset":           {func(b []byte) []byte { return put(payloadLength, 8)(put(payloadOffset, 2)(b)) }, "23456789", false},
		"sectors 0 mean 4":    {func(b []byte) []byte { b[setupSectors] = 0; return append(b[:5*512:5*512], content...) }, "0123456789", false},
		"empty":               {func([]byte) []byte { return nil }, "no bzImage", true},
		"ends in its header":  {func(b []byte) []byte { return b[:headerEnd-1] }, "no bzImage", true},
		"no magic":            {func(b []byte) []byte { b[headerMagic] = 'h'; return b }, "no bzImage", true},
		"no payload":          {put(payloadLength, 0), "0 bytes at 1024", true},
		"too short a payload": {put(payloadLength, 7), "7 bytes at 1024", true},
		"one byte too long":   {put(payloadLength, 11), "11 bytes at 1024, isn't inside the 1034 bytes", true},
		"one byte too far":    {put(payloadOffset, 1), "10 bytes at 1025", true},
		"far too long":        {put(payloadLength, 1<<32-1), "4294967295 bytes at 1024", true},
		"far too far":         {put(payloadOffset, 1<<32-1), "10 bytes at 4294968319", true},
	} {
		t.Run(name, func(t *testing.T) {
			image := kerneltest.Image(content)
			if name == "sectors 0 mean 4" {
				image = append(image, make([]byte, 4096)...)
			}
			got, err := payload(c.change(image))
			if (err != nil) != c.fails {
				t.Fatalf("%q, %v: want fails=%v", got, err, c.fails)
			}
			if text := string(got); err == nil && text != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %v: want %q", got, err, c.want)
			}
		})
	}
}

func TestDecompress(t *testing.T) {
	for name, c := range map[string]struct{ payload, want string }{
		"no format":   {"0123456789", "begins with 30 31 32 33 34 35 36 37 is of no known format"},
		"xz, damaged": {"\xfd7zXZ\x00 and rubbish", "xz"},
		"gzip, cut":   {string(kerneltest.Gzip(kerneltest.Vmlinux())[:40]), "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decompress([]byte(c.payload))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d bytes, %v: want an error with %q", len(got), err, c.want)
			}
		})
	}
	t.Run("no program", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := decompress([]byte("\xfd7zXZ\x00 01234567")); err == nil || !strings.Contains(err.Error(), "xz") {
			t.Errorf("%v: want one that names xz", err)
		}
	})
}

// made is a package of a kernel, and the folder for what is made of it.
func made(t *testing.T, image []byte, modules map[string][]byte) (files, cache string) {
	t.Helper()
	files, cache = filepath.Join(t.TempDir(), "files"), t.TempDir()
	if err := kerneltest.Write(files, image, modules); err != nil {
		t.Fatal(err)
	}
	return files, cache
}

var oneModule = map[string][]byte{"a.ko": kerneltest.Module("name=a")}

func TestOpenExtractsTheKernel(t *testing.T) {
	files, cache := made(t, kerneltest.Image(kerneltest.Gzip(kerneltest.Vmlinux())), oneModule)
	vmlinux := filepath.Join(cache, "vmlinux-"+kerneltest.Version)
	look := func(when string, want []byte) {
		t.Helper()
		k, err := Open(files, cache, nil)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		got, err := os.ReadFile(k.Image)
		if err != nil || k.Image != vmlinux || string(got) != string(want) || k.Version != kerneltest.Version {
			t.Fatalf("%s: version %s, %s with %d bytes, %v: want %s with %d", when, k.Version, k.Image, len(got), err, vmlinux, len(want))
		}
		// Nothing half made is left.
		entries, err := os.ReadDir(cache)
		if err != nil || len(entries) != 2 {
			t.Fatalf("%s: %v, %v: want the vmlinux and its checksums", when, entries, err)
		}
	}
	look("first", kerneltest.Vmlinux())
	before := stat(t, vmlinux)
	look("again", kerneltest.Vmlinux())
	if !os.SameFile(before, stat(t, vmlinux)) {
		t.Error("it was made again without need")
	}
	for name, change := range map[string]func() error{
		"changed":          func() error { return os.WriteFile(vmlinux, []byte("\x7fELF but another"), 0o644) },
		"empty":            func() error { return os.Truncate(vmlinux, 0) },
		"gone":             func() error { return os.Remove(vmlinux) },
		"without its sums": func() error { return os.Remove(vmlinux + ".SHA256SUMS") },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		look(name, kerneltest.Vmlinux())
	}
	other := kerneltest.ELF(".notes", "another kernel")
	if err := kerneltest.Write(files, kerneltest.Image(kerneltest.Gzip(other)), nil); err != nil {
		t.Fatal(err)
	}
	look("of another image", other)
}

func stat(t *testing.T, file string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestOpenBootsTheCompressedKernelWithoutItsProgram(t *testing.T) {
	files, cache := made(t, kerneltest.Image([]byte("\x28\xb5\x2f\xfd 0123456789")), oneModule)
	t.Setenv("PATH", t.TempDir())
	k, err := Open(files, cache, nil)
	if err != nil || k.Image != filepath.Join(files, "boot", "vmlinuz-"+kerneltest.Version) {
		t.Errorf("%+v, %v: want the vmlinuz", k, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := kerneltest.Image(kerneltest.Gzip(kerneltest.Vmlinux()))
	for name, c := range map[string]struct {
		image   []byte
		modules map[string][]byte
		more    string // a file to be there, too
		want    string
	}{
		"no modules":          {good, nil, "", "lib/modules/" + kerneltest.Version},
		"only other files":    {good, map[string][]byte{"a.ko.xz": nil}, "", "there's no module *.ko"},
		"no kernel":           {[]byte("MZ"), oneModule, "", "no bzImage"},
		"no ELF file":         {kerneltest.Image(kerneltest.Gzip([]byte("a boot loader"))), oneModule, "", "no ELF file"},
		"two kernels":         {good, oneModule, "boot/vmlinuz-6.1.0-1-amd64", "has 2 kernels"},
		"compressed somehow":  {kerneltest.Image([]byte("LZ4, it may be")), oneModule, "", "4c 5a 34 2c"},
		"damaged compression": {kerneltest.Image(kerneltest.Gzip(kerneltest.Vmlinux())[:40]), oneModule, "", "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			files, cache := made(t, c.image, c.modules)
			if c.more != "" {
				if err := os.WriteFile(filepath.Join(files, c.more), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			k, err := Open(files, cache, nil)
			if err == nil || !strings.Contains(filepath.ToSlash(err.Error()), c.want) {
				t.Errorf("%+v, %v: want an error with %q", k, err, c.want)
			}
			if strings.Contains(err.Error(), "%!") {
				t.Errorf("%v: that's no text", err)
			}
		})
	}
	t.Run("no package", func(t *testing.T) {
		if _, err := Open(t.TempDir(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "has 0 kernels") || strings.Contains(err.Error(), "%!") {
			t.Errorf("%v: want one that says 0 kernels", err)
		}
	})
}

func TestWhatIsUsedIsVerified(t *testing.T) {
	files, cache := made(t, kerneltest.Image(kerneltest.Gzip(kerneltest.Vmlinux())), map[string][]byte{
		"a.ko": kerneltest.Module("depends=b"), "b.ko": kerneltest.Module(), "c.ko": kerneltest.Module(),
	})
	var seen []string
	damaged, bad := "", errors.New("damaged")
	verify := func(file string) error {
		seen = append(seen, filepath.Base(file))
		if filepath.Base(file) == damaged {
			return bad
		}
		return nil
	}
	k, err := Open(files, cache, verify)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Modules("a"); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(seen, " "), "vmlinuz-"+kerneltest.Version+" a.ko b.ko"; got != want {
		t.Errorf("verified: %s; want %s", got, want)
	}
	damaged = "b.ko"
	if _, err := k.Modules("a"); !errors.Is(err, bad) {
		t.Errorf("with %s damaged: %v", damaged, err)
	}
	damaged = "vmlinuz-" + kerneltest.Version
	if _, err := Open(files, cache, verify); !errors.Is(err, bad) {
		t.Errorf("with %s damaged: %v", damaged, err)
	}
}
