package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed c
var sources embed.FS

// howToInstall ends the error about what is missing for the C side.
const howToInstall = "on Debian: apt-get install gcc pkg-config libpmem2-dev"

// programs are the C workers, built.
type programs struct {
	libpmem2, limit string // paths
	version         string // of libpmem2
	compiler        string
}

// findC looks for a C compiler and libpmem2. flags are those of pkg-config.
func findC() (p programs, flags []string, err error) {
	for _, name := range []string{os.Getenv("CC"), "cc", "gcc", "clang"} {
		if name != "" && p.compiler == "" {
			if _, err := exec.LookPath(name); err == nil {
				p.compiler = name
			}
		}
	}
	if p.compiler == "" {
		return p, nil, fmt.Errorf("there is no C compiler ($CC, cc, gcc or clang); %s", howToInstall)
	}
	version, err := exec.Command("pkg-config", "--modversion", "libpmem2").Output()
	if err != nil {
		return p, nil, fmt.Errorf("pkg-config finds no libpmem2 (%w); %s", err, howToInstall)
	}
	out, err := exec.Command("pkg-config", "--cflags", "--libs", "libpmem2").Output()
	if err != nil {
		return p, nil, fmt.Errorf("pkg-config --cflags --libs libpmem2: %w", err)
	}
	p.version = strings.TrimSpace(string(version))
	return p, strings.Fields(string(out)), nil
}

// buildC builds the C workers into dir.
func buildC(ctx context.Context, dir string) (programs, error) {
	p, flags, err := findC()
	if err != nil {
		return p, err
	}
	if err := os.CopyFS(dir, sources); err != nil {
		return p, err
	}
	p.libpmem2, p.limit = filepath.Join(dir, "libpmem2"), filepath.Join(dir, "limit")
	for _, b := range []struct {
		source, program string
		flags           []string
	}{
		{"libpmem2.c", p.libpmem2, flags},
		{"limit.c", p.limit, nil},
	} {
		args := append([]string{"-O2", "-o", b.program, filepath.Join(dir, "c", b.source)}, b.flags...)
		if out, err := exec.CommandContext(ctx, p.compiler, args...).CombinedOutput(); err != nil {
			return p, fmt.Errorf("%s %s: %w\n%s", p.compiler, strings.Join(args, " "), err, out)
		}
	}
	return p, nil
}
