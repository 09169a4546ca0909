package conformance

import (
	"os"
	"slices"
	"strings"

	"pmemlab/pmem2"
)

// libraryCPUCases are about the variables that choose instructions. They are read
// when the library is loaded, so that each setting has a process of its own.
func libraryCPUCases() []Case {
	const (
		noCLWB       = "PMEM_NO_CLWB="
		noCLFLUSHOPT = "PMEM_NO_CLFLUSHOPT="
		noMOVNT      = "PMEM_NO_MOVNT="
		threshold    = "PMEM_MOVNT_THRESHOLD="
	)
	const line, page = pmem2.GranularityCacheLine, pmem2.GranularityPage
	file := []Need{NeedFile}
	return []Case{
		{
			Name: "libpmem2/best flush instruction", Needs: file,
			Rows: []string{"libpmem2/granularity-best-flush-instruction"},
			Run: func(t *T) {
				has := flushInstructions(t)
				flushesBy(t, has[0])
				flushesBy(t, has.without("CLWB")[0], noCLWB+"1")
				flushesBy(t, "CLFLUSH", noCLWB+"1", noCLFLUSHOPT+"1")
			},
		},
		{
			Name: "libpmem2/CLWB by default", Needs: file,
			Rows: []string{"libpmem2/clwb-default"},
			Run: func(t *T) {
				flushInstructions(t).need(t, "CLWB")
				flushesBy(t, "CLWB")
				for _, value := range []string{"0", "", "yes", "2", "01", " 1"} { // 1 counts, nothing else
					flushesBy(t, "CLWB", noCLWB+value)
				}
			},
		},
		{
			Name: "libpmem2/no CLWB", Needs: file,
			Rows: []string{"libpmem2/no-clwb"},
			Run: func(t *T) {
				has := flushInstructions(t)
				has.need(t, "CLWB")
				flushesBy(t, has.without("CLWB")[0], noCLWB+"1")
			},
		},
		{
			Name: "libpmem2/CLFLUSHOPT where CLWB isn't", Needs: file,
			Rows: []string{"libpmem2/clflushopt-default-without-clwb"},
			Run: func(t *T) {
				flushInstructions(t).need(t, "CLFLUSHOPT")
				flushesBy(t, "CLFLUSHOPT", noCLWB+"1")
				flushesBy(t, "CLFLUSHOPT", noCLWB+"1", noCLFLUSHOPT+"0")
			},
		},
		{
			Name: "libpmem2/no CLFLUSHOPT", Needs: file,
			Rows: []string{"libpmem2/no-clflushopt"},
			Run: func(t *T) {
				has := flushInstructions(t)
				has.need(t, "CLFLUSHOPT")
				flushesBy(t, has.without("CLFLUSHOPT")[0], noCLFLUSHOPT+"1")
				flushesBy(t, "CLFLUSH", noCLWB+"1", noCLFLUSHOPT+"1")
			},
		},
		{
			Name: "libpmem2/no non-temporal stores", Needs: file,
			Rows: []string{"libpmem2/no-movnt"},
			Run: func(t *T) {
				noNonTemporal(t, noMOVNT+"1")
				storesBySize(t, []string{noMOVNT + "0"}, byDefault, line, page)
			},
		},
		{
			Name: "libpmem2/non-temporal stores by default", Needs: file,
			Rows: []string{"libpmem2/movnt-default-for-larger-ranges"},
			Run:  func(t *T) { storesBySize(t, nil, byDefault, line, page) },
		},
		{
			Name: "libpmem2/threshold of non-temporal stores", Needs: file,
			Rows: []string{"libpmem2/movnt-threshold-value"},
			Run: func(t *T) {
				storesBySize(t, []string{threshold + "100000"}, 100000, line, page)
				storesBySize(t, []string{threshold + "64"}, 64, line, page)
				for _, value := range []string{"-1", "", "many"} { // no number of bytes: as without
					storesBySize(t, []string{threshold + value}, byDefault, line, page)
				}
			},
		},
		{
			Name: "libpmem2/threshold 0", Needs: file,
			Rows: []string{"libpmem2/movnt-threshold-zero"},
			Run:  func(t *T) { storesBySize(t, []string{threshold + "0"}, 1, line, page) },
		},
		{
			Name: "libpmem2/threshold without non-temporal stores", Needs: file,
			Rows: []string{"libpmem2/movnt-threshold-vs-no-movnt"},
			Run: func(t *T) {
				noNonTemporal(t, noMOVNT+"1", threshold+"0")
				noNonTemporal(t, noMOVNT+"1", threshold+"64")
			},
		},
	}
}

// instructions are those of a CPU that flush a line, the best one first.
type instructions []string

// flushInstructions are those that the kernel says this CPU has. It isn't asked in the
// way in which a library asks it.
func flushInstructions(t *T) instructions {
	onX86(t, "CLWB, CLFLUSHOPT and CLFLUSH")
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.NotSupportedf("what this CPU has isn't known: %v", err)
	}
	_, flags, _ := strings.Cut(string(text), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	var has instructions
	for _, name := range []string{"CLWB", "CLFLUSHOPT", "CLFLUSH"} {
		if slices.Contains(strings.Fields(flags), strings.ToLower(name)) {
			has = append(has, name)
		}
	}
	if !slices.Contains(has, "CLFLUSH") {
		t.NotSupportedf("/proc/cpuinfo doesn't tell the flags of this CPU")
	}
	t.Note("/proc/cpuinfo", "%q", has)
	return has
}

func (i instructions) without(name string) instructions {
	return slices.DeleteFunc(slices.Clone(i), func(n string) bool { return n == name })
}

// need ends the case if the CPU doesn't have an instruction.
func (i instructions) need(t *T, name string) {
	if !slices.Contains(i, name) {
		t.NotSupportedf("this CPU has no %s", name)
	}
}
