package conformance

import (
	"bytes"
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// deviceCases checks what a source can tell of the NVDIMMs below it.
func deviceCases() []Case {
	var cases []Case
	for _, ask := range deviceQuestions {
		cases = append(cases, deviceQuestionCases(ask)...)
	}
	cases = append(cases, deviceIDCases()...)
	cases = append(cases, deviceUSCCases()...)
	return append(cases, numaNodeCases()...)
}

// setSysfsPath is setSysfs of any attribute.
func setSysfsPath(t *T, path, text string) {
	t.suite(t.Env.Sysfs().Set(path, text), "set %s", path)
	t.Note("sysfs", "%s now says %q", path, text)
}

// repairSysfs ends what failSysfs began.
func repairSysfs(t *T, path string) {
	t.suite(t.Env.Sysfs().Fail(path, syscall.Errno(0)), "make %s work again", path)
	t.Note("sysfs", "%s works again", path)
}

// noDeviceID expects ReadDeviceID to fail, whatever buffer there is, and to leave it
// alone.
func noDeviceID(t *T, want string, src Source, what string) {
	n, err := src.ReadDeviceID(nil)
	t.Expect(want, err, "ReadDeviceID(no buffer) of %s", what)
	t.Check(n == 0, "with the error comes the length %d", n)
	for _, size := range []int{0, 1, 14, 4096} {
		noDeviceIDInto(t, want, src, size, what)
	}
}

// noDeviceIDInto is noDeviceID for a buffer of size bytes.
func noDeviceIDInto(t *T, want string, src Source, size int, what string) {
	all := pattern(uint64(size)+64, 77) // with memory behind the buffer
	before := bytes.Clone(all)
	n, err := src.ReadDeviceID(all[:size:size])
	t.Expect(want, err, "ReadDeviceID(buffer of %d bytes) of %s", size, what)
	t.checkUnmodified(err, "ReadDeviceID(buffer of %d bytes) of %s", size, what)
	t.Check(n == 0, "with the error comes the length %d", n)
	checkBytes(t, all, before, "the buffer of %d bytes and what is behind it", size)
}

// checkDeviceID expects the identifier want, in each of the two ways to ask.
func checkDeviceID(t *T, src Source, want, what string) {
	n, err := src.ReadDeviceID(nil)
	t.Must(err, "ReadDeviceID(no buffer) of %s", what)
	t.Note("ReadDeviceID of "+what, "%d bytes", n)
	t.Check(n == len(want), "the length of the identifier of %s is %d, want %d, that of %q", what, n, len(want), want)
	for _, fill := range [][]byte{make([]byte, n+64), pattern(uint64(n)+64, 77), bytes.Repeat([]byte("junk"), n+64)} {
		for _, size := range []int{n, n + 1, n + 50} {
			all := bytes.Clone(fill[:n+64])
			got, err := src.ReadDeviceID(all[:size:size])
			t.Must(err, "ReadDeviceID(buffer of %d bytes) of %s", size, what)
			t.Check(got == n, "the length is %d with a buffer of %d bytes, %d without", got, size, n)
			t.Note("the identifier", "%q", all[:n])
			t.Check(string(all[:n]) == want, "the identifier of %s is %q, want %q", what, all[:n], want)
			checkBytes(t, all[n:], fill[n:n+64], "what is behind the identifier in the buffer")
		}
	}
}

// noDeviceUSC expects DeviceUSC to fail. The zero value stands for the output that a
// failing call leaves alone.
func noDeviceUSC(t *T, want string, src Source, what string) {
	n, err := src.DeviceUSC()
	if t.Expect(want, err, "DeviceUSC() of %s", what) {
		t.Check(n == 0, "with the error comes the count %d", n)
	}
	t.checkUnmodified(err, "DeviceUSC() of %s", what)
}

func checkDeviceUSC(t *T, src Source, want uint64, what string) {
	n, err := src.DeviceUSC()
	t.Must(err, "DeviceUSC() of %s", what)
	t.Note("DeviceUSC() of "+what, "%d", n)
	t.Check(n == want, "the count of %s is %d, not %d", what, n, want)
}

// noNUMANode is noDeviceUSC for NUMANode.
func noNUMANode(t *T, want string, src Source, what string) {
	n, err := src.NUMANode()
	if t.Expect(want, err, "NUMANode() of %s", what) {
		t.Check(n == 0, "with the error comes the node %d", n)
		t.checkUnmodified(err, "NUMANode() of %s", what)
	}
}

func checkNUMANode(t *T, src Source, want int, what string) {
	n, err := src.NUMANode()
	t.Must(err, "NUMANode() of %s", what)
	t.Note("NUMANode() of "+what, "%d", n)
	t.Check(n == want, "the node of %s is %d, not %d", what, n, want)
}

// knownRegion is a region whose answers are known: two DIMMs, on node 3.
var knownRegion = emu.Region{
	NUMANode: 3,
	DIMMs: []emu.DIMM{
		{ID: "8680-56341200", DirtyShutdowns: 5},
		{ID: "8089-a2-1837-000019c4", DirtyShutdowns: 7},
	},
}

const (
	knownUSC  = 12
	knownNode = 3
)

// deviceQuestion is one of the three, each on a page of its own. rows are those of
// deviceQuestionCases, where the pages have them: they differ in their numbers.
type deviceQuestion struct {
	page     string
	rows     map[string]string // by the case's name
	attrs    func(s Storage) []string
	fails    func(t *T, want string, src Source, what string)
	succeeds func(t *T, src Source, what string) // of knownRegion
	noRegion string
}

var deviceQuestions = []deviceQuestion{
	{
		page: "pmem2_source_device_id", fails: noDeviceID, noRegion: "PMEM2_E_NOSUPP",
		succeeds: func(t *T, src Source, what string) {
			checkDeviceID(t, src, knownRegion.DIMMs[0].ID+knownRegion.DIMMs[1].ID, what)
		},
		attrs: func(s Storage) []string { return []string{s.DIMMs[0] + "/nfit/id", s.DIMMs[1] + "/nfit/id"} },
		rows: map[string]string{
			"ordinary-file":        "PMEM2_E_NOSUPP#1",
			"closed-descriptor":    "-errno#1",
			"bus-unreadable":       "-errno#2",
			"dev-file-damaged":     "PMEM2_E_INVALID_DEV_FORMAT#1",
			"attribute-unreadable": "-errno#7",
			"region-missing":       "PMEM2_E_DAX_REGION_NOT_FOUND#1",
		},
	},
	{
		page: "pmem2_source_device_usc", fails: noDeviceUSC, noRegion: "PMEM2_E_NOSUPP",
		succeeds: func(t *T, src Source, what string) { checkDeviceUSC(t, src, knownUSC, what) },
		attrs: func(s Storage) []string {
			return []string{s.DIMMs[0] + "/nfit/dirty_shutdown", s.DIMMs[1] + "/nfit/dirty_shutdown"}
		},
		rows: map[string]string{
			"ordinary-file":        "PMEM2_E_NOSUPP#1",
			"closed-descriptor":    "-errno#1",
			"bus-unreadable":       "-errno#2",
			"dev-file-damaged":     "PMEM2_E_INVALID_DEV_FORMAT#1",
			"attribute-unreadable": "-errno#8",
			"region-missing":       "PMEM2_E_DAX_REGION_NOT_FOUND#1",
		},
	},
	{
		page: "pmem2_source_numa_node", fails: noNUMANode, noRegion: "PMEM2_E_DAX_REGION_NOT_FOUND",
		succeeds: func(t *T, src Source, what string) { checkNUMANode(t, src, knownNode, what) },
		attrs:    func(s Storage) []string { return []string{s.Region + "/numa_node"} },
		rows: map[string]string{
			"ordinary-file":        "PMEM2_E_DAX_REGION_NOT_FOUND#1",
			"bus-unreadable":       "-errno#1",
			"dev-file-damaged":     "PMEM2_E_INVALID_DEV_FORMAT#1",
			"attribute-unreadable": "-errno#2",
			"region-missing":       "PMEM2_E_DAX_REGION_NOT_FOUND#1",
		},
	},
}

// onKnownRegion calls f with a DAX file and with a device DAX on knownRegion.
func onKnownRegion(t *T, f func(o Object, fd int, src Source, what string)) {
	o, fd, src := t.DAXFileOn(2*t.Page(), knownRegion)
	f(o, fd, src, "a DAX file")
	o, fd, src = t.DeviceOn(knownRegion)
	f(o, fd, src, "a device DAX")
}

func deviceQuestionCases(ask deviceQuestion) []Case {
	var cases []Case
	add := func(name string, run func(t *T), needs ...Need) {
		if row, ok := ask.rows[name]; ok {
			cases = append(cases, Case{
				Name: ask.page + "/" + name, Rows: []string{ask.page + "/" + row}, Needs: needs, Run: run,
			})
		}
	}
	add("ordinary-file", func(t *T) {
		for _, size := range []uint64{0, 1, t.Page(), 100 * t.Page()} {
			src := t.Source(t.OrdinaryFD(size))
			ask.fails(t, ask.noRegion, src, "an ordinary file")
			checkSize(t, src, size, "the file") // the source is as good as before
		}
		readOnly := t.Source(t.Open(t.made(t.Env.OrdinaryFile(1)), platform.ORdonly))
		ask.fails(t, ask.noRegion, readOnly, "an ordinary file open for reading only")
	})
	add("closed-descriptor", func(t *T) {
		ask.fails(t, "-EBADF", closedSource(t), "a descriptor that is closed")
	})
	add("bus-unreadable", func(t *T) {
		onKnownRegion(t, func(_ Object, _ int, src Source, what string) {
			const bus = "bus/nd/devices"
			ask.succeeds(t, src, what)
			failSysfs(t, bus, syscall.EACCES)
			ask.fails(t, "-EACCES", src, what+" on a bus that can't be listed")
			failSysfs(t, bus, syscall.EIO)
			ask.fails(t, "-EIO", src, what+" on a bus that can't be listed")
			repairSysfs(t, bus)
			ask.succeeds(t, src, what)
		})
	}, NeedDIMM)
	add("dev-file-damaged", func(t *T) {
		other := t.Storage(t.made(t.Env.DAXFileOn(t.Page(), emu.Region{})))
		onKnownRegion(t, func(o Object, _ int, src Source, what string) {
			for _, device := range []string{other.Device, t.Storage(o).Device} {
				for _, text := range []string{"", "259:0", "\n", "x\n", "0:0\n"} {
					setSysfsPath(t, device+"/dev", text)
					ask.succeeds(t, src, what)
				}
				failSysfs(t, device+"/dev", syscall.EIO)
				ask.succeeds(t, src, what)
			}
		})
	}, NeedDIMM)
	add("attribute-unreadable", func(t *T) {
		onKnownRegion(t, func(o Object, _ int, src Source, what string) {
			for _, attr := range ask.attrs(t.Storage(o)) {
				failSysfs(t, attr, syscall.EACCES)
				ask.fails(t, "-EACCES", src, what+" whose attribute can't be opened")
				failSysfs(t, attr, syscall.ENXIO)
				ask.fails(t, "-ENXIO", src, what+" whose attribute can't be read")
				repairSysfs(t, attr)
				ask.succeeds(t, src, what)
			}
			// The way from the source to its region is a part of sysfs, too.
			link := t.Storage(o).Device
			failSysfs(t, link, syscall.EACCES)
			ask.fails(t, "-EACCES", src, what+" whose device can't be looked up")
			repairSysfs(t, link)
			ask.succeeds(t, src, what)
		})
	}, NeedDIMM)
	add("region-missing", func(t *T) {
		onKnownRegion(t, func(o Object, _ int, src Source, what string) {
			region := t.Storage(o).Region
			t.suite(t.Env.Sysfs().Remove(region), "remove %s", region)
			t.Note("sysfs", "%s is gone", region)
			ask.fails(t, ask.noRegion, src, what+" whose region is gone")
		})
	}, NeedDIMM, NeedSysfsEdit)
	return cases
}
