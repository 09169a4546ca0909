package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// FilesConfig says where the files target puts files. A directory that isn't given
// is looked for: a tmpfs at /dev/shm and in the directory for temporary files, a
// disk in that directory and in the working directory.
type FilesConfig struct {
	Tmpfs string // a directory on a tmpfs
	Disk  string // a directory on a file system that is neither a tmpfs nor DAX
}

// Files is the target of ordinary files, on the kernel that the process runs on. Its
// variants are a tmpfs and a disk; one for which there is no directory lacks
// everything. It leaves nothing behind.
func Files(cfg FilesConfig) Target {
	t := &files{}
	for _, v := range []struct {
		name       string
		dir        string
		candidates []string
		suits      func(dir string) error
	}{
		{"tmpfs", cfg.Tmpfs, []string{"/dev/shm", os.TempDir()}, isTmpfs},
		{"disk", cfg.Disk, []string{os.TempDir(), "."}, isDisk},
	} {
		if v.dir != "" {
			v.candidates = []string{v.dir}
		}
		place := &filesPlace{name: v.name}
		place.dir, place.missing = findDir(v.name, v.candidates, v.suits)
		place.lacksAppendOnly = sync.OnceValue(place.probeAppendOnly)
		t.places = append(t.places, place)
	}
	return t
}

type files struct{ places []*filesPlace }

// filesPlace is a variant.
type filesPlace struct {
	name, dir       string
	missing         string // why there is no directory
	lacksAppendOnly func() string
}

// findDir returns the first directory that suits, or why there is none.
func findDir(what string, candidates []string, suits func(string) error) (dir, missing string) {
	missing = "no directory on a " + what
	for _, c := range candidates {
		abs, err := filepath.Abs(c)
		if err == nil {
			err = suits(abs)
		}
		if err == nil {
			return abs, ""
		}
		missing += fmt.Sprintf("; %s: %v", c, err)
	}
	return "", missing
}

func (*files) Name() string { return "files" }

func (t *files) Variants() []string {
	var names []string
	for _, p := range t.places {
		names = append(names, p.name)
	}
	return names
}

func (t *files) Capabilities() []Need {
	return slices.DeleteFunc(Needs(), func(n Need) bool { return t.Lacks(n) != "" })
}

// Lacks is about a need that every variant lacks.
func (t *files) Lacks(n Need) string {
	if runtime.GOOS != "linux" {
		return "not supported: the files target needs Linux, this is " + runtime.GOOS
	}
	switch n {
	case NeedDevDax:
		return "ordinary files are no device DAX"
	case NeedFSDax:
		return "ordinary files are on no file system with DAX"
	case NeedEADR:
		return "the persistence domain of this machine can't be chosen"
	case NeedSysfsEdit:
		return "the sysfs of this machine can't be edited"
	case NeedDIMM:
		return "there are no NVDIMMs to choose under ordinary files"
	case NeedBadBlock:
		return "the media under ordinary files can't be made to go bad"
	case NeedCrash:
		return "the power of this machine can't be cut"
	}
	why := ""
	for _, p := range t.places {
		lacking := p.lacks(n)
		if lacking == "" {
			return ""
		}
		if why != "" {
			why += "; "
		}
		why += p.name + ": " + lacking
	}
	return why
}

func (t *files) LacksIn(variant string, n Need) string {
	p, err := t.place(variant)
	if err != nil {
		return err.Error()
	}
	return p.lacks(n)
}

func (p *filesPlace) lacks(n Need) string {
	if p.missing != "" {
		return p.missing
	}
	if n == NeedAppendOnly {
		return p.lacksAppendOnly()
	}
	return ""
}

// probeAppendOnly makes an append-only file.
func (p *filesPlace) probeAppendOnly() (why string) {
	e, err := p.newEnv()
	if err != nil {
		return err.Error()
	}
	_, err = e.AppendOnlyFile(0)
	if err := errors.Join(err, e.Close()); err != nil {
		return fmt.Sprintf("the append-only attribute can't be set: %v", err)
	}
	return ""
}

func (t *files) place(variant string) (*filesPlace, error) {
	for _, p := range t.places {
		if p.name == variant {
			return p, nil
		}
	}
	return nil, fmt.Errorf("the files target has no variant %q", variant)
}

// forChild names the directory for both variants: one of them lacks everything then, the
// other is the one.
func (t *files) forChild(variant string) (any, error) {
	p, err := t.place(variant)
	if err != nil {
		return nil, err
	}
	return FilesConfig{Tmpfs: p.dir, Disk: p.dir}, nil
}

