package emu

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"unicode/utf8"
)

// blueprint is all that a power failure leaves of a machine besides the contents of its
// memory, as plain data that shares nothing with the machine: encoding/json takes it, and
// equal machines have equal ones. Its objects have the numbers of the machine's, by which
// contents are told of.
//
// Left out are what ends with the power: descriptors, mappings, files without a name and
// all in a tmpfs, whose root is a new one. Edits of the sysfs tree stay, as it would be
// tedious for a test to repeat them after each power failure.
//
// Which pages fault isn't told, since it follows from the bad blocks.
type blueprint struct {
	Config      Config
	EADR        bool // as SetEADR left it
	Counts      countsBlueprint
	Phys        uint64                // system physical address of the next region, in bytes
	NVDIMMBus   string                `json:",omitempty"` // path in sysfs; "" without any
	DIMMs       int                   // how many; their paths and counts are in Sysfs
	Regions     []regionBlueprint     `json:",omitempty"`
	Nodes       []nodeBlueprint       `json:",omitempty"` // by number
	FileSystems []fileSystemBlueprint `json:",omitempty"` // in the order in which they were mounted
	Sysfs       sysfsBlueprint        // the root
}

// countsBlueprint are how many there were of each, which gives the next its number.
type countsBlueprint struct {
	Dax, Block, Tmpfs, Virtio, Bus int
	Inode                          int // of device nodes
	Object                         int
}

// regionBlueprint is a region. Its number is its place in the list.
type regionBlueprint struct {
	Bus                    string // path in sysfs
	Start, Size, InfoBlock uint64
	NUMANode, TargetNode   int
	DIMMs                  []int `json:",omitempty"` // numbers, in the order of the mappings
	Legacy                 bool  `json:",omitempty"`
	ReadOnly, FlushHints   bool  `json:",omitempty"`
	// BadListed: its device had bad blocks once, so that clearing some rewrites the
	// attributes badblocks. Bad are those that the region has now.
	BadListed bool              `json:",omitempty"`
	Bad       []extentBlueprint `json:",omitempty"`
}

// nodeBlueprint is a device node.
type nodeBlueprint struct {
	Number      int
	Path        string
	Class       class
	Ino         uint64
	Mode        uint32
	Rdev        uint64
	Size, Align uint64            `json:",omitempty"`
	Region      int               // -1: none
	Bad         []extentBlueprint `json:",omitempty"` // what its driver goes by
}

// fileSystemBlueprint is a mounted file system.
type fileSystemBlueprint struct {
	Config  FS
	Mount   string
	Device  int `json:",omitempty"` // number of the block device; 0 of a tmpfs
	NextIno uint64
	Inodes  []inodeBlueprint // by Ino; the first is the root, and each comes after its directory
}

// inodeBlueprint is a file or directory.
type inodeBlueprint struct {
	Number    int
	Ino       uint64
	Directory bool `json:",omitempty"`
	Parent    int  `json:",omitempty"` // number of its directory; 0 of the root
	Name      raw  `json:",omitempty"`
	Mode      uint32
	// All below is zero of a directory, but Blocks and the attributes.

	Size                  uint64            `json:",omitempty"`
	AppendOnly, Immutable bool              `json:",omitempty"`
	Allocated             []extentBlueprint `json:",omitempty"`
	// Written is where the file has data, though it may be zeroes: contents tell of what
	// isn't zero alone.
	Written []extentBlueprint `json:",omitempty"`
	Blocks  []runBlueprint    `json:",omitempty"`
}

// extentBlueprint is the range [Start, End), in bytes.
type extentBlueprint struct{ Start, End uint64 }

// runBlueprint is a blockRun.
type runBlueprint struct{ Logical, Physical, Length uint64 }

// raw is a string of any bytes, which are no valid JSON if they aren't UTF-8. In JSON it
// then is a zero byte and the bytes in base64.
type raw string

func (s raw) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(s)) && (s == "" || s[0] != 0) {
		return []byte(s), nil
	}
	return append([]byte{0}, base64.StdEncoding.EncodeToString([]byte(s))...), nil
}

func (s *raw) UnmarshalText(text []byte) error {
	if len(text) == 0 || text[0] != 0 {
		*s = raw(text)
		return nil
	}
	bytes, err := base64.StdEncoding.Strict().DecodeString(string(text[1:]))
	*s = raw(bytes)
	return err
}

var classNames = [...]string{
	classDevDax: "devdax", classRegular: "file", classDirectory: "directory", classBlock: "block",
	classZero: "zero", classNull: "null", classTTY: "tty",
}

// MarshalText gives the class of a device node its name.
func (c class) MarshalText() ([]byte, error) { return nameOf(classNames[:], int(c)) }

// nameOf is the name of the constant i.
func nameOf(names []string, i int) ([]byte, error) {
	if i < 0 || i >= len(names) {
		return nil, fmt.Errorf("%d has no name, only 0 to %d have", i, len(names)-1)
	}
	return []byte(names[i]), nil
}

