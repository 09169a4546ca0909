package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// flockExclusively takes the exclusive lock of an open file, or fails at once.
func flockExclusively(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }

// usersOfDevice names the processes that have a device open or mapped, as far as this
// process may see them: "process 42 (daemon)".
func usersOfDevice(d *daxDevice) (users []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		if hasOpen(dir, d.rdev) || hasMapped(dir, d.rdev) {
			name, _ := os.ReadFile(dir + "/comm")
			users = append(users, fmt.Sprintf("process %s (%s)", filepath.Base(dir), strings.TrimSpace(string(name))))
		}
	}
	return users
}

// hasOpen looks through the descriptors of a process.
func hasOpen(dir string, rdev uint64) bool {
	links, _ := filepath.Glob(dir + "/fd/*")
	return slices.ContainsFunc(links, func(link string) bool {
		target, err := os.Readlink(link)
		return err == nil && isDeviceNode(target, link, rdev)
	})
}

// hasMapped looks through the shared mappings of a process: there are no others of a
// device DAX.
func hasMapped(dir string, rdev uint64) bool {
	maps, _ := os.ReadFile(dir + "/maps")
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "s") {
			continue
		}
		if isDeviceNode(fields[5], dir+"/root"+fields[5], rdev) {
			return true
		}
	}
	return false
}

// isDeviceNode tells whether a path below /dev names a device, which is looked at by
// another path to it. Others aren't looked at: that could take forever on a file system
// of the network.
func isDeviceNode(name, at string, rdev uint64) bool {
	if !strings.HasPrefix(name, "/dev/") {
		return false
	}
	var st unix.Stat_t
	return unix.Stat(at, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == rdev
}
