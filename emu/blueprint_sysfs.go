package emu

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// sysfsBlueprint is a node of the sysfs tree, with all below it.
type sysfsBlueprint struct {
	Name    raw `json:",omitempty"` // "" of the root
	Kind    sysfsKind
	Text    raw           `json:",omitempty"` // of an attribute; the target of a link
	Mode    uint32        `json:",omitempty"` // of an attribute
	ReadErr syscall.Errno `json:",omitempty"` // of an attribute
	Fail    syscall.Errno `json:",omitempty"`
	// OnWrite is what a write to an attribute does: "" stores the text. "deep_flush"
	// flushes Region; "scrub" scrubs, which was done Scrubs times.
	OnWrite        string           `json:",omitempty"`
	Region, Scrubs int              `json:",omitempty"`
	Children       []sysfsBlueprint `json:",omitempty"` // of a directory, by name
}

const (
	onWriteDeepFlush = "deep_flush"
	onWriteScrub     = "scrub"
)

var sysfsKindNames = [...]string{sysfsDir: "dir", sysfsAttr: "attr", sysfsLink: "link"}

// MarshalText gives the kind its name.
func (k sysfsKind) MarshalText() ([]byte, error) { return nameOf(sysfsKindNames[:], int(k)) }

// UnmarshalText is the reverse of MarshalText.
func (k *sysfsKind) UnmarshalText(text []byte) error {
	i := slices.Index(sysfsKindNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("kind of a sysfs node is %q, allowed are %q", text, sysfsKindNames)
	}
	*k = sysfsKind(i)
	return nil
}

// blueprint tells the tree; of a tree that wasn't changed it is the same as before, which
// is to be read only.
func (s *Sysfs) blueprint() sysfsBlueprint {
	s.mu.RLock()
	defer s.mu.RUnlock()
	edits := s.edits.Load()
	p := s.plan.Load()
	if p == nil || p.edits != edits {
		p = &sysfsPlan{edits, s.root.blueprint("")}
		s.plan.Store(p)
	}
	return p.root
}

// sysfsPlan is what the tree was after so many edits.
type sysfsPlan struct {
	edits int64
	root  sysfsBlueprint
}

