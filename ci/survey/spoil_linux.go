package survey

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"pmemlab/ci/vm/mce"
	"pmemlab/pmem2/platform"
)

// spoiling is the host with media that machine checks make bad.
type spoiling struct{ *host }

func spoilingHost() Kernel { return spoiling{&host{platform.Host()}} }

// Spoil injects a machine check at the address of the byte.
func (k spoiling) Spoil(path string, off uint64) error {
	fd, err := k.Open(path, platform.ORdonly, 0)
	if err != nil {
		return err
	}
	defer func() { _ = k.Close(fd) }()
	var extents [64]platform.FiemapExtent
	n, err := k.Fiemap(fd, 0, 1<<40, platform.FiemapFlagSync, extents[:])
	if err != nil {
		return fmt.Errorf("fiemap: %w", err)
	}
	st, err := k.Fstat(fd)
	if err != nil {
		return err
	}
	disk := fmt.Sprintf("/sys/dev/block/%d:%d/", platform.Stat{Rdev: st.Dev}.Major(), platform.Stat{Rdev: st.Dev}.Minor())
	text, err := os.ReadFile(disk + "device/resource")
	if err != nil {
		return err
	}
	start, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(disk + "badblocks")
	if err != nil {
		return err
	}
	for _, e := range extents[:n] {
		if off < e.Logical || off >= e.Logical+e.Length {
			continue
		}
		if err := mce.Inject(start+e.Physical+off-e.Logical, 512); err != nil {
			return err
		}
		// The driver of the disk is told after the region.
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			text, err := os.ReadFile(disk + "badblocks")
			if err != nil {
				return err
			}
			if string(text) != string(before) {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%sbadblocks lists nothing new 5 s after a machine check", disk)
			}
		}
	}
	return fmt.Errorf("byte %d is on none of %d extents", off, n)
}
