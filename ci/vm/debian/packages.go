// Package debian takes programs and files from Debian's packages, by their names.
//
// What is installed is used as it is. What isn't is downloaded by apt, which checks its
// signature, and unpacked into a cache, where it stays; nothing is installed but by Install.
package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Cache is a folder of unpacked packages.
type Cache struct {
	// Dir is made if it isn't there.
	Dir string
	// Say is told what takes time; nil is nobody.
	Say func(format string, args ...any)

	updated bool
}

// DefaultDir is the cache of this user: $XDG_CACHE_HOME/pmemlab, mostly ~/.cache/pmemlab.
func DefaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "pmemlab"), nil
}

func (c *Cache) say(format string, args ...any) {
	if c.Say != nil {
		c.Say(format, args...)
	}
}

// run runs a program, and returns what it printed.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// update fetches apt's lists, once, where this user may.
func (c *Cache) update(ctx context.Context) error {
	if c.updated || os.Geteuid() != 0 {
		return nil
	}
	c.updated = true
	c.say("apt-get update")
	_, err := run(ctx, "", "apt-get", "update", "-qq")
	return err
}

// Install installs packages of which a program isn't there: programs maps each program to
// the package that has it. The error says what only root can install.
func (c *Cache) Install(ctx context.Context, programs map[string]string) error {
	var lacking []string
	for program, name := range programs {
		if _, err := Program(program); err != nil {
			lacking = append(lacking, name)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("lacking: %[1]s; install it by: apt-get install --no-install-recommends %[1]s", strings.Join(lacking, " "))
	}
	if err := c.update(ctx); err != nil {
		return err
	}
	c.say("apt-get install %s", strings.Join(lacking, " "))
	_, err := run(ctx, "", "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, lacking...)...)
	return err
}

// Program is the path of a program, also of one in /usr/sbin that isn't in this user's PATH.
func Program(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", err
}

// Newest is the newest package whose name begins with prefix, ends with suffix, and has
// nothing between them but digits, dots and dashes: "linux-image-6.1.", "-amd64" isn't
// answered by linux-image-6.1.0-9-cloud-amd64. One in the cache is good enough for a week,
// or where apt knows none.
func (c *Cache) Newest(ctx context.Context, prefix, suffix string) (string, error) {
	cached, age := c.newestCached(prefix, suffix)
	if cached != "" && age < 7*24*time.Hour {
		return cached, nil
	}
	name, err := c.newestKnown(ctx, prefix, suffix)
	if err != nil && cached != "" {
		return cached, nil
	}
	return name, err
}

func (c *Cache) newestKnown(ctx context.Context, prefix, suffix string) (string, error) {
	updateErr := c.update(ctx)
	text, err := run(ctx, "", "apt-cache", "pkgnames", prefix)
	if err != nil {
		return "", errors.Join(err, updateErr)
	}
	newest := ""
	for name := range strings.Lines(text) {
		name = strings.TrimSpace(name)
		if !matches(name, prefix, suffix) || newest != "" && !newer(name, newest) {
			continue
		}
		// apt also knows names of packages that it can't get.
		if policy, err := run(ctx, "", "apt-cache", "policy", name); err != nil || !strings.Contains(policy, "Candidate: ") || strings.Contains(policy, "Candidate: (none)") {
			continue
		}
		newest = name
	}
	if newest == "" {
		return "", errors.Join(fmt.Errorf("apt knows no package %s*%s: apt-get update fetches its lists, on Debian 12", prefix, suffix), updateErr)
	}
	return newest, nil
}

func (c *Cache) newestCached(prefix, suffix string) (name string, age time.Duration) {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return "", 0
	}
	for _, e := range entries {
		if !matches(e.Name(), prefix, suffix) || name != "" && !newer(e.Name(), name) {
			continue
		}
		if info, err := os.Stat(c.seal(e.Name())); err == nil {
			name, age = e.Name(), time.Since(info.ModTime())
		}
	}
	return name, age
}

func matches(name, prefix, suffix string) bool {
	if len(name) < len(prefix)+len(suffix) || !strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, suffix) {
		return false
	}
	return strings.Trim(name[len(prefix):len(name)-len(suffix)], "0123456789.-") == ""
}

// newer compares names by the numbers in them.
func newer(a, b string) bool {
	x, y := numbers(a), numbers(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] > y[i]
		}
	}
	return len(x) > len(y)
}

func numbers(s string) (all []int) {
	in := false
	for _, r := range s {
		digit := r >= '0' && r <= '9'
		switch {
		case digit && in:
			all[len(all)-1] = all[len(all)-1]*10 + int(r-'0')
		case digit:
			all = append(all, int(r-'0'))
		}
		in = digit
	}
	return all
}

// seal is the file that says that a package is unpacked as a whole, with its checksum.
func (c *Cache) seal(name string) string { return filepath.Join(c.Dir, name, "SHA256") }

// Unpacked is the folder of a package's files: downloaded, if it isn't in the cache.
func (c *Cache) Unpacked(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(c.Dir, name)
	if _, err := os.Stat(c.seal(name)); err == nil {
		return filepath.Join(dir, "files"), nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", err
	}
	// What is half made has another name until it is whole, so that two can do this at once.
	temporary, err := os.MkdirTemp(c.Dir, "unpacking-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := c.fetch(ctx, name, temporary); err != nil {
		return "", err
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Rename(temporary, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return filepath.Join(dir, "files"), nil
}

// fetch downloads a package to dir and unpacks it into dir/files.
func (c *Cache) fetch(ctx context.Context, name, dir string) error {
	if err := c.update(ctx); err != nil {
		return err
	}
	c.say("download %s", name)
	if _, err := run(ctx, dir, "apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages: %w", name, len(found), err)
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
	return os.WriteFile(filepath.Join(dir, "SHA256"), []byte(sum+"  "+filepath.Base(found[0])+"\n"), 0o644)
}

// Origin says what a package in the cache was made from: the checksum and the name of the
// file that apt downloaded.
func (c *Cache) Origin(name string) (string, error) {
	text, err := os.ReadFile(c.seal(name))
	return strings.TrimSpace(string(text)), err
}

// Sum is the SHA-256 of a file in hexadecimal digits.
func Sum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