func (t *files) NewEnv(variant string) (Env, error) {
	p, err := t.place(variant)
	if err != nil {
		return nil, err
	}
	return p.newEnv()
}

func (p *filesPlace) newEnv() (*filesEnv, error) {
	if p.missing != "" {
		return nil, errors.New(p.missing)
	}
	dir, err := makeOwnDirectory(p.dir)
	if err != nil {
		return nil, err
	}
	l := ledger.New(&elbowRoom{platform.Host()})
	return &filesEnv{dir: dir, ledger: l, machine: newHeldFiles(l)}, nil
}

// filesEnv is a directory of its own.
type filesEnv struct {
	dir     string
	ledger  *ledger.Ledger
	machine *heldFiles // on top of the ledger
	made    int
	undo    []func() error // before the directory is removed, the last one first
}

func (e *filesEnv) Machine() platform.Platform { return e.machine }

func (e *filesEnv) newPath(what string) string {
	e.made++
	return filepath.Join(e.dir, fmt.Sprintf("%s%d", what, e.made))
}

func (e *filesEnv) File(size uint64) (Object, error) {
	if size > 1<<63-1 {
		return nil, fmt.Errorf("a file of %d bytes", size)
	}
	path := e.newPath("file")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(int64(size)), f.Close()); err != nil {
		return nil, err
	}
	return object{machine: e.machine, path: path}, nil
}

func (e *filesEnv) AppendOnlyFile(size uint64) (Object, error) {
	o, err := e.File(size)
	if err != nil {
		return nil, err
	}
	return o, makeAppendOnly(o.Path(), &e.undo)
}

func (e *filesEnv) Directory() (Object, error) {
	path := e.newPath("directory")
	return object{machine: e.machine, path: path}, os.Mkdir(path, 0o700)
}

// BlockDevice is one that can be opened. It is read by nobody.
func (e *filesEnv) BlockDevice() (Object, error) {
	found, err := filepath.Glob("/dev/loop[0-9]*")
	if err != nil {
		return nil, err
	}
	others, err := filepath.Glob("/sys/class/block/*")
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		found = append(found, "/dev/"+filepath.Base(o))
	}
	for _, path := range found {
		if fd, err := platform.Host().Open(path, platform.ORdonly, 0); err == nil {
			st, err := platform.Host().Fstat(fd)
			if err := errors.Join(err, platform.Host().Close(fd)); err != nil {
				return nil, err
			}
			if st.Type() == platform.SIFBLK {
				return object{machine: e.machine, path: path, sysfs: fmt.Sprintf("dev/block/%d:%d", st.Major(), st.Minor())}, nil
			}
		}
	}
	return nil, &UnavailableError{"no block device that this process may open"}
}

func (e *filesEnv) CharDevice() (Object, error) { return zeroDevice(e.machine) }

func (e *filesEnv) CharDeviceWithoutNode() (Object, error) { return terminal(e.machine, &e.undo) }

// errFilesLack is the answer to what Lacks says isn't there.
var errFilesLack = errors.New("the files target doesn't have it")

func (e *filesEnv) DAXFile(uint64) (Object, error)               { return nil, errFilesLack }
func (e *filesEnv) DevDax(uint64, uint64) (Object, error)        { return nil, errFilesLack }
func (e *filesEnv) DAXFileOn(uint64, emu.Region) (Object, error) { return nil, errFilesLack }
func (e *filesEnv) DevDaxOn(uint64, emu.Region) (Object, error)  { return nil, errFilesLack }
func (e *filesEnv) Storage(Object) (Storage, error)              { return Storage{}, errFilesLack }
func (e *filesEnv) AddBadBlock(Object, uint64, uint64) error     { return errFilesLack }
func (e *filesEnv) SetEADR(bool) error                           { return errFilesLack }
func (e *filesEnv) Sysfs() SysfsEditor                           { return nil }

func (e *filesEnv) OrdinaryFile(size uint64) (Object, error) { return e.File(size) }

func (e *filesEnv) Close() error {
	held := e.ledger.Outstanding()
	var errs []error
	for _, undo := range slices.Backward(e.undo) {
		errs = append(errs, undo())
	}
	errs = append(errs, removeOwnDirectory(e.dir))
	if held != nil {
		errs = append(errs, &LeakError{held})
	}
	return errors.Join(errs...)
}
