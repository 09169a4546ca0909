package emu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Sysfs is the sysfs tree of one machine. The devices populate it and tests edit
// it: what the library under test then reads is the edited text.
//
// Paths are relative to the root of sysfs, without a leading slash:
// "bus/nd/devices/region0/persistence_domain". Symbolic links inside a path are
// followed, ".." after a link is the parent of its target, and the last
// component of a path is never followed by Set, Remove, Fail and Link.
//
// The errors of the methods are [syscall.Errno] values, wrapped with the path.
// A Sysfs is safe for any number of goroutines.
type Sysfs struct {
	pageSize int // in bytes; the longest attribute is one shorter

	edits atomic.Int64 // changes since the start

	mu   sync.RWMutex
	root *sysfsNode

	plan atomic.Pointer[sysfsPlan] // the last one; nil at first
}

type sysfsKind int

const (
	sysfsDir sysfsKind = iota
	sysfsAttr
	sysfsLink
)

type sysfsNode struct {
	kind     sysfsKind
	parent   *sysfsNode
	children map[string]*sysfsNode // of a directory
	text     string                // of an attribute; the target of a link
	mode     uint32                // permissions of an attribute
	readErr  syscall.Errno         // of an attribute that exists, but that can't be read
	fail     syscall.Errno         // of every access, set by Fail
	onWrite  attrWriter            // of an attribute, instead of storing the text
	listed   atomic.Pointer[sysfsListing]
}

// sysfsListing are the names in a directory, sorted, as long as there is no further edit.
type sysfsListing struct {
	edits int64
	names []string
}

// attrWriter decides what a write to an attribute does. It is called with mu held and
// must not use the tree.
type attrWriter interface{ writeAttr(text string) error }

func newSysfs(pageSize uint64) *Sysfs {
	root := &sysfsNode{kind: sysfsDir, children: map[string]*sysfsNode{}}
	root.parent = root
	return &Sysfs{pageSize: int(pageSize), root: root}
}

// maxLinks is how many symbolic links Linux follows in one path.
const maxLinks = 40

// walk finds the node of path, starting at dir. follow says whether a link in the
// last place is followed. mu must be held.
func (s *Sysfs) walk(dir *sysfsNode, path string, follow bool, links *int) (*sysfsNode, error) {
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, "/")
		if dir.fail != 0 {
			return nil, dir.fail
		}
		if dir.kind != sysfsDir {
			return nil, syscall.ENOTDIR
		}
		switch name {
		case "", ".":
			continue
		case "..":
			dir = dir.parent
			continue
		}
		next := dir.children[name]
		if next == nil {
			return nil, syscall.ENOENT
		}
		if next.kind == sysfsLink && (follow || more) {
			if next.fail != 0 {
				return nil, next.fail
			}
			if *links++; *links > maxLinks {
				return nil, syscall.ELOOP
			}
			from, target := dir, next.text
			if rest, ok := strings.CutPrefix(target, "/sys/"); ok {
				from, target = s.root, rest
			}
			var err error
			if next, err = s.walk(from, target, true, links); err != nil {
				return nil, err
			}
		}
		dir = next
	}
	return dir, nil
}

// lookup is walk from the root; a node that Set or Fail made fail answers its errno.
func (s *Sysfs) lookup(path string, follow bool) (*sysfsNode, error) {
	links := 0
	n, err := s.walk(s.root, path, follow, &links)
	if err != nil {
		return nil, err
	}
	if n.fail != 0 {
		return nil, n.fail
	}
	return n, nil
}

// place finds the directory that path's last component belongs in, making the
// directories above it that don't exist. mu must be held.
func (s *Sysfs) place(path string) (*sysfsNode, string, error) {
	above, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		above, name = path[:i], path[i+1:]
	}
	if name == "" || name == "." || name == ".." {
		return nil, "", syscall.EINVAL
	}
	links, dir := 0, s.root
	for _, part := range strings.Split(above, "/") {
		next, err := s.walk(dir, part, true, &links)
		if err == syscall.ENOENT {
			if dir.children[part] != nil { // a dangling link
				return nil, "", err
			}
			next = &sysfsNode{kind: sysfsDir, parent: dir, children: map[string]*sysfsNode{}}
			dir.children[part] = next
		} else if err != nil {
			return nil, "", err
		}
		if next.kind != sysfsDir {
			return nil, "", syscall.ENOTDIR
		}
		dir = next
	}
	return dir, name, nil
}

