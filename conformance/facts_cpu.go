package conformance

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// cpuFlags are the instructions that matter, as /proc/cpuinfo names them.
var cpuFlags = map[string][]string{
	"amd64": {"clflush", "clflushopt", "clwb", "avx2", "avx512f", "movdir64b"},
	"arm64": {"dcpop", "dcpodp"},
}

// cpuFacts are the instructions of the CPU, and the one that the machine flushes with.
func cpuFacts(m platform.Platform) (facts []report.Fact) {
	const info = "/proc/cpuinfo"
	has, err := readCPUFlags(info)
	for _, flag := range cpuFlags[runtime.GOARCH] {
		f := report.Fact{Name: flag, Has: slices.Contains(has, flag), Why: info}
		if err != nil {
			f.Why = err.Error()
		}
		facts = append(facts, f)
	}
	flush := report.Fact{Name: "flush", Why: "what the machine flushes cache lines with"}
	if ops := m.CacheOps(platform.GranularityCacheLine); ops != nil {
		flush.Has, flush.Value = ops.Instruction != "", ops.Instruction
	}
	return append(facts, flush)
}

// readCPUFlags are those of the first CPU.
func readCPUFlags(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); key == "flags" || key == "Features" {
			return strings.Fields(value), nil
		}
	}
	return nil, nil
}
