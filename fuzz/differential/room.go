//go:build libpmem2

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// around is how far before and behind room nothing may be mapped: as far as a file can be
// long, and more.
const around = 17 << 40

// triesVariable counts how often this process has begun anew.
const triesVariable = "PMEMLAB_DIFFERENTIAL_TRIES"

// makeRoom sees that there is nothing around room. Go puts its heap at an address that it picks
// by chance: if it lies there this process executes its program once more.
func makeRoom() error {
	taken, err := mapped(room-around, room+around)
	if err != nil || !taken {
		return err
	}
	tries, _ := strconv.Atoi(os.Getenv(triesVariable))
	if tries == 50 {
		return fmt.Errorf("in each of %d processes something is mapped between %#x and %#x", tries, uint64(room-around), uint64(room+around))
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv(triesVariable, strconv.Itoa(tries+1)); err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, os.Environ())
}

// mapped says whether this process has something mapped from start to end.
func mapped(start, end uint64) (taken bool, err error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return false, err
	}
	for lines := bufio.NewScanner(f); lines.Scan() && err == nil; {
		var from, to uint64
		if _, err = fmt.Sscanf(lines.Text(), "%x-%x", &from, &to); from < end && to > start {
			taken = true
		}
	}
	return taken, errors.Join(err, f.Close())
}
