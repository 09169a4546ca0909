package conformance

import (
	"strconv"
	"strings"
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// numaNodeCases checks pmem2_source_numa_node(3).
func numaNodeCases() []Case {
	const page = "pmem2_source_numa_node/"
	return []Case{{
		Name: page + "anonymous",
		Rows: []string{page + "PMEM2_E_NOSUPP#1", page + "not-for-anonymous"},
		Run: func(t *T) {
			for _, size := range []uint64{0, t.Page(), 1 << 63} {
				noNUMANode(t, "PMEM2_E_NOSUPP", t.AnonSource(size), "anonymous memory")
			}
		},
	}, {
		Name: page + "replaced-by-directory",
		Rows: []string{page + "PMEM2_E_INVALID_FILE_TYPE#1"},
		Run: func(t *T) {
			replaced(t, t.Open(t.made(t.Env.Directory()), platform.ORdonly), "a directory", noNUMANode)
			socket, _ := openSocketPair(t)
			replaced(t, socket, "a socket", noNUMANode)
		},
	}, {
		Name: page + "node-of-source",
		Rows: []string{page + "node-of-source", page + "zero-on-success"},
		Run: func(t *T) {
			for _, node := range []int{3, 0, 1, 1023, -1} {
				onRegion(t, emu.Region{NUMANode: node}, func(_ Object, src Source, what string) {
					checkNUMANode(t, src, node, what)
				})
			}
		},
	}, {
		Name: page + "same-as-ndctl-list",
		Rows: []string{page + "same-as-ndctl-list"},
		Run: func(t *T) {
			for _, node := range []int{0, 3} {
				onRegion(t, emu.Region{NUMANode: node}, func(o Object, src Source, what string) {
					attr := t.Storage(o).Region + "/numa_node"
					text, err := t.Machine().ReadAttr(attr)
					t.suite(err, "read %s", attr)
					t.Note(attr, "%q", text)
					want, err := strconv.Atoi(strings.TrimSuffix(text, "\n"))
					t.suite(err, "%s", attr)
					checkNUMANode(t, src, want, what)
				})
			}
		},
	}, {
		Name:  page + "the-region's-node",
		Rows:  []string{page + "same-as-ndctl-list"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			// Namespace, block device and character device have a node of their own.
			onRegion(t, emu.Region{NUMANode: 3}, func(o Object, src Source, what string) {
				s := t.Storage(o)
				for _, other := range []string{s.Device + "/numa_node", s.Device + "/device/numa_node"} {
					if _, err := t.Machine().ReadAttr(other); err == nil {
						setSysfsPath(t, other, "4\n")
					}
				}
				checkNUMANode(t, src, 3, what)
				for _, node := range []int{5, 0, -1, 2147483647} {
					setSysfsPath(t, s.Region+"/numa_node", strconv.Itoa(node)+"\n")
					checkNUMANode(t, src, node, what)
				}
				for _, text := range []string{"", "\n", "x\n", "1 2\n", "0x1\n", "2147483648\n"} {
					setSysfsPath(t, s.Region+"/numa_node", text)
					noNUMANode(t, "-EINVAL", src, what+" whose region has no number for a node")
				}
			})
		},
	}, {
		Name: page + "unmodified-on-failure",
		Rows: []string{page + "unmodified-on-failure", page + "only-on-persistent-memory"},
		Run: func(t *T) {
			src := t.Source(t.OrdinaryFD(t.Page()))
			noNUMANode(t, "PMEM2_E_DAX_REGION_NOT_FOUND", src, "an ordinary file")
			closed := closedSource(t)
			_, err := closed.NUMANode()
			t.Check(err != nil, "NUMANode() of a descriptor that is closed succeeds")
			noNUMANode(t, t.Lib.Outcome(err), closed, "a descriptor that is closed") // with whatever code
			noNUMANode(t, "PMEM2_E_NOSUPP", t.AnonSource(t.Page()), "anonymous memory")
		},
	}, {
		Name:  page + "unmodified-when-sysfs-fails",
		Rows:  []string{page + "unmodified-on-failure"},
		Needs: []Need{NeedDIMM, NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				failSysfs(t, t.Storage(o).Region+"/numa_node", syscall.EIO)
				noNUMANode(t, "-EIO", src, what+" on a node that can't be read")
			})
		},
	}, {
		Name: page + "needs-libndctl",
		Rows: []string{page + "needs-libndctl"},
		Run: func(t *T) {
			noNUMANode(t, "PMEM2_E_NOSUPP", t.AnonSource(t.Page()), "anonymous memory")
			checkNoLibrary(t)
		},
	}, {
		Name:  page + "works without libndctl",
		Rows:  []string{page + "needs-libndctl"},
		Needs: []Need{NeedDIMM, NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				checkNUMANode(t, src, knownNode, what)
				attr := t.Storage(o).Region + "/numa_node"
				t.suite(t.Env.Sysfs().Remove(attr), "remove %s", attr)
				t.Note("sysfs", "%s is gone, as in a kernel without nodes", attr)
				noNUMANode(t, "PMEM2_E_NOSUPP", src, what+" on a machine that tells no node")
			})
			checkNoLibrary(t)
		},
	}}
}

// checkNoLibrary expects neither libndctl nor libdaxctl to be a part of the process.
func checkNoLibrary(t *T) {
	for _, a := range areas(t) {
		for _, lib := range []string{"libndctl", "libdaxctl"} {
			t.Check(!strings.Contains(a.Path, lib), "%s is loaded", a.Path)
		}
	}
	t.Note("/proc/self/maps", "no libndctl, no libdaxctl")
}
