// Package debian takes programs and files from Debian's packages, by their names.
//
// What is installed is used as it is. What isn't is downloaded by apt, which checks its
// signature, and unpacked into a cache, where it stays with the checksums of its files;
// nothing is installed but by Install.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Cache is a folder of unpacked packages.
type Cache struct {
	// Dir is made if it isn't there.
	Dir string
	// Offline takes what is installed and in the cache: nothing else is got.
	Offline bool
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
	// What installs packages has to end by itself. What it has started may outlive it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w: packages are taken by Debian's apt and dpkg, and this is %s", err, system())
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// system is the name and the release of this operating system.
func system() string {
	text, err := os.ReadFile("/etc/os-release")
	_, name, found := strings.Cut("\n"+string(text), "\nPRETTY_NAME=")
	if err != nil || !found {
		return runtime.GOOS
	}
	name, _, _ = strings.Cut(name, "\n")
	return strings.Trim(name, `"`)
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
	slices.Sort(lacking)
	lacking = slices.Compact(lacking)
	if c.Offline || os.Geteuid() != 0 {
		return fmt.Errorf("lacking: %[1]s; install it by: apt-get install --no-install-recommends %[1]s", strings.Join(lacking, " "))
	}
	if err := c.update(ctx); err != nil {
		return err
	}
	c.say("apt-get install %s", strings.Join(lacking, " "))
	if _, err := run(ctx, "", "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, lacking...)...); err != nil {
		return err
	}
	for program, name := range programs {
		if _, err := Program(program); err != nil {
			return fmt.Errorf("package %s is installed, and %s isn't there: %w", name, program, err)
		}
	}
	return nil
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
	if cached != "" && (c.Offline || age < 7*24*time.Hour) {
		return cached, nil
	}
	if c.Offline {
		return "", fmt.Errorf("there's no package %s*%s in %s", prefix, suffix, c.Dir)
	}
	name, err := c.newestKnown(ctx, prefix, suffix)
	if cached == "" || err == nil && name != cached {
		return name, err
	}
	if err == nil {
		// It's still the newest: good for another week.
		now := time.Now()
		err = os.Chtimes(c.seal(cached), now, now)
	}
	if err != nil {
		c.say("%s is old, and taken nevertheless: %v", cached, err)
	}
	return cached, nil
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
		return "", errors.Join(fmt.Errorf("apt knows no package %s*%s: apt-get update fetches its lists, on Debian 12; this is %s", prefix, suffix, system()), updateErr)
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
