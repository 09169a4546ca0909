package mce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	debugFS = "/sys/kernel/debug"
	files   = debugFS + "/mce-inject"
	regions = "/sys/bus/nd/devices/region*"
)

// The machine check: bits of the two registers that say what it is.
const (
	valid        = 1 << 63
	uncorrected  = 1 << 61
	enabled      = 1 << 60
	miscValid    = 1 << 59
	addressValid = 1 << 58
	memoryRead   = 0x9f // of an unknown channel

	physicalAddress = 2 << 6 // what the address is; below is how many of its bits say nothing
)

// limit is how long the kernel may take to handle a machine check, which it does when it
// likes.
const limit = 5 * time.Second

// Inject makes length bytes at a physical address bad: a multiple of length, which is a
// power of two from 1 to 4096. It mounts debugfs if that isn't. It comes back when the
// region's attribute badblocks lists all sectors of 512 bytes that the range touches; device
// DAX and file systems made before may list them later or not at all.
func Inject(address, length uint64) error {
	if length == 0 || length > maxLength || length&(length-1) != 0 || address%length != 0 {
		return fmt.Errorf("machine check for %d bytes at %#x: the length is to be a power of two up to %d, and the address a multiple of it", length, address, maxLength)
	}
	region, start, err := regionAt(address)
	if err != nil {
		return err
	}
	if err := mount(); err != nil {
		return err
	}
	bits := 0
	for ; length>>bits > 1; bits++ {
	}
	// Writing the bank sends it; the bank is of no meaning. flags wants its newline.
	for _, file := range []struct{ name, text string }{
		{"flags", "sw\n"},
		{"status", fmt.Sprintf("%#x\n", uint64(valid|uncorrected|enabled|miscValid|addressValid|memoryRead))},
		{"misc", fmt.Sprintf("%#x\n", physicalAddress|bits)},
		{"addr", fmt.Sprintf("%#x\n", address)},
		{"bank", "1\n"},
	} {
		if err := os.WriteFile(filepath.Join(files, file.name), []byte(file.text), 0); err != nil {
			return fmt.Errorf("injecting a machine check: %w", err)
		}
	}
	first, end := (address-start)/sector, (address-start+length+sector-1)/sector
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(region, "badblocks"))
		if err != nil {
			return err
		}
		if lists(string(text), first, end) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s/badblocks is %q %v after a machine check for sectors %d to %d: the CPU may not be Intel's", region, text, limit, first, end-1)
		}
	}
}

// mount mounts debugfs if mce-inject can't be found.
func mount() error {
	_, err := os.Stat(files)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Mount("debugfs", debugFS, "debugfs", 0, ""); err != nil && err != unix.EBUSY {
		return fmt.Errorf("mounting debugfs on %s: %w", debugFS, err)
	}
	if _, err = os.Stat(files); err != nil {
		return fmt.Errorf("is the module mce-inject loaded? %w", err)
	}
	return nil
}

// regionAt is the sysfs folder of the region that has an address, and where it starts.
func regionAt(address uint64) (string, uint64, error) {
	found, err := filepath.Glob(regions)
	if err != nil {
		return "", 0, err
	}
	for _, region := range found {
		start, err := number(filepath.Join(region, "resource"))
		if err != nil {
			return "", 0, err
		}
		size, err := number(filepath.Join(region, "size"))
		if err != nil {
			return "", 0, err
		}
		if address >= start && address-start < size {
			return region, start, nil
		}
	}
	return "", 0, fmt.Errorf("machine check at %#x: none of %d regions has it", address, len(found))
}

func number(file string) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}
