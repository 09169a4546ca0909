package conformance

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ownDirectories are the directories of this process that are still there, in file
// systems of this machine.
var ownDirectories struct {
	mu    sync.Mutex
	paths map[string]bool
}

// makeOwnDirectory makes a fresh directory in another.
func makeOwnDirectory(in string) (string, error) {
	path, err := os.MkdirTemp(in, testDirPrefix)
	if err != nil {
		return "", err
	}
	ownDirectories.mu.Lock()
	defer ownDirectories.mu.Unlock()
	if ownDirectories.paths == nil {
		ownDirectories.paths = map[string]bool{}
	}
	ownDirectories.paths[path] = true
	return path, nil
}

// removeOwnDirectory removes such a directory with what is in it.
func removeOwnDirectory(path string) error {
	err := os.RemoveAll(path)
	if errors.Is(err, fs.ErrPermission) {
		// Append-only files can't be removed.
		_ = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				_ = setAppendOnly(file, false)
			}
			return nil
		})
		err = os.RemoveAll(path)
	}
	if err == nil {
		ownDirectories.mu.Lock()
		defer ownDirectories.mu.Unlock()
		delete(ownDirectories.paths, path)
	}
	return err
}

// makeAppendOnly gives a file of this machine the append-only attribute; what clears it is
// added to undo.
func makeAppendOnly(path string, undo *[]func() error) error {
	if err := setAppendOnly(path, true); err != nil {
		// It may be set all the same: reading it back failed, say.
		_ = setAppendOnly(path, false)
		return err
	}
	*undo = append(*undo, func() error { return setAppendOnly(path, false) })
	return nil
}

// RemoveLeft removes the directories of cases that have no end yet: those that were
// interrupted, or took too long. A program calls it when it ends.
func RemoveLeft() error {
	ownDirectories.mu.Lock()
	left := slices.Sorted(maps.Keys(ownDirectories.paths))
	ownDirectories.mu.Unlock()
	var errs []error
	for _, path := range left {
		errs = append(errs, removeOwnDirectory(path))
	}
	return errors.Join(errs...)
}