func (n *sysfsNode) blueprint(name string) sysfsBlueprint {
	p := sysfsBlueprint{
		Name: raw(name), Kind: n.kind, Text: raw(n.text), Mode: n.mode, ReadErr: n.readErr, Fail: n.fail,
	}
	switch w := n.onWrite.(type) {
	case *deepFlush:
		p.OnWrite, p.Region = onWriteDeepFlush, w.number
	case *scrubber:
		p.OnWrite, p.Scrubs = onWriteScrub, w.scrubs
	}
	if len(n.children) == 0 {
		return p
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	p.Children = make([]sysfsBlueprint, len(names))
	for i, name := range names {
		p.Children[i] = n.children[name].blueprint(name)
	}
	return p
}

// maxSysfsDepth bounds how many directories are in each other.
const maxSysfsDepth = 1000

// check says what is wrong with a node, whose path it returns, and adds to count how many
// there are. depth is that of p, and the blueprint has as many regions.
func (p *sysfsBlueprint) check(depth, regions int, count *int) (path string, err error) {
	*count++
	switch {
	case *count > maxPlanned:
		err = fmt.Errorf("is one more than the %d that are allowed", maxPlanned)
	case depth > maxSysfsDepth:
		err = fmt.Errorf("is in more than the %d directories that are allowed", maxSysfsDepth)
	case p.Kind < sysfsDir || p.Kind > sysfsLink:
		err = fmt.Errorf("has kind %d, allowed are %q", int(p.Kind), sysfsKindNames)
	case depth == 0 && (p.Kind != sysfsDir || p.Name != "" || p.Fail != 0):
		err = fmt.Errorf("is the root, which must be a directory without a name that doesn't fail")
	case depth > 0 && (p.Name == "" || p.Name == "." || p.Name == ".." || strings.IndexByte(string(p.Name), '/') >= 0):
		err = fmt.Errorf(`has the name %q, allowed are none of "", ".", ".." and names with "/"`, p.Name)
	case p.Mode&^0o7777 != 0:
		err = fmt.Errorf("has mode %#o, allowed are permissions of at most 07777", p.Mode)
	case p.Fail > maxErrno || p.ReadErr > maxErrno:
		err = fmt.Errorf("fails with errno %d and %d, allowed are at most %d", uint64(p.Fail), uint64(p.ReadErr), maxErrno)
	case p.Kind != sysfsDir && p.Children != nil:
		err = fmt.Errorf("has children but is no directory")
	case p.Kind != sysfsAttr && (p.Mode != 0 || p.ReadErr != 0 || p.OnWrite != ""):
		err = fmt.Errorf("has a mode, an error of reads or an effect of writes but is no attribute")
	case p.Kind == sysfsDir && p.Text != "":
		err = fmt.Errorf("has a text but is a directory")
	case p.OnWrite != "" && p.OnWrite != onWriteDeepFlush && p.OnWrite != onWriteScrub:
		err = fmt.Errorf(`does %q when written, allowed are "", %q and %q`, p.OnWrite, onWriteDeepFlush, onWriteScrub)
	case p.Region != 0 && p.OnWrite != onWriteDeepFlush || p.OnWrite == onWriteDeepFlush && (p.Region < 0 || p.Region >= regions):
		err = fmt.Errorf("flushes region %d when written, there are %d", p.Region, regions)
	case p.Scrubs < 0 || p.Scrubs != 0 && p.OnWrite != onWriteScrub:
		err = fmt.Errorf("was scrubbed %d times, allowed is at least 0 for what scrubs", p.Scrubs)
	}
	for i := 0; i < len(p.Children) && err == nil; i++ {
		child := &p.Children[i]
		if i > 0 && child.Name <= p.Children[i-1].Name {
			path, err = string(child.Name), fmt.Errorf("comes after %q, allowed are ascending names", p.Children[i-1].Name)
		} else {
			path, err = child.check(depth+1, regions, count)
		}
	}
	if err != nil && depth > 0 {
		path = string(p.Name) + "/" + path
	}
	return path, err
}

// node makes the node of p and those below it, which are the next of nodes. m.mu must be
// held, and that of the tree.
func (p *sysfsBlueprint) node(m *Machine, parent *sysfsNode, nodes *[]sysfsNode) *sysfsNode {
	n := &(*nodes)[0]
	*nodes = (*nodes)[1:]
	*n = sysfsNode{
		kind: p.Kind, parent: parent, text: string(p.Text), mode: p.Mode, readErr: p.ReadErr, fail: p.Fail,
	}
	switch p.OnWrite {
	case onWriteDeepFlush:
		n.onWrite = (*deepFlush)(m.regions[p.Region])
	case onWriteScrub:
		n.onWrite = &scrubber{s: m.sysfs, path: m.nvdimmBus + "/nfit/scrub", scrubs: p.Scrubs}
	}
	if p.Kind == sysfsDir {
		n.children = make(map[string]*sysfsNode, len(p.Children))
		for i := range p.Children {
			child := &p.Children[i]
			n.children[string(child.Name)] = child.node(m, n, nodes)
		}
	}
	return n
}

// rebuildSysfs makes the tree of p, which was checked and has count nodes, in the place of
// the one that the machine has. mu must be held.
func (m *Machine) rebuildSysfs(p *sysfsBlueprint, count int) {
	m.sysfs.mu.Lock()
	defer m.sysfs.mu.Unlock()
	nodes := make([]sysfsNode, count) // in one piece, which is faster
	root := p.node(m, nil, &nodes)
	root.parent = root
	m.sysfs.root = root
	m.sysfs.edits.Add(1)
}
