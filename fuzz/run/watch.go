package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"pmemlab/pmem2/platform"
)

// watched is a file that holds the input that is being run, so that it outlives the process:
// a mapping of it, since a system call each time would be the slowest thing there is.
type watched struct{ bytes []byte }

const watchedSize = 1 << 16

func newWatched(path string) (*watched, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the mapping stays
	if err := f.Truncate(watchedSize); err != nil {
		return nil, err
	}
	addr, err := platform.Host().Mmap(0, watchedSize, platform.ProtRead|platform.ProtWrite, platform.MapShared, int(f.Fd()), 0)
	if err != nil {
		return nil, fmt.Errorf("mmap of %s: %w", path, err)
	}
	return &watched{platform.Bytes(addr, watchedSize)}, nil
}

// watch returns what is told the inputs of a target. Of a long one there is the beginning.
func (w *watched) watch(target string) func([]byte) {
	return func(input []byte) {
		b := w.bytes
		binary.LittleEndian.PutUint32(b, uint32(len(target)))
		n := 4 + copy(b[4:], target)
		input = input[:min(len(input), len(b)-n-4)]
		binary.LittleEndian.PutUint32(b[n:], uint32(len(input)))
		copy(b[n+4:], input)
	}
}

// readWatched is what was being run.
func readWatched(path string) (target string, input []byte, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	take := func() []byte {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.LittleEndian.Uint32(b)) {
			err = errors.New("the file of the input is damaged")
			return nil
		}
		n := binary.LittleEndian.Uint32(b)
		field := b[4 : 4+n]
		b = b[4+n:]
		return field
	}
	target, input = string(take()), take()
	if err == nil && target == "" {
		err = errors.New("no input had been run")
	}
	return target, input, err
}
