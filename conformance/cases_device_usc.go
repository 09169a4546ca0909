package conformance

import (
	"fmt"
	"syscall"

	"pmemlab/emu"
)

// dimmCounts are as many DIMMs as there are counts of dirty shutdowns.
func dimmCounts(counts ...uint64) emu.Region {
	var r emu.Region
	for _, n := range counts {
		r.DIMMs = append(r.DIMMs, emu.DIMM{DirtyShutdowns: n})
	}
	return r
}

// deviceUSCCases checks pmem2_source_device_usc(3).
func deviceUSCCases() []Case {
	const page = "pmem2_source_device_usc/"
	noCount := emu.DIMM{NoDirtyShutdown: true}
	return []Case{{
		Name: page + "sum-of-devices",
		Rows: []string{page + "sum-of-devices", page + "zero-on-success"},
		Run: func(t *T) {
			for _, c := range []struct {
				counts []uint64
				want   uint64
			}{
				{[]uint64{0}, 0}, {[]uint64{1}, 1}, {[]uint64{5, 7}, 12}, {[]uint64{7, 0, 5}, 12},
				{[]uint64{1<<31 - 1, 1<<31 - 1, 1<<31 - 1}, 3 * (1<<31 - 1)}, // more than 32 bits hold
			} {
				onRegion(t, dimmCounts(c.counts...), func(_ Object, src Source, what string) {
					checkDeviceUSC(t, src, c.want, fmt.Sprintf("%s on DIMMs with %d", what, c.counts))
				})
			}
		},
	}, {
		Name:  page + "counts-are-read-each-time",
		Rows:  []string{page + "sum-of-devices"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				checkDeviceUSC(t, src, knownUSC, what)
				dimms := t.Storage(o).DIMMs
				setSysfsPath(t, dimms[1]+"/nfit/dirty_shutdown", "8\n")
				checkDeviceUSC(t, src, knownUSC+1, what)
				setSysfsPath(t, dimms[0]+"/nfit/dirty_shutdown", "100\n")
				checkDeviceUSC(t, src, 108, what)
				setSysfsPath(t, dimms[0]+"/nfit/dirty_shutdown", "18446744073709551607\n")
				checkDeviceUSC(t, src, 18446744073709551615, what)
				for _, text := range []string{"18446744073709551608\n", "18446744073709551616\n"} {
					setSysfsPath(t, dimms[0]+"/nfit/dirty_shutdown", text)
					noDeviceUSC(t, "-ERANGE", src, what+" with counts of more than 64 bits")
				}
			})
		},
	}, {
		Name:  page + "no-count",
		Rows:  []string{page + "PMEM2_E_NOSUPP#1", page + "unmodified-on-failure"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			for _, r := range []emu.Region{
				{DIMMs: []emu.DIMM{noCount}},
				{DIMMs: []emu.DIMM{{DirtyShutdowns: 5}, noCount}}, // a sum of some is no sum
				{DIMMs: []emu.DIMM{noCount, {DirtyShutdowns: 5}}},
				{Legacy: true}, // no DIMM at all
			} {
				onRegion(t, r, func(_ Object, src Source, what string) {
					noDeviceUSC(t, "PMEM2_E_NOSUPP", src, fmt.Sprintf("%s on %+v", what, r))
				})
			}
		},
	}, {
		Name: page + "anonymous",
		Rows: []string{page + "PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			for _, size := range []uint64{0, t.Page()} {
				noDeviceUSC(t, "PMEM2_E_NOSUPP", t.AnonSource(size), "anonymous memory")
			}
		},
	}, {
		Name: page + "fstat-fails",
		Rows: []string{page + "-errno#1"},
		Run: func(t *T) {
			// The first fstat is that of SourceFromFD.
			t.Lib = t.Inject("(EIO (And (Op fstat) (FromIndex 1)))")
			noDeviceUSC(t, "-EIO", t.Source(t.FileFD(t.Page())), "a file whose fstat fails")
		},
	}, {
		Name:  page + "count-unreadable",
		Rows:  []string{page + "-errno#3"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				for _, dimm := range t.Storage(o).DIMMs {
					attr := dimm + "/nfit/dirty_shutdown"
					failSysfs(t, attr, syscall.EIO)
					noDeviceUSC(t, "-EIO", src, what+" with a count that can't be read")
					repairSysfs(t, attr)
				}
				checkDeviceUSC(t, src, knownUSC, what)
				// Absent is something else than unreadable.
				for _, dimm := range t.Storage(o).DIMMs {
					t.suite(t.Env.Sysfs().Remove(dimm+"/nfit/dirty_shutdown"), "remove the count of %s", dimm)
					noDeviceUSC(t, "PMEM2_E_NOSUPP", src, what+" with a DIMM that doesn't count")
				}
			})
		},
	}, {
		Name: page + "unmodified-on-failure",
		Rows: []string{page + "unmodified-on-failure"},
		Run: func(t *T) {
			noDeviceUSC(t, "PMEM2_E_NOSUPP", t.Source(t.OrdinaryFD(t.Page())), "an ordinary file")
			noDeviceUSC(t, "PMEM2_E_NOSUPP", t.AnonSource(t.Page()), "anonymous memory")
			noDeviceUSC(t, "-EBADF", closedSource(t), "a descriptor that is closed")
		},
	}, {
		Name:  page + "no-partial-sum",
		Rows:  []string{page + "unmodified-on-failure"},
		Needs: []Need{NeedDIMM, NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				failSysfs(t, t.Storage(o).DIMMs[1]+"/nfit/dirty_shutdown", syscall.EACCES)
				noDeviceUSC(t, "-EACCES", src, what+" whose second DIMM can't be read")
			})
		},
	}}
}
