package debian

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryDirs are where this machine has its shared libraries.
var libraryDirs = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// Libraries are the shared libraries that a program needs, its loader first, each with
// those that it needs itself: the path where the loader looks for it, and the file. None
// for a static program.
func Libraries(program string) (map[string]string, error) {
	found := map[string]string{}
	todo := []string{program}
	for len(todo) > 0 {
		file := todo[0]
		todo = todo[1:]
		names, err := needed(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, name := range names {
			where, err := library(name)
			if err != nil {
				return nil, fmt.Errorf("%s needs %s: %w", file, name, err)
			}
			if _, ok := found[where]; ok {
				continue
			}
			real, err := filepath.EvalSymlinks(where)
			if err != nil {
				return nil, err
			}
			found[where] = real
			todo = append(todo, real)
		}
	}
	return found, nil
}

// needed are the loader and the libraries that an ELF file names.
func needed(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		path := make([]byte, p.Filesz)
		if _, err := p.ReadAt(path, 0); err != nil {
			return nil, err
		}
		names = slices.Insert(names, 0, strings.TrimRight(string(path), "\x00"))
	}
	return names, nil
}

// library finds one by its name, or by its path.
func library(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range libraryDirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("it isn't in any directory of shared libraries")
}
