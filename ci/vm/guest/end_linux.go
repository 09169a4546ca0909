package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pmemlab/ci/vm/plan"
)

// outbox is the serial line by which files leave the machine.
const outbox = "/dev/ttyS1"

// sendOut sends the files in plan.Out, and how the guest ended, as a compressed tar.
func sendOut(report plan.End) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(plan.Out, plan.EndFile), text, 0o644); err != nil {
		return err
	}
	line, err := os.OpenFile(outbox, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = line.Close() }()
	if err := makeRaw(line); err != nil {
		return fmt.Errorf("%s: %w", outbox, err)
	}
	buffer := bufio.NewWriterSize(line, 1<<16)
	zip, err := gzip.NewWriterLevel(buffer, gzip.BestSpeed)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	if err := archive.AddFS(os.DirFS(plan.Out).(fs.ReadDirFS)); err != nil {
		return err
	}
	for _, closer := range []func() error{archive.Close, zip.Close, buffer.Flush} {
		if err := closer(); err != nil {
			return err
		}
	}
	return unix.IoctlSetInt(int(line.Fd()), unix.TCSBRK, 1) // wait until all is sent
}

// makeRaw has a serial line send bytes as they are.
func makeRaw(line *os.File) error {
	t, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	return unix.IoctlSetTermios(int(line.Fd()), unix.TCSETS, t)
}

// end ends the machine with a status, at once: nothing is synced or unmounted. It doesn't
// return.
func end(status int) {
	if port, err := os.OpenFile("/dev/port", os.O_WRONLY, 0); err == nil {
		_, _ = port.WriteAt([]byte{byte(plan.FirstExit + status)}, plan.ExitPort)
	}
	// There is no exit device: to the host this is a machine that died.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}
