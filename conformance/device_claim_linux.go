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
	return slices.ContainsFunc(links, func(link string) bool { return isDevice(link, rdev) })
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
		start, end, _ := strings.Cut(fields[0], "-")
		at := dir + "/map_files/" + strings.TrimLeft(start, "0") + "-" + strings.TrimLeft(end, "0")
		// Who may not follow that looks by name, but below /dev alone: elsewhere it could
		// take forever, on a file system of the network.
		if isDevice(at, rdev) || strings.HasPrefix(fields[5], "/dev/") && isDevice(dir+"/root"+fields[5], rdev) {
			return true
		}
	}
	return false
}

// isDevice tells whether a path leads to a character device, wherever its node is. It isn't
// opened, and no server is asked.
func isDevice(at string, rdev uint64) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, at, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && unix.Mkdev(st.Rdev_major, st.Rdev_minor) == rdev
}
