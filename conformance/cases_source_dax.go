package conformance

import (
	"slices"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// readSysfs is the text of an attribute of a device.
func readSysfs(t *T, o Object, attr string) string {
	text, err := t.Machine().ReadAttr(o.SysfsDir() + "/" + attr)
	t.suite(err, "read %s of %s", attr, o.Path())
	return text
}

// sysfsNumber is a number that sysfs has about a device.
func sysfsNumber(t *T, o Object, attr string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(readSysfs(t, o, attr)), 10, 64)
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
			o, fd, _ := t.Device()
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			t.NoSource("-EACCES", fd, "device DAX that sysfs doesn't tell of")
		},
	}, {
		Name: "pmem2_source_size/device-dax",
		Rows: []string{"pmem2_source_size/device-dax-size", "pmem2_source_size/PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			o, _, src := t.Device()
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
		Name: "pmem2_source_alignment/device-dax",
		Rows: []string{"pmem2_source_alignment/PMEM2_E_NOSUPP#1", "pmem2_source_alignment/alignment-map-new-needs"},
		Run: func(t *T) {
			_, _, src := t.Device()
			checkAlignment(t, src, daxAlign, "device DAX")
			checkAlignmentNeeded(t, src, daxAlign)
		},
	}, {
		Name:  "pmem2_source_alignment/device-dax-alignments",
		Rows:  []string{"pmem2_source_alignment/alignment-map-new-needs"},
		Needs: []Need{NeedSysfsEdit}, // a machine that can have any device
		Run: func(t *T) {
			for _, align := range []uint64{4096, gib} {
				o := t.made(t.Env.DevDax(2*align, align))
				src := t.Source(t.Open(o, platform.ORdwr))
				checkAlignment(t, src, align, "device DAX")
				checkAlignmentNeeded(t, src, align)
			}
		},
	}, {
		Name: "pmem2_source_size/attribute-unreadable",
		Rows: []string{"pmem2_source_size/-errno#3"},
		Run: func(t *T) {
			o, _, src := t.Device()
			failSysfs(t, o.SysfsDir()+"/size", syscall.EACCES)
			noSize(t, "-EACCES", src, "device DAX whose size can't be opened")
		},
	}, {
		Name: "pmem2_source_alignment/invalid-value",
		Rows: []string{"pmem2_source_alignment/PMEM2_E_INVALID_ALIGNMENT_VALUE#1"},
		Run: func(t *T) {
			o, _, src := t.Device()
			for _, text := range []string{"3145728\n", "0\n", "6\n", "2097151\n", "2097153\n", "18446744073709551615\n"} {
				setSysfs(t, o, "align", text)
				noAlignment(t, "PMEM2_E_INVALID_ALIGNMENT_VALUE", src, "device DAX")
				t.NoMap("PMEM2_E_INVALID_ALIGNMENT_VALUE", t.Config(), src, "device DAX")
			}
			setSysfs(t, o, "align", "2097152\n")
			checkAlignment(t, src, daxAlign, "device DAX with the right text again")
		},
	}}
}

