package emu

import (
	"errors"
	"path"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// Names: open, unlink and the walk to a file. The machine's mu must be held wherever a
// function takes or gives an object.

const maxName = 255

// errnoOf is the errno of an error that a system call must answer with.
func errnoOf(err error) error {
	var errno syscall.Errno
	if err == nil || errors.As(err, &errno) && errno == 0 {
		return nil
	}
	if errno != 0 {
		return errno
	}
	return syscall.ENOSYS
}

// child is the entry of a directory.
func (fs *FileSystem) child(dir *object, name string) (*object, error) {
	if dir.class != classDirectory {
		return nil, syscall.ENOTDIR
	}
	switch name {
	case "", ".":
		return dir, nil
	case "..":
		return dir.parent, nil
	}
	if len(name) > maxName {
		return nil, syscall.ENAMETOOLONG
	}
	if o := dir.children[name]; o != nil {
		return o, nil
	}
	return nil, syscall.ENOENT
}

// walkParent finds the directory that the last component of name is in.
func (fs *FileSystem) walkParent(name string) (dir *object, last string, err error) {
	parts := strings.Split(name, "/")
	dir = fs.root
	for _, part := range parts[:len(parts)-1] {
		if dir, err = fs.child(dir, part); err != nil {
			return nil, "", err
		}
	}
	last = parts[len(parts)-1]
	if dir.class != classDirectory {
		return nil, "", syscall.ENOTDIR
	}
	return dir, last, nil
}

func (fs *FileSystem) find(name string) (*object, error) {
	dir, last, err := fs.walkParent(name)
	if err != nil {
		return nil, err
	}
	return fs.child(dir, last)
}

// mounted finds the file system that p is in and the name there.
func (m *Machine) mounted(p string) (*FileSystem, string) {
	for _, fs := range m.mounts {
		if p == fs.mount {
			return fs, ""
		}
		if name, ok := strings.CutPrefix(p, fs.mount+"/"); ok {
			return fs, name
		}
	}
	return nil, ""
}

// Open is open(2) of a path of this machine: a device node or a file of a file system.
// Relative paths name nothing.
func (m *Machine) Open(p string, flags int, mode uint32) (int, error) {
	if err := checkOpen(p, flags); err != nil {
		return -1, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return -1, errnoOf(errDown)
	}
	if fs, name := m.mounted(p); fs != nil {
		return fs.open(name, flags, mode)
	}
	o := m.node(path.Clean(p))
	slash := strings.HasSuffix(p, "/")
	switch {
	case o == nil && m.belowNode(p):
		return -1, syscall.ENOTDIR
	case o == nil:
		return -1, syscall.ENOENT
	case slash && flags&platform.OPath == 0 && flags&platform.OCreat != 0:
		return -1, syscall.EISDIR
	case flags&platform.OPath == 0 && flags&platform.OCreat != 0 && flags&platform.OExcl != 0:
		return -1, syscall.EEXIST
	case flags&platform.ODirectory != 0 || slash:
		return -1, syscall.ENOTDIR
	}
	return m.openObject(o, flags)
}

// belowNode says whether the path p leads through a device node. mu must be held.
func (m *Machine) belowNode(p string) bool {
	for p = path.Dir(path.Clean(p)); len(p) > 1; p = path.Dir(p) {
		if m.node(p) != nil {
			return true
		}
	}
	return false
}

// maxPath is how many bytes a path can have.
const maxPath = 4095

// checkPath is what is wrong with a path wherever it leads.
func checkPath(p string) error {
	switch {
	case strings.IndexByte(p, 0) >= 0:
		return syscall.EINVAL
	case len(p) > maxPath:
		return syscall.ENAMETOOLONG
	}
	return nil
}

// checkOpen is what the kernel looks at before it looks for the file.
func checkOpen(p string, flags int) error {
	const tmpfile = platform.OTmpfile &^ platform.ODirectory
	if flags&platform.OPath == 0 && flags&tmpfile != 0 &&
		(flags&platform.ODirectory == 0 || flags&platform.OCreat != 0 || !canWrite(flags)) {
		return syscall.EINVAL
	}
	return checkPath(p)
}

func (fs *FileSystem) open(name string, flags int, mode uint32) (int, error) {
	if flags&platform.OPath != 0 { // all else counts for nothing
		flags &= platform.OPath | platform.OCloexec | platform.ODirectory
	}
	if flags&platform.OTmpfile == platform.OTmpfile {
		return fs.openTmpfile(name, flags, mode)
	}
	create := flags&platform.OCreat != 0
	trimmed := strings.TrimRight(name, "/")
	slash := create && trimmed != "" && trimmed != name // "name/" can't be a file
	if slash {
		name = trimmed
	}
	dir, last, err := fs.walkParent(name)
	if err != nil {
		return -1, err
	}
	if slash {
		return -1, syscall.EISDIR
	}
	o, err := fs.child(dir, last)
	if err == syscall.ENOENT && create {
		if o, err = fs.newInode(classRegular, fs.Path(name), mode&^umask()); err != nil {
			return -1, errnoOf(err)
		}
		fs.journal().creates(o)
		dir.children[last] = o
		fd, err := fs.m.openObject(o, flags)
		if err != nil {
			delete(dir.children, last)
			o.linked = false
			fs.m.release(o)
		}
		return fd, err
	}
	if err != nil {
		return -1, err
	}
	write := flags&platform.OAccmode != platform.ORdonly // the mode 3 asks for both and gives none
	switch {
	case create && flags&platform.OExcl != 0:
		return -1, syscall.EEXIST
	case o.class == classDirectory && (write || create || flags&platform.OTrunc != 0):
		return -1, syscall.EISDIR
	case o.class != classDirectory && flags&platform.ODirectory != 0:
		return -1, syscall.ENOTDIR
	case o.immutable && (write || flags&platform.OTrunc != 0):
		return -1, syscall.EPERM
	case o.appendOnly && (write && flags&platform.OAppend == 0 || flags&platform.OTrunc != 0):
		return -1, syscall.EPERM
	}
	if flags&platform.OTrunc != 0 {
		if err := fs.m.resize(o, o.keeper, 0); err != nil {
			return -1, err
		}
	}
	return fs.m.openObject(o, flags)
}

// openTmpfile makes a file without a name in the directory name.
func (fs *FileSystem) openTmpfile(name string, flags int, mode uint32) (int, error) {
	dir, err := fs.find(name)
	if err != nil {
		return -1, err
	}
	if dir.class != classDirectory {
		return -1, syscall.ENOTDIR
	}
	o, err := fs.newInode(classRegular, fs.Path(name)+"/(unnamed)", mode&^umask())
	if err != nil {
		return -1, errnoOf(err)
	}
	fd, err := fs.m.openObject(o, flags)
	o.linked = false
	fs.m.release(o) // unless it is open now
	return fd, err
}

// Unlink is unlink(2) of a file. Device nodes stay: EPERM.
func (m *Machine) Unlink(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errnoOf(errDown)
	}
	fs, name := m.mounted(p)
	if fs == nil {
		if m.node(path.Clean(p)) != nil {
			return syscall.EPERM
		}
		return syscall.ENOENT
	}
	dir, last, err := fs.walkParent(name)
	if err != nil {
		return err
	}
	o, err := fs.child(dir, last)
	if err != nil {
		return err
	}
	if o.class == classDirectory {
		return syscall.EISDIR
	}
	return fs.unlink(dir, last, o)
}