func (s *Sysfs) put(path string, n *sysfsNode) error {
	s.mu.Lock()
	s.edits.Add(1)
	defer s.mu.Unlock()
	dir, name, err := s.place(path)
	if err != nil {
		return fmt.Errorf("sysfs %s: %w", path, err)
	}
	if old := dir.children[name]; old != nil {
		if old.kind == sysfsDir {
			return fmt.Errorf("sysfs %s is a directory: %w", path, syscall.EISDIR)
		}
		if old.kind == sysfsAttr && n.kind == sysfsAttr {
			n.mode, n.fail, n.onWrite = old.mode, old.fail, old.onWrite
		}
	}
	n.parent = dir
	dir.children[name] = n
	return nil
}

// Set gives the attribute at path its text, exactly as it is to be read: sysfs
// ends most attributes with a newline. An attribute that doesn't exist is made,
// readable and writable, and so are the directories above it. EISDIR: path is a
// directory.
func (s *Sysfs) Set(path, text string) error {
	return s.put(path, &sysfsNode{kind: sysfsAttr, text: text, mode: 0o644})
}

// Link makes path a symbolic link to target, which counts from the directory of
// the link, replacing an attribute or a link. EISDIR: path is a directory.
func (s *Sysfs) Link(path, target string) error {
	return s.put(path, &sysfsNode{kind: sysfsLink, text: target})
}

// Remove takes path away with everything below it. ENOENT: there is no such node.
func (s *Sysfs) Remove(path string) error {
	s.mu.Lock()
	s.edits.Add(1)
	defer s.mu.Unlock()
	n, name, err := s.own(path)
	if err != nil {
		return fmt.Errorf("sysfs %s: %w", path, err)
	}
	delete(n.parent.children, name)
	return nil
}

// Fail makes every access to the node at path, and to whatever is reached through
// it, answer errno, and makes it work again when errno is 0. ENOENT: there is no
// such node.
func (s *Sysfs) Fail(path string, errno syscall.Errno) error {
	s.mu.Lock()
	s.edits.Add(1)
	defer s.mu.Unlock()
	n, _, err := s.own(path)
	if err != nil {
		return fmt.Errorf("sysfs %s: %w", path, err)
	}
	n.fail = errno
	return nil
}

// own finds the node that path itself names and its name, also if it fails.
func (s *Sysfs) own(path string) (*sysfsNode, string, error) {
	links := 0
	n, err := s.walk(s.root, path, false, &links)
	if err != nil {
		return nil, "", err
	}
	for name, child := range n.parent.children {
		if child == n {
			return n, name, nil
		}
	}
	return nil, "", syscall.EINVAL // the root
}

func (s *Sysfs) read(path string) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.lookup(path, true)
	switch {
	case err != nil:
		return "", err
	case n.kind == sysfsDir:
		return "", syscall.EISDIR
	case n.mode&0o444 == 0:
		return "", syscall.EACCES // the kernel refuses even root what has no show method
	case n.readErr != 0:
		return "", n.readErr
	}
	return n.text[:min(len(n.text), s.pageSize-1)], nil
}

func (s *Sysfs) write(path, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup(path, true)
	switch {
	case err != nil:
		return err
	case n.kind == sysfsDir:
		return syscall.EISDIR
	case n.mode&0o222 == 0:
		return syscall.EACCES
	}
	s.edits.Add(1)
	if n.onWrite != nil {
		return n.onWrite.writeAttr(text)
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	n.text = text
	return nil
}

func (s *Sysfs) readlink(path string) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.lookup(path, false)
	if err != nil {
		return "", err
	}
	if n.kind != sysfsLink {
		return "", syscall.EINVAL
	}
	return n.text, nil
}

func (s *Sysfs) list(path string) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.lookup(path, true)
	if err != nil {
		return nil, err
	}
	if n.kind != sysfsDir {
		return nil, syscall.ENOTDIR
	}
	edits := s.edits.Load() // which doesn't change while mu is held
	l := n.listed.Load()
	if l == nil || l.edits != edits {
		l = &sysfsListing{edits, slices.Sorted(maps.Keys(n.children))}
		n.listed.Store(l)
	}
	return slices.Clone(l.names), nil
}

// ReadAttr is platform.Sysfs.ReadAttr on the machine's tree.
func (m *Machine) ReadAttr(path string) (string, error) { return m.sysfs.read(path) }

// WriteAttr is platform.Sysfs.WriteAttr on the machine's tree: ENOENT if there is
// no such attribute, EACCES if nothing can be written to it.
func (m *Machine) WriteAttr(path, text string) error {
	err := m.sysfs.write(path, text)
	if err == nil {
		m.mu.Lock()
		m.mem.deepFlushes()
		m.mu.Unlock()
	}
	return err
}

// Readlink is platform.Sysfs.Readlink on the machine's tree.
func (m *Machine) Readlink(path string) (string, error) { return m.sysfs.readlink(path) }

// List is platform.Sysfs.List on the machine's tree.
func (m *Machine) List(path string) ([]string, error) { return m.sysfs.list(path) }