// daxQuestions are the two that sysfs answers for a device DAX, each on a page of
// its own. rows are those of sourceDaxQuestionCases: the pages differ in their
// numbers.
var daxQuestions = []struct {
	page, attr string
	rows       map[string]string // by the case's name
	fails      func(t *T, want string, src Source, what string)
	succeeds   func(t *T, src Source, want uint64, what string)
	refused    []sysfsText // texts that are numbers, but can't be the answer
	badFormat  string      // what a text that is no number gives
}{
	{
		page: "pmem2_source_size", attr: "size", fails: noSize, succeeds: checkSize,
		badFormat: "PMEM2_E_INVALID_SIZE_FORMAT",
		rows: map[string]string{
			"bad-format":            "PMEM2_E_INVALID_SIZE_FORMAT#1",
			"node-unreadable":       "-errno#2",
			"attribute-read-fails":  "-errno#4",
			"number-too-large":      "-errno#5",
			"region-missing":        "PMEM2_E_DAX_REGION_NOT_FOUND#1",
			"bus-unreadable":        "-errno#7",
			"device-node-missing":   "-errno#8",
			"no-namespace":          "(SIGSEGV)#1",
			"unmodified-on-failure": "unmodified-on-failure",
		},
	},
	{
		page: "pmem2_source_alignment", attr: "align", fails: noAlignment, succeeds: checkAlignment,
		badFormat: "PMEM2_E_INVALID_ALIGNMENT_FORMAT",
		refused: []sysfsText{
			{"3145728\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
			{"0\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
		},
		rows: map[string]string{
			"bad-format":            "PMEM2_E_INVALID_ALIGNMENT_FORMAT#1",
			"node-unreadable":       "-errno#2",
			"attribute-read-fails":  "-errno#3",
			"number-too-large":      "-errno#4",
			"region-missing":        "PMEM2_E_DAX_REGION_NOT_FOUND#1",
			"bus-unreadable":        "-errno#6",
			"device-node-missing":   "-errno#6",
			"no-namespace":          "(SIGSEGV)#1",
			"unmodified-on-failure": "unmodified-on-failure",
		},
	},
}

// sysfsText is a text of an attribute, and what it makes of the question.
type sysfsText struct{ text, want string }

// sourceDaxQuestionCases are about what sysfs says, for both questions.
func sourceDaxQuestionCases() []Case {
	var cases []Case
	for _, ask := range daxQuestions {
		add := func(name string, run func(t *T), needs ...Need) {
			row, ok := ask.rows[name]
			if !ok {
				panic("no row for " + ask.page + "/" + name)
			}
			cases = append(cases, Case{
				Name: ask.page + "/" + name, Rows: []string{ask.page + "/" + row}, Needs: needs, Run: run,
			})
		}
		add("bad-format", func(t *T) {
			o, _, src := t.Device()
			right := sysfsNumber(t, o, ask.attr)
			for _, text := range []string{"2M\n", "64M\n", "", "\n", "-1\n", "-2097152\n", "2097152 bytes\n", "2097152\n4096\n", "2097152.0\n", "x\n", "\x00"} {
				setSysfs(t, o, ask.attr, text)
				ask.fails(t, ask.badFormat, src, "device DAX")
			}
			setSysfs(t, o, ask.attr, strconv.FormatUint(right, 10)+"\n")
			ask.succeeds(t, src, right, "device DAX with the right text again")
		})
		add("node-unreadable", func(t *T) {
			o, _, src := t.Device()
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			ask.fails(t, "-EACCES", src, "device DAX that sysfs doesn't tell of any more")
		})
		add("attribute-read-fails", func(t *T) {
			o, _, src := t.Device()
			failSysfs(t, o.SysfsDir()+"/"+ask.attr, syscall.EIO)
			ask.fails(t, "-EIO", src, "device DAX whose attribute can't be read")
		})
		add("number-too-large", func(t *T) {
			o, _, src := t.Device()
			for _, text := range []string{"18446744073709551616\n", "99999999999999999999999999\n"} {
				setSysfs(t, o, ask.attr, text)
				ask.fails(t, "-ERANGE", src, "device DAX")
			}
			// The largest power of two that fits is a number like any other.
			setSysfs(t, o, ask.attr, "9223372036854775808\n")
			ask.succeeds(t, src, 1<<63, "device DAX")
		})
		// What only a C library would ask for, to find the region.
		for _, c := range []struct {
			name, what string
			breaks     func(t *T)
		}{
			{"region-missing", "without a region", func(t *T) { removeFromBus(t, "region") }},
			{"bus-unreadable", "on a bus that can't be read", func(t *T) { failSysfs(t, "bus/nd/devices", syscall.EACCES) }},
			{"no-namespace", "that no namespace matches", func(t *T) { removeFromBus(t, "namespace", "dax") }},
		} {
			add(c.name, func(t *T) {
				o, _, src := t.Device()
				want := sysfsNumber(t, o, ask.attr)
				c.breaks(t)
				ask.succeeds(t, src, want, "device DAX "+c.what)
			})
		}
		// Nothing under /dev can be opened: to the library that is the same as
		// if no node was there, and it spares a real machine its node.
		add("device-node-missing", func(t *T) {
			o, fd, _ := t.Device()
			want := sysfsNumber(t, o, ask.attr)
			t.Lib = t.Inject(`(ENOENT (And (Op open unlink) (PathMatch "/dev/*")))`)
			ask.succeeds(t, t.Source(fd), want, "device DAX without a node")
		}, NeedFaultInjection)
		// Each failure that sysfs can cause, one after the other.
		add("unmodified-on-failure", func(t *T) {
			o, _, src := t.Device()
			for _, c := range append(slices.Clone(ask.refused),
				sysfsText{"77x\n", ask.badFormat}, sysfsText{"18446744073709551616\n", "-ERANGE"}) {
				setSysfs(t, o, ask.attr, c.text)
				ask.fails(t, c.want, src, "device DAX")
			}
			t.suite(t.Env.Sysfs().Remove(o.SysfsDir()+"/"+ask.attr), "remove %s", ask.attr)
			ask.fails(t, "-ENOENT", src, "device DAX without the attribute")
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			ask.fails(t, "-EACCES", src, "device DAX that sysfs doesn't tell of any more")
		}, NeedSysfsEdit)
	}
	return cases
}
