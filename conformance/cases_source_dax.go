package conformance

import (
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

const (
	daxSize  = 64 * mib
	daxAlign = 2 * mib
)

// daxDevice is a device DAX of daxSize bytes at least, and a source of it.
func daxDevice(t *T) (Object, Source) {
	o, err := t.Env.DevDax(daxSize, daxAlign)
	t.suite(err, "device DAX of %d bytes", daxSize)
	return o, t.Source(t.Open(o, platform.ORdwr))
}

// sysfsNumber is a number that sysfs has about a device.
func sysfsNumber(t *T, o Object, attr string) uint64 {
	text, err := t.Machine().ReadAttr(o.SysfsDir() + "/" + attr)
	t.suite(err, "read %s of %s", attr, o.Path())
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	t.suite(err, "%s of %s", attr, o.Path())
	return n
}

// setSysfs gives an attribute of a device another text.
func setSysfs(t *T, o Object, attr, text string) {
	t.suite(t.Env.Sysfs().Set(o.SysfsDir()+"/"+attr, text), "set %s", attr)
	t.Note("sysfs", "%s now says %q", attr, text)
}

// failSysfs makes a part of sysfs answer errno.
func failSysfs(t *T, path string, errno syscall.Errno) {
	t.suite(t.Env.Sysfs().Fail(path, errno), "make %s fail", path)
	t.Note("sysfs", "%s now answers %v", path, errno)
}

// removeFromBus takes everything off the nd bus whose name begins with one of the
// prefixes.
func removeFromBus(t *T, prefixes ...string) {
	const bus = "bus/nd/devices"
	names, err := t.Machine().List(bus)
	t.suite(err, "list %s", bus)
	removed := 0
	for _, name := range names {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				t.suite(t.Env.Sysfs().Remove(bus+"/"+name), "remove %s", name)
				t.Note("sysfs", "%s/%s is gone", bus, name)
				removed++
				break
			}
		}
	}
	if removed == 0 {
		t.Brokenf("the nd bus has nothing of %q: %q", prefixes, names)
	}
}

func sourceDaxCases() []Case {
	return []Case{{
		Name: "pmem2_source_from_fd/device-node-unreadable",
		Rows: []string{"pmem2_source_from_fd/-errno#1"},
		Run: func(t *T) {
			o, _ := daxDevice(t)
			fd := t.Open(o, platform.ORdwr)
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			noSource(t, "-EACCES", fd, "device DAX that sysfs doesn't tell of")
		},
	}, {
		Name: "pmem2_source_size/device-dax",
		Rows: []string{"pmem2_source_size/device-dax-size", "pmem2_source_size/PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			o, src := daxDevice(t)
			want := sysfsNumber(t, o, "size")
			t.Check(want >= daxSize, "the device has %d bytes", want)
			fd, err := src.FD()
			t.Must(err, "FD()")
			st, err := t.Machine().Fstat(fd)
			t.suite(err, "fstat")
			t.Note("fstat of the device", "size %d", st.Size)
			checkSize(t, src, want, "device DAX")
			readOnly := t.Source(t.Open(o, platform.ORdonly))
			checkSize(t, readOnly, want, "device DAX open for reading only")
			// It is really that long: the last piece can be mapped, and no more.
			cfg := t.Config()
			t.Must(cfg.SetOffset(want-daxAlign), "SetOffset(%d)", want-daxAlign)
			m := t.Map(cfg, src)
			t.Check(m.Size() == daxAlign, "the map of the end has %d bytes, not %d", m.Size(), daxAlign)
			_ = m.Bytes()[daxAlign-1]
			t.Must(cfg.SetLength(2*daxAlign), "SetLength(%d)", 2*daxAlign)
			t.NoMap("PMEM2_E_MAP_RANGE", cfg, src, "%d bytes at offset %d of %d", 2*daxAlign, want-daxAlign, want)
		},
	}, {
		Name: "pmem2_source_size/device-node-missing",
		Rows: []string{"pmem2_source_size/-errno#8"},
		// Nothing under /dev can be opened: to the library that is the same as
		// if no node was there, and it spares a real machine its node.
		Needs: []Need{NeedFaultInjection},
		Run: func(t *T) {
			o, _ := daxDevice(t)
			want := sysfsNumber(t, o, "size")
			fd := t.Open(o, platform.ORdwr)
			src := sourceWithoutNode(t, fd)
			checkSize(t, src, want, "device DAX without a node")
		},
	}, {
		Name: "pmem2_source_alignment/device-dax",
		Rows: []string{"pmem2_source_alignment/PMEM2_E_NOSUPP#1", "pmem2_source_alignment/alignment-map-new-needs"},
		Run: func(t *T) {
			_, src := daxDevice(t)
			checkAlignment(t, src, daxAlign, "device DAX")
			checkAlignmentNeeded(t, src, daxAlign)
		},
	}, {
		Name:  "pmem2_source_alignment/device-dax-alignments",
		Rows:  []string{"pmem2_source_alignment/alignment-map-new-needs"},
		Needs: []Need{NeedSysfsEdit}, // a machine that can have any device
		Run: func(t *T) {
			for _, align := range []uint64{4096, gib} {
				o, err := t.Env.DevDax(2*align, align)
				t.suite(err, "device DAX with an alignment of %d", align)
				src := t.Source(t.Open(o, platform.ORdwr))
				checkAlignment(t, src, align, "device DAX")
				checkAlignmentNeeded(t, src, align)
			}
		},
	}}
}

