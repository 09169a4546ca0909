package main

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"pmemlab/ci/vm/plan"
)

// makers make file systems: the program and its arguments before the device.
var makers = map[string][]string{
	// Small devices would get blocks of 1 KiB, which DAX refuses.
	"ext4": {"/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"},
	"xfs":  {"/sbin/mkfs.xfs", "-q", "-f"},
}

// makeFileSystem makes the file system of a place, if it has one, and mounts it. With keep
// it's there already.
func makeFileSystem(p *plan.Place, keep bool) error {
	source, kind := p.Device, p.FS
	switch {
	case p.Kind == plan.Tmpfs:
		source, kind = "tmpfs", "tmpfs"
	case p.FS == "":
		return nil
	case !keep:
		maker, ok := makers[p.FS]
		if !ok {
			return fmt.Errorf("%s: file system %q: want ext4 or xfs", p.Name, p.FS)
		}
		args := append(append(maker[1:len(maker):len(maker)], p.MakeFS...), p.Device)
		if out, err := exec.Command(maker[0], args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %s %v: %w\n%s", p.Name, maker[0], args, err, out)
		}
	}
	mount := "/mnt/" + p.Name
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, mount, kind, 0, p.Options); err != nil {
		return fmt.Errorf("%s: mount %s with %q: %w", p.Name, kind, p.Options, err)
	}
	p.Mount = mount
	return nil
}
