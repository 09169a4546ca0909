package conformance

import (
	"os"
	"slices"
	"strings"
)

// daxMounts are the directories of this machine where a file system with the option dax
// is mounted.
func daxMounts() (found []string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return daxMountsIn(string(text))
}

// daxMountsIn reads the format of proc(5): the mount point is the fifth field, and behind
// " - " follow the type, the source and the options of the file system.
func daxMountsIn(mountinfo string) (found []string) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		mount, fs := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(fs) < 3 {
			continue
		}
		if slices.ContainsFunc(strings.Split(fs[2], ","), func(option string) bool {
			return option == "dax" || option == "dax=always"
		}) {
			found = append(found, mount[4]+": "+fs[0]+" on "+fs[1])
		}
	}
	return found
}