// sourceWithoutNode is a source on a machine where no path under /dev exists.
func sourceWithoutNode(t *T, fd int) Source {
	lib := t.Inject(`(ENOENT (And (Op open unlink) (PathMatch "/dev/*")))`)
	src, err := lib.SourceFromFD(fd)
	t.Must(err, "SourceFromFD(%d)", fd)
	return src
}

// asksSysfs are the two questions that sysfs answers for a device DAX.
var asksSysfs = []struct {
	page, attr string
	badFormat  string // what a text that is no number gives
	fails      func(t *T, want string, src Source, what string)
	succeeds   func(t *T, src Source, want uint64, what string)
}{
	{"pmem2_source_size", "size", "PMEM2_E_INVALID_SIZE_FORMAT", noSize, checkSize},
	{"pmem2_source_alignment", "align", "PMEM2_E_INVALID_ALIGNMENT_FORMAT", noAlignment, checkAlignment},
}

// sourceDaxSysfsCases are about what sysfs says, for both questions.
func sourceDaxSysfsCases() []Case {
	var cases []Case
	for _, ask := range asksSysfs {
		page, attr := ask.page, ask.attr
		// The rows of the two pages differ in their numbers.
		rows := map[string][]string{
			"pmem2_source_size": {
				"PMEM2_E_INVALID_SIZE_FORMAT#1", "-errno#2", "-errno#5", "PMEM2_E_DAX_REGION_NOT_FOUND#1", "-errno#7", "(SIGSEGV)#1",
			},
			"pmem2_source_alignment": {
				"PMEM2_E_INVALID_ALIGNMENT_FORMAT#1", "-errno#2", "-errno#4", "PMEM2_E_DAX_REGION_NOT_FOUND#1", "-errno#6", "(SIGSEGV)#1",
			},
		}[page]
		add := func(row int, name string, run func(t *T)) {
			cases = append(cases, Case{Name: page + "/" + name, Rows: []string{page + "/" + rows[row]}, Run: run})
		}
		add(0, "bad-format", func(t *T) {
			o, src := daxDevice(t)
			right := sysfsNumber(t, o, attr)
			for _, text := range []string{"2M\n", "64M\n", "", "\n", "-1\n", "-2097152\n", "2097152 bytes\n", "2097152\n4096\n", "2097152.0\n", "x\n", "\x00"} {
				setSysfs(t, o, attr, text)
				ask.fails(t, ask.badFormat, src, "device DAX")
			}
			setSysfs(t, o, attr, strconv.FormatUint(right, 10)+"\n")
			ask.succeeds(t, src, right, "device DAX with the right text again")
		})
		add(1, "node-unreadable", func(t *T) {
			o, src := daxDevice(t)
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			ask.fails(t, "-EACCES", src, "device DAX that sysfs doesn't tell of any more")
		})
		add(2, "number-too-large", func(t *T) {
			o, src := daxDevice(t)
			for _, text := range []string{"18446744073709551616\n", "99999999999999999999999999\n"} {
				setSysfs(t, o, attr, text)
				ask.fails(t, "-ERANGE", src, "device DAX")
			}
			// The largest power of two that fits is a number like any other.
			setSysfs(t, o, attr, "9223372036854775808\n")
			ask.succeeds(t, src, 1<<63, "device DAX")
		})
		add(3, "region-missing", func(t *T) {
			o, src := daxDevice(t)
			want := sysfsNumber(t, o, attr)
			removeFromBus(t, "region")
			ask.succeeds(t, src, want, "device DAX without a region")
		})
		add(4, "bus-unreadable", func(t *T) {
			o, src := daxDevice(t)
			want := sysfsNumber(t, o, attr)
			failSysfs(t, "bus/nd/devices", syscall.EACCES)
			ask.succeeds(t, src, want, "device DAX on a bus that can't be read")
		})
		add(5, "no-namespace", func(t *T) {
			o, src := daxDevice(t)
			want := sysfsNumber(t, o, attr)
			removeFromBus(t, "namespace", "dax")
			ask.succeeds(t, src, want, "device DAX that no namespace matches")
		})
	}
	return cases
}

