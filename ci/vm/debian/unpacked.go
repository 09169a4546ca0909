package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// seal is the file that says that a package is unpacked as a whole: the checksum of what apt
// downloaded, and those of all files, in the format of sha256sum.
func (c *Cache) seal(name string) string { return filepath.Join(c.Dir, name, "SHA256SUMS") }

// made begins the first line of a seal, which sha256sum takes for a comment.
const made = "# unpacked from "

// Unpacked is the folder of a package's files: downloaded, if it isn't in the cache.
func (c *Cache) Unpacked(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(c.Dir, name)
	files := filepath.Join(dir, "files")
	if _, err := os.Stat(c.seal(name)); err == nil {
		return files, nil
	}
	if c.Offline {
		return "", fmt.Errorf("package %s isn't in %s", name, c.Dir)
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", err
	}
	c.sweep()
	// What is half made has another name until it is whole, so that two can do this at once.
	temporary, err := os.MkdirTemp(c.Dir, unpacking)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	if err := c.fetch(ctx, name, temporary); err != nil {
		return "", err
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return "", err
	}
	err = os.Rename(temporary, dir)
	if !errors.Is(err, fs.ErrExist) {
		return files, err
	}
	// Another one was faster, and may use it already; or what is there has no seal.
	if _, err := os.Stat(c.seal(name)); err == nil {
		return files, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return files, os.Rename(temporary, dir)
}

// unpacking begins the names of folders that are half made.
const unpacking = "unpacking-"

// sweep removes what was left half made by a process that was killed.
func (c *Cache) sweep() {
	left, err := filepath.Glob(filepath.Join(c.Dir, unpacking+"*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(dir) //nolint:errcheck // the next one tries again
		}
	}
}

// fetch downloads a package to dir, unpacks it into dir/files, and seals it.
func (c *Cache) fetch(ctx context.Context, name, dir string) error {
	if err := c.update(ctx); err != nil {
		return err
	}
	c.say("download %s", name)
	if _, err := run(ctx, dir, "apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages, not one", name, len(found))
	}
	sum, err := Sum(found[0])
	if err != nil {
		return err
	}
	if _, err := run(ctx, dir, "dpkg-deb", "-x", found[0], filepath.Join(dir, "files")); err != nil {
		return err
	}
	if err := os.Remove(found[0]); err != nil {
		return err
	}
	sums, err := sumsBelow(dir)
	if err != nil {
		return err
	}
	text := made + sum + "  " + filepath.Base(found[0]) + "\n" + sums
	return os.WriteFile(filepath.Join(dir, filepath.Base(c.seal(name))), []byte(text), 0o644)
}

// Origin says what a package in the cache was made from: the checksum and the name of the
// file that apt downloaded.
func (c *Cache) Origin(name string) (string, error) {
	text, err := os.ReadFile(c.seal(name))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	origin, found := strings.CutPrefix(line, made)
	if !found {
		return "", fmt.Errorf("%s begins with %q: want %q", c.seal(name), line, made)
	}
	return origin, nil
}