// UnmarshalText is the reverse of MarshalText.
func (c *class) UnmarshalText(text []byte) error {
	i := slices.Index(classNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("class is %q, allowed are %q", text, classNames)
	}
	*c = class(i)
	return nil
}

func blueprintsOf(xs []extent) []extentBlueprint {
	var plans []extentBlueprint // nil without any, so that equal machines have equal blueprints
	for _, x := range xs {
		plans = append(plans, extentBlueprint{x.start, x.end})
	}
	return plans
}

func extentsOf(plans []extentBlueprint) []extent {
	var xs []extent
	for _, p := range plans {
		xs = append(xs, extent{p.Start, p.End})
	}
	return xs
}

// blueprint tells what the machine is now. mu must be held.
func (m *Machine) blueprint() (*blueprint, error) {
	if m.down {
		return nil, errDown
	}
	b := &blueprint{
		Config: m.cfg, EADR: m.eadr, Phys: m.phys, NVDIMMBus: m.nvdimmBus, DIMMs: len(m.nmems),
		Counts: countsBlueprint{
			Dax: m.counts.dax, Block: m.counts.block, Tmpfs: m.counts.tmpfs, Virtio: m.counts.virtio,
			Bus: m.counts.bus, Inode: m.counts.inode, Object: m.counts.object,
		},
		Sysfs: m.sysfs.blueprint(),
	}
	for _, r := range m.regions {
		p := regionBlueprint{
			Bus: r.bus, Start: r.start, Size: r.size, InfoBlock: r.infoBlock,
			NUMANode: r.numaNode, TargetNode: r.targetNode, DIMMs: slices.Clone(r.nmems),
			Legacy: r.legacy, ReadOnly: r.readOnly, FlushHints: r.flushHints,
		}
		if bad := m.bad[r]; bad != nil {
			p.BadListed, p.Bad = true, blueprintsOf(bad.list)
		}
		b.Regions = append(b.Regions, p)
	}
	for path, o := range m.nodes {
		p := nodeBlueprint{
			Number: o.number, Path: path, Class: o.class, Ino: o.ino, Mode: o.mode, Rdev: o.rdev,
			Size: o.size, Align: o.align, Region: -1, Bad: blueprintsOf(o.bad),
		}
		if o.region != nil {
			p.Region = o.region.number
		}
		b.Nodes = append(b.Nodes, p)
	}
	slices.SortFunc(b.Nodes, func(a, b nodeBlueprint) int { return cmp.Compare(a.Number, b.Number) })
	for _, fs := range m.mounts {
		files, err := fs.tell()
		if err != nil {
			return nil, fmt.Errorf("emu: the files of %s: %w", fs.mount, err)
		}
		b.FileSystems = append(b.FileSystems, files)
	}
	return b, nil
}

// tell is what the file system is now. The machine's mu must be held.
func (fs *FileSystem) tell() (fileSystemBlueprint, error) {
	b := fileSystemBlueprint{Config: fs.cfg, Mount: fs.mount, NextIno: fs.nextIno}
	b.Config.Region.DIMMs = slices.Clone(fs.cfg.Region.DIMMs)
	if fs.node == nil { // as it is after a boot
		b.NextIno = rootIno + 1
		b.Inodes = []inodeBlueprint{{Number: fs.root.number, Ino: rootIno, Directory: true, Mode: rootMode}}
		return b, nil
	}
	b.Device = fs.node.number
	root, err := fs.root.tell()
	b.Inodes = []inodeBlueprint{root}
	for todo := []*object{fs.root}; err == nil && len(todo) > 0; todo = todo[1:] {
		for name, o := range todo[0].children {
			var i inodeBlueprint
			if i, err = o.tell(); err != nil {
				break
			}
			i.Parent, i.Name = todo[0].number, raw(name)
			b.Inodes = append(b.Inodes, i)
			if o.class == classDirectory {
				todo = append(todo, o)
			}
		}
	}
	slices.SortFunc(b.Inodes, func(a, b inodeBlueprint) int { return cmp.Compare(a.Ino, b.Ino) })
	return b, err
}

// tell is the file or directory without its name. The machine's mu must be held.
func (o *object) tell() (inodeBlueprint, error) {
	b := inodeBlueprint{
		Number: o.number, Ino: o.ino, Directory: o.class == classDirectory, Mode: o.mode & 0o7777,
		AppendOnly: o.appendOnly, Immutable: o.immutable,
	}
	// On which DIMM a block lies can matter to a power failure, and doesn't change by one.
	if r := o.fs.block.region; r != nil && len(r.nmems) > 1 && !b.Directory {
		if err := o.fs.placeFile(o); err != nil {
			return b, err
		}
	}
	for _, r := range o.blocks {
		b.Blocks = append(b.Blocks, runBlueprint{r.logical, r.physical, r.length})
	}
	if b.Directory {
		return b, nil
	}
	st, err := o.fs.m.host.Fstat(o.keeper)
	if err != nil {
		return b, err
	}
	data, err := written(o.keeper)
	b.Size = uint64(st.Size)
	b.Allocated = blueprintsOf(o.allocated)
	b.Written = blueprintsOf(addExtents(data, o.zeroed))
	return b, err
}
