package debian

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sum is the SHA-256 of a file in hexadecimal digits.
func Sum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sumsBelow are the sums of all regular files below a folder, each with its path there.
func sumsBelow(dir string) (string, error) {
	var text strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, err := Sum(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		fmt.Fprintf(&text, "%s  %s\n", sum, filepath.ToSlash(name))
		return err
	})
	return text.String(), err
}

// Verifier returns a function that says whether a file of a package in the cache still is what
// was unpacked. Only those that are used need be looked at: a kernel has thousands.
func (c *Cache) Verifier(name string) (verify func(file string) error, err error) {
	text, err := os.ReadFile(c.seal(name))
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if sum, path, found := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); found {
			sums[path] = sum
		}
	}
	dir := filepath.Join(c.Dir, name)
	return func(file string) error {
		err := compare(dir, file, sums)
		if err != nil {
			return fmt.Errorf("%w; remove %s to have it downloaded again", err, dir)
		}
		return nil
	}, nil
}

// compare compares a file of the package in dir with its sum.
func compare(dir, file string, sums map[string]string) error {
	path, err := filepath.Rel(dir, file)
	if err != nil {
		return err
	}
	want, found := sums[filepath.ToSlash(path)]
	if !found {
		return fmt.Errorf("%s was not in the package", file)
	}
	got, err := Sum(file)
	if err == nil && got != want {
		err = fmt.Errorf("%s isn't what was unpacked: its SHA-256 is %s, and was %s", file, got, want)
	}
	return err
}