func sourceDaxSizeCases() []Case {
	return []Case{{
		Name: "pmem2_source_size/attribute-unreadable",
		Rows: []string{"pmem2_source_size/-errno#3"},
		Run: func(t *T) {
			o, src := daxDevice(t)
			failSysfs(t, o.SysfsDir()+"/size", syscall.EACCES)
			noSize(t, "-EACCES", src, "device DAX whose size can't be opened")
		},
	}, {
		Name: "pmem2_source_size/attribute-read-fails",
		Rows: []string{"pmem2_source_size/-errno#4"},
		Run: func(t *T) {
			o, src := daxDevice(t)
			failSysfs(t, o.SysfsDir()+"/size", syscall.EIO)
			noSize(t, "-EIO", src, "device DAX whose size can't be read")
		},
	}, {
		Name: "pmem2_source_size/unmodified-on-failure",
		Rows: []string{"pmem2_source_size/unmodified-on-failure"},
		// Each failure that sysfs can cause, one after the other.
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			o, src := daxDevice(t)
			for _, c := range []struct{ text, want string }{
				{"77x\n", "PMEM2_E_INVALID_SIZE_FORMAT"}, {"18446744073709551616\n", "-ERANGE"},
			} {
				setSysfs(t, o, "size", c.text)
				noSize(t, c.want, src, "device DAX")
			}
			t.suite(t.Env.Sysfs().Remove(o.SysfsDir()+"/size"), "remove size")
			noSize(t, "-ENOENT", src, "device DAX without a size")
		},
	}}
}

func sourceDaxAlignmentCases() []Case {
	return []Case{{
		Name: "pmem2_source_alignment/invalid-value",
		Rows: []string{"pmem2_source_alignment/PMEM2_E_INVALID_ALIGNMENT_VALUE#1"},
		Run: func(t *T) {
			o, src := daxDevice(t)
			for _, text := range []string{"3145728\n", "0\n", "6\n", "2097151\n", "2097153\n", "18446744073709551615\n"} {
				setSysfs(t, o, "align", text)
				noAlignment(t, "PMEM2_E_INVALID_ALIGNMENT_VALUE", src, "device DAX")
				t.NoMap("PMEM2_E_INVALID_ALIGNMENT_VALUE", t.Config(), src, "device DAX")
			}
			setSysfs(t, o, "align", "2097152\n")
			checkAlignment(t, src, daxAlign, "device DAX with the right text again")
		},
	}, {
		Name: "pmem2_source_alignment/attribute-read-fails",
		Rows: []string{"pmem2_source_alignment/-errno#3"},
		Run: func(t *T) {
			o, src := daxDevice(t)
			failSysfs(t, o.SysfsDir()+"/align", syscall.EIO)
			noAlignment(t, "-EIO", src, "device DAX whose alignment can't be read")
		},
	}, {
		Name: "pmem2_source_alignment/device-node-missing",
		Rows: []string{"pmem2_source_alignment/-errno#6"},
		// As for the size.
		Needs: []Need{NeedFaultInjection},
		Run: func(t *T) {
			o, _ := daxDevice(t)
			src := sourceWithoutNode(t, t.Open(o, platform.ORdwr))
			checkAlignment(t, src, daxAlign, "device DAX without a node")
		},
	}, {
		Name:  "pmem2_source_alignment/unmodified-on-failure",
		Rows:  []string{"pmem2_source_alignment/unmodified-on-failure"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			o, src := daxDevice(t)
			for _, c := range []struct{ text, want string }{
				{"3145728\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
				{"0\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
				{"77x\n", "PMEM2_E_INVALID_ALIGNMENT_FORMAT"},
				{"18446744073709551616\n", "-ERANGE"},
			} {
				setSysfs(t, o, "align", c.text)
				noAlignment(t, c.want, src, "device DAX")
			}
			t.suite(t.Env.Sysfs().Remove(o.SysfsDir()+"/align"), "remove align")
			noAlignment(t, "-ENOENT", src, "device DAX without an alignment")
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			noAlignment(t, "-EACCES", src, "device DAX that sysfs doesn't tell of any more")
		},
	}}
}
