package emu

import (
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What Linux 6.1 listed of machines like ours: testdata has one line for each attribute
// (its mode, and its text or why it can't be read) and each symbolic link. Both ways: what
// the kernel has we have, with mode and text, and we have nothing else beside it.
func TestRegionsAsListed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listing string
		cfg     Config
		add     func(m *Machine)
		other   *strings.Replacer // what is called otherwise there
		differs []string          // patterns of what may have another text
		lacks   []string          // patterns of what we leave out
	}{
		{
			// Firmware of our own making in QEMU: a set of two DIMMs, the second of which
			// has failed, and one alone, both with flush hints; and one that has none and
			// doesn't know "smart". The firmware doesn't tell the persistence domain.
			listing: "testdata/sysfs-interleaved.txt",
			cfg:     Config{NoPersistenceDomain: true},
			add: func(m *Machine) {
				m.AddDevDax(DevDax{Size: 126 << 20, Region: Region{DIMMs: []DIMM{
					{ID: "8680-01100000", DirtyShutdowns: 5},
					{ID: "8680-02100000", DirtyShutdowns: 7, Flags: "flush_fail"},
				}}})
				m.AddFS(FS{Size: 62 << 20, Region: Region{DIMMs: []DIMM{{ID: "8680-03100000", DirtyShutdowns: 3}}}})
				m.AddDevDax(DevDax{Size: 62 << 20, Region: Region{
					DIMMs: []DIMM{{ID: "8680-04100000", NoDirtyShutdown: true}}, NoFlushHints: true,
				}})
			},
			// A namespace that was there for a time had taken a number.
			other: strings.NewReplacer("252:2", "252:1", `MINOR=2\nDEVNAME=dax2.0`, `MINOR=1\nDEVNAME=dax2.0`),
			differs: []string{
				`/uuid$`, `/diskseq$`, `^dev/block/.*/uevent$`, // DISKSEQ
				`/nfit/phys_id$`,
				// Our regions begin at multiples of 128 MiB.
				`^bus/nd/devices/.*2\..*/resource$`, `^bus/nd/devices/region2/resource$`,
				`^dev/char/252:1/(resource|mapping0/start|mapping0/end)$`,
				`^bus/nd/devices/region0/badblocks$`,            // it had one
				`/nfit/scrub$`,                                  // it was scrubbing
				`^bus/nd/devices/region0/(mapping.|set_cookie)`, // both DIMMs said that they begin the set
			},
			lacks: diskLacks,
		},
		{
			listing: "testdata/sysfs-memmap.txt", // memmap=128M!512M
			add: func(m *Machine) {
				m.AddDevDax(DevDax{Size: 126 << 20, Region: Region{Legacy: true}})
			},
			other:   strings.NewReplacer("252:1", "252:0", `MINOR=1\nDEVNAME=dax0.0`, `MINOR=0\nDEVNAME=dax0.0`),
			differs: []string{`/uuid$`, `/resource$`, `/mapping0/(start|end)$`},
		},
	} {
		m := NewMachine(c.cfg)
		c.add(m)
		if err := m.Err(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(c.listing)
		if err != nil {
			t.Fatal(err)
		}
		listed, dirs := map[string]bool{}, map[string]bool{}
		for line := range strings.Lines(c.other.Replace(string(text))) {
			name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
			listed[name] = true
			dirs[path.Dir(name)] = true
			if matches(c.lacks, name) {
				continue
			}
			got, mode := describe(m.sysfs, name)
			if matches(c.differs, name) {
				got = mode
				want, _, _ = strings.Cut(want, " ")
			}
			if got != want {
				t.Errorf("%s: %s is %s, want %s", c.listing, name, got, want)
			}
		}
		if len(listed) < 100 {
			t.Errorf("%s lists %d nodes, want more", c.listing, len(listed))
		}
		for dir := range dirs {
			if !strings.Contains(dir, "/devices/") && !strings.HasPrefix(dir, "dev/") || dir == "dev/char" {
				continue // it wasn't listed whole
			}
			if matches(c.lacks, dir+"/x") {
				continue
			}
			names, err := m.List(dir)
			if err != nil {
				t.Errorf("%s: %s: %v", c.listing, dir, err)
			}
			for _, name := range names {
				name = path.Join(dir, name)
				if _, err := m.List(name); err == nil && !isLink(m.sysfs, name) {
					continue // a directory
				}
				if !listed[name] {
					t.Errorf("%s: %s isn't there on Linux", c.listing, name)
				}
			}
		}
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}

// diskLacks is what the emulated block devices leave out.
var diskLacks = []string{
	`^dev/block/[^/]*/integrity/.*$`,
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if regexp.MustCompile(p).MatchString(name) {
			return true
		}
	}
	return false
}

func isLink(s *Sysfs, name string) bool {
	_, err := s.readlink(name)
	return err == nil
}

// describe is what a listing has after the name, and of an attribute the part of it that
// tells the mode.
func describe(s *Sysfs, name string) (all, mode string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup(name, false)
	switch {
	case err != nil:
		return err.Error(), ""
	case n.kind == sysfsLink:
		return "-> " + n.text, ""
	case n.kind == sysfsDir:
		return "a directory", ""
	}
	mode = "[0" + strconv.FormatUint(uint64(n.mode), 8) + "]"
	if n.readErr != 0 {
		return mode + " read: " + errnoNames[n.readErr], mode
	}
	return mode + " = " + strconv.Quote(n.text), mode
}

var errnoNames = map[syscall.Errno]string{syscall.ENXIO: "ENXIO", syscall.EINVAL: "EINVAL"}

// The cookies of sets that Linux 6.1 was given.
func TestSetCookie(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  []member
		want uint64
	}{
		{[]member{{0, 0x56341200}}, 0x2468ac00123456},
		{[]member{{0, 0x57341200}}, 0x2468ae00123457},
		{[]member{{0, 0x03100000}}, 0x200600001003},
		{[]member{{0, 0x04100000}}, 0x200800001004},
		// Both DIMMs were at 0; the kernel's sort turned them round.
		{[]member{{0, 0x02100000}, {0, 0x01100000}}, 0x800e00002003},
	} {
		if got := setCookie(c.set); got != c.want {
			t.Errorf("%v: got %#x, want %#x", c.set, got, c.want)
		}
	}
	// By hand: words 0 0 0x1001 0, then 0x1000 0 0x1002 0.
	if got, want := setCookie([]member{{0, 0x01100000}, {0x1000, 0x02100000}}), uint64(0xc00a00003003); got != want {
		t.Errorf("two DIMMs of one set: got %#x, want %#x", got, want)
	}
}
