package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"pmemlab/ci/vm/debian"
	"pmemlab/ci/vm/kernel"
)

// Lab has all that machines need: QEMU, a kernel, the guest program, tools.
type Lab struct {
	qemuProgram string
	kernel      *kernel.Kernel
	origin      string
	guest       string
	kvm         bool
}

// LabConfig says where things are.
type LabConfig struct {
	// Guest is the static program of ci/vm/guest.
	Guest string
	// Cache is a folder for what is downloaded; "" is debian.DefaultDir.
	Cache string
	// Offline takes only what is installed and in the cache.
	Offline bool
	// KVM uses hardware virtualisation even where the CPU doesn't say that it has it.
	KVM bool
	// Say is told what takes time; nil is nobody.
	Say func(format string, args ...any)
}

// programs are those that a lab needs, and the packages that have them.
var programs = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86",
	"mke2fs":             "e2fsprogs",
	"mkfs.xfs":           "xfsprogs",
	"xz":                 "xz-utils",
}

// The kernel is that of Debian 12, which is known best.
const kernelPrefix, kernelSuffix = "linux-image-6.1.", "-amd64"

// NewLab gets what a lab needs: what isn't there is installed, if this is root, and the
// kernel is downloaded and unpacked into the cache. Of what is in the cache each file is
// compared with its checksum before it's used.
func NewLab(ctx context.Context, cfg LabConfig) (*Lab, error) {
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		return nil, fmt.Errorf("a machine's programs are of this machine, which is %s/%s: want linux/amd64", runtime.GOOS, runtime.GOARCH)
	}
	cache := &debian.Cache{Dir: cfg.Cache, Offline: cfg.Offline, Say: cfg.Say}
	if cache.Dir == "" {
		dir, err := debian.DefaultDir()
		if err != nil {
			return nil, err
		}
		cache.Dir = dir
	}
	if err := cache.Install(ctx, programs); err != nil {
		return nil, err
	}
	name, err := cache.Newest(ctx, kernelPrefix, kernelSuffix)
	if err != nil {
		return nil, err
	}
	files, err := cache.Unpacked(ctx, name)
	if err != nil {
		return nil, err
	}
	verify, err := cache.Verifier(name)
	if err != nil {
		return nil, err
	}
	l := &Lab{guest: cfg.Guest, kvm: cfg.KVM || virtualises()}
	if l.kernel, err = kernel.Open(files, filepath.Join(cache.Dir, name), verify); err != nil {
		return nil, err
	}
	if l.origin, err = cache.Origin(name); err != nil {
		return nil, err
	}
	if l.qemuProgram, err = debian.Program("qemu-system-x86_64"); err != nil {
		return nil, err
	}
	return l, nil
}

// String says which kernel it boots, and where that is from.
func (l *Lab) String() string {
	return fmt.Sprintf("kernel %s (%s), %s", l.kernel.Version, l.origin, l.accelerator())
}

// virtualises reports whether the CPU has hardware virtualisation that this user may use.
// Without the flags in cpuinfo a /dev/kvm is one that doesn't run a stock kernel.
func virtualises() bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	_, flags, _ := strings.Cut(string(text), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	has := false
	for f := range strings.FieldsSeq(flags) {
		has = has || f == "vmx" || f == "svm"
	}
	if !has {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

func (l *Lab) accelerator() string {
	if l.kvm {
		return "kvm"
	}
	return "tcg,thread=multi"
}

// makers are the programs that make the file systems of a machine, by their paths there.
func (b Boot) makers() (map[string]string, error) {
	all := map[string]string{}
	if b.Keep {
		return all, nil
	}
	names := map[string]string{"ext4": "mke2fs", "xfs": "mkfs.xfs"}
	for _, d := range b.DIMMs {
		name := names[d.FS]
		if name == "" {
			continue
		}
		program, err := debian.Program(name)
		if err != nil {
			return nil, err
		}
		all["/sbin/"+name] = program
	}
	return all, nil
}

// addProgram adds a file, and if it's a program the shared libraries that it needs.
func addProgram(a *initramfs, name, from string) error {
	if err := a.addFile(name, from); err != nil {
		return err
	}
	if is, err := isELF(from); err != nil || !is {
		return err
	}
	libraries, err := debian.Libraries(from)
	if err != nil {
		return err
	}
	for path, file := range libraries {
		if err := a.addFile(path, file); err != nil {
			return err
		}
	}
	return nil
}

func isELF(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	begin := make([]byte, 4)
	n, err := io.ReadFull(f, begin)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(begin[:n]) == "\x7fELF", err
}
