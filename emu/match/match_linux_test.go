package match_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"pmemlab/emu"
	"pmemlab/emu/check"
	"pmemlab/emu/exact"
	"pmemlab/emu/match"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

const size = 2 << 20

func addDevice(m *emu.Machine) error {
	m.AddDevDax(emu.DevDax{Size: size})
	return m.Err()
}

// mapped maps the device of m.
func mapped(m *emu.Machine) (*pmem2.Map, error) {
	dax, err := m.DevDax("/dev/dax0.0")
	if err != nil {
		return nil, err
	}
	f, err := dax.Open(platform.ORdwr)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m))
	if err != nil {
		return nil, err
	}
	cfg := pmem2.NewConfig()
	if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine); err != nil {
		return nil, err
	}
	return pmem2.NewMap(cfg, src)
}

// newMachine returns a machine with its device mapped, until the end of the test.
func newMachine(t *testing.T) (*emu.Machine, *pmem2.Map) {
	t.Helper()
	m := emu.NewMachine(emu.Config{})
	if err := addDevice(m); err != nil {
		t.Fatal(err)
	}
	p, err := mapped(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Delete(), m.Shutdown()); err != nil {
			t.Error(err)
		}
	})
	return m, p
}

// assert makes an assertion and returns the message of its failure, "" if it holds.
func assert(actual any, matcher types.GomegaMatcher, not bool) string {
	return strings.Join(gomegaFailures(func(g gomega.Gomega) {
		if not {
			g.Expect(actual).NotTo(matcher)
			return
		}
		g.Expect(actual).To(matcher)
	}), "\n")
}

func gomegaFailures(f func(gomega.Gomega)) (all []string) {
	f(gomega.NewGomega(func(message string, _ ...int) { all = append(all, message) }))
	return all
}

// programs break a rule, or none.
var programs = []struct {
	name     string
	run      func(p *pmem2.Map) error
	lose     check.Rule // proven
	waste    check.Rule // possible
	at       int        // a byte that was stored
	durable  bool
	guiltyAt string // what the message names
}{
	{"persisted", func(p *pmem2.Map) error {
		p.Bytes()[100] = 1
		return p.Persist(p.Bytes()[100:101])
	}, "", "", 100, true, ""},
	{"not flushed", func(p *pmem2.Map) error {
		p.Bytes()[100] = 1
		return nil
	}, check.StoreNeverFlushed, "", 100, false, "1 bytes at 0x64 of /dev/dax0.0"},
	{"not fenced", func(p *pmem2.Map) error {
		p.Bytes()[100] = 1
		return p.Flush(p.Bytes()[100:101])
	}, check.FlushedNeverFenced, "", 100, false, "1 bytes at 0x64 of /dev/dax0.0"},
	{"another line persisted", func(p *pmem2.Map) error {
		p.Bytes()[100], p.Bytes()[200] = 1, 1
		return p.Persist(p.Bytes()[200:201])
	}, check.StoreNeverFlushed, "", 100, false, "1 bytes at 0x64 of /dev/dax0.0"},
	{"flushed twice", func(p *pmem2.Map) error {
		p.Bytes()[100] = 1
		return errors.Join(p.Flush(p.Bytes()[100:101]), p.Persist(p.Bytes()[100:101]))
	}, "", check.FlushedTwice, 100, true, ""},
}

func TestDurable(t *testing.T) {
	for _, row := range programs {
		t.Run(row.name, func(t *testing.T) {
			m, p := newMachine(t)
			if err := row.run(p); err != nil {
				t.Fatal(err)
			}
			b := p.Bytes()[row.at:][:1]
			for _, a := range []struct {
				actual  any
				matcher types.GomegaMatcher
			}{
				{b, match.BeDurableOn(m)}, {m, match.HaveDurable(b)}, {&emu.Run{Machine: m}, match.HaveDurable(b)}, {&emu.Crashed{Machine: m}, match.HaveDurable(b)},
			} {
				message, negated := assert(a.actual, a.matcher, false), assert(a.actual, a.matcher, true)
				if (message == "") != row.durable || (negated == "") == row.durable {
					t.Errorf("%T: got %q and negated %q, want durable: %t", a.actual, message, negated, row.durable)
				}
				if !row.durable && !strings.Contains(message, "to be durable\nemu: line 0x40 of /dev/dax0.0 isn't durable: ") {
					t.Errorf("%T: the message is %q, want line 0x40 in it", a.actual, message)
				}
				if row.durable && (!strings.HasPrefix(negated, "Expected the 1 bytes at 0x") || !strings.HasSuffix(negated, "not to be durable\nthey are")) {
					t.Errorf("%T: the negated message is %q", a.actual, negated)
				}
			}
		})
	}
}

func TestFindings(t *testing.T) {
	for _, row := range programs {
		t.Run(row.name, func(t *testing.T) {
			m, p := newMachine(t)
			if err := row.run(p); err != nil {
				t.Fatal(err)
			}
			for _, rule := range check.Rules() {
				for _, possible := range []bool{false, true} {
					var o []match.Option
					if possible {
						o = append(o, match.Possible())
					}
					counts := possible || exact.Enabled() // exact mode proves waste
					has := rule == row.lose || counts && rule == row.waste
					matcher := match.HaveFinding(rule, o...)
					if message, negated := assert(m, matcher, false), assert(m, matcher, true); (message == "") != has || (negated == "") == has {
						t.Errorf("HaveFinding(%s), possible %t: got %q and negated %q, want found: %t", rule, possible, message, negated, has)
					}
					none := row.lose == "" && (!counts || row.waste == "")
					matcher = match.HaveNoFindings(o...)
					message, negated := assert(m, matcher, false), assert(m, matcher, true)
					if (message == "") != none || (negated == "") == none {
						t.Errorf("HaveNoFindings, possible %t: got %q and negated %q, want none: %t", possible, message, negated, none)
					}
					if !none && !strings.Contains(message, "Expected the machine to have no findings\nfindings: 1") || !strings.Contains(message, row.guiltyAt) {
						t.Errorf("the message is %q, want %q in it", message, row.guiltyAt)
					}
				}
			}
			if row.waste != "" && !exact.Enabled() {
				message := assert(m, match.HaveFinding(row.waste), false)
				if !strings.Contains(message, "findings: 0, and 1 only possible (Possible counts them)") {
					t.Errorf("the message is %q, want it to tell of the possible finding", message)
				}
			}
		})
	}
}

// TestManyFindings: a message doesn't tell them all.
func TestManyFindings(t *testing.T) {
	m, p := newMachine(t)
	flush := func(i int) error {
		p.Bytes()[64*i] = 1
		return p.Flush(p.Bytes()[64*i:][:1])
	}
	// Findings with the same callers are one.
	err := errors.Join(
		flush(0),
		flush(1),
		flush(2),
		flush(3),
		flush(4),
		flush(5),
		flush(6),
		flush(7),
		flush(8),
		flush(9),
		flush(10),
		flush(11),
	)
	if err != nil {
		t.Fatal(err)
	}
	message := assert(m, match.HaveNoFindings(), false)
	if n := strings.Count(message, "\n    flushed-never-fenced: "); n != 10 || !strings.HasSuffix(message, "\n    and 2 more") {
		t.Errorf("the message tells %d findings, want 10 and how many more:\n%s", n, message)
	}
}

// explored explores a program that stores a text and a flag.
func explored(t *testing.T, persisted, possible bool) *emu.Exploration {
	t.Helper()
	x, err := emu.Explore(func(run *emu.Run) error {
		p, err := mapped(run.Machine)
		if err != nil {
			return err
		}
		b := p.Bytes()
		b[64], b[65+8] = 1, 1 // two words of a line
		if persisted {
			err = p.Persist(b[64:80])
		}
		b[0] = 1
		return errors.Join(err, p.Persist(b[:1]), p.Delete())
	}, nil, func(c *emu.Crashed) error {
		p, err := mapped(c.Machine)
		if err != nil {
			return err
		}
		b := p.Bytes()
		switch {
		case b[0] == 1 && b[64] == 0:
			err = errors.New("the flag without the text")
		case possible && b[64] != b[65+8]:
			err = errors.New("half of the text")
		}
		return errors.Join(err, p.Delete())
	}, emu.ExploreOptions{Setup: addDevice, InProcess: true, Possible: possible})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestCrashFindings(t *testing.T) {
	for _, row := range []struct {
		name                string
		persisted, possible bool
		proven, any         bool // has findings
	}{
		{"correct", true, false, false, false},
		{"not persisted", false, false, true, true},
		{"torn, possible", true, true, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := explored(t, row.persisted, row.possible)
			for _, a := range []struct {
				matcher types.GomegaMatcher
				has     bool
			}{{match.HaveNoCrashFindings(), row.proven}, {match.HaveNoCrashFindings(match.Possible()), row.any}} {
				message, negated := assert(x, a.matcher, false), assert(x, a.matcher, true)
				if (message == "") == a.has || (negated == "") != a.has {
					t.Errorf("got %q and negated %q, want findings: %t", message, negated, a.has)
				}
				if a.has && row.proven && (!strings.Contains(message, "to have no crash findings\nfindings: ") || !strings.Contains(message, "lost line 0x40 of /dev/dax0.0: missing flush")) {
					t.Errorf("the message is %q, want line 0x40 in it", message)
				}
			}
		})
	}
}

// TestSaved: files are written for a failure alone, and only where they are wanted.
func TestSaved(t *testing.T) {
	broken, correct := explored(t, false, false), explored(t, true, false)
	m, p := newMachine(t)
	p.Bytes()[100], p.Bytes()[200] = 1, 1
	if err := p.Flush(p.Bytes()[200:201]); err != nil { // a second finding
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "findings")
	to := match.SavedTo(dir)
	t.Chdir(t.TempDir())
	for _, a := range []struct {
		actual  any
		matcher types.GomegaMatcher
		not     bool
	}{{correct, match.HaveNoCrashFindings(to), false}, {broken, match.HaveNoCrashFindings(to), true}, {m, match.HaveNoFindings(to), true}, {m, match.HaveFinding(check.StoreNeverFlushed, to), false}} {
		if message := assert(a.actual, a.matcher, a.not); message != "" {
			t.Error(message)
		}
	}
	for _, a := range []struct {
		actual  any
		matcher types.GomegaMatcher
	}{{broken, match.HaveNoCrashFindings()}, {m, match.HaveNoFindings()}} {
		if message := assert(a.actual, a.matcher, false); message == "" || strings.Contains(message, "saved") {
			t.Errorf("got %q, want a failure that saves nothing", message)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the folder is there: %v", err)
	}
	for _, a := range []struct {
		actual  any
		matcher types.GomegaMatcher
		files   int // that the message names
		folder  int
	}{{broken, match.HaveNoCrashFindings(to), 2, 4}, {m, match.HaveNoFindings(to), 1, 4 + 3}} {
		message := assert(a.actual, a.matcher, false)
		_, saved, _ := strings.Cut(message, "\nsaved ")
		paths := strings.Split(saved, "\nsaved ")
		for _, path := range paths {
			if _, err := os.Stat(path); err != nil || filepath.Dir(path) != dir {
				t.Errorf("%q is said to be saved: %v", path, err)
			}
		}
		if all, err := os.ReadDir(dir); err != nil || len(all) != a.folder || len(paths) != a.files {
			t.Errorf("%d files, and %d in the message, want %d and %d: %v\n%s", len(all), len(paths), a.folder, a.files, err, message)
		}
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if message := assert(m, match.HaveNoFindings(match.SavedTo("file")), false); !strings.Contains(message, "\nnot saved: ") || !strings.Contains(message, "store-never-flushed") {
		t.Errorf("a file for a folder: got %q", message)
	}
	if all, err := os.ReadDir("."); err != nil || len(all) != 1 {
		t.Errorf("the working directory has %v, want the file alone: %v", all, err)
	}
}

func TestErrors(t *testing.T) {
	m, p := newMachine(t)
	b := p.Bytes()[:1]
	for i, a := range []struct {
		actual  any
		matcher types.GomegaMatcher
		want    string
	}{
		{"text", match.BeDurableOn(m), "got a string, allowed is a []byte"},
		{nil, match.BeDurableOn(m), "got a <nil>"},
		{b, match.BeDurableOn(nil), "the machine is nil"},
		{b[:0], match.BeDurableOn(m), "there are no bytes"},
		{make([]byte, 1), match.BeDurableOn(m), "isn't in a shared mapping of persistent memory"},
		{b, match.HaveDurable(b), "got []uint8"},
		{(*emu.Machine)(nil), match.HaveNoFindings(), "got *emu.Machine <nil>"},
		{(*emu.Run)(nil), match.HaveNoFindings(), "got *emu.Run <nil>"},
		{&emu.Crashed{}, match.HaveNoFindings(), "got *emu.Crashed"},
		{nil, match.HaveNoFindings(), "got <nil>"},
		{m, match.HaveFinding("no-such-rule"), `there is no rule "no-such-rule"`},
		{m, match.HaveNoCrashFindings(), "allowed is an *emu.Exploration"},
		{(*emu.Exploration)(nil), match.HaveNoCrashFindings(), "got *emu.Exploration <nil>"},
	} {
		for _, not := range []bool{false, true} { // an error fails either
			if message := assert(a.actual, a.matcher, not); !strings.Contains(message, a.want) {
				t.Errorf("row %d, not %t: got %q, want %q in it", i, not, message, a.want)
			}
		}
	}
}

// Example has the assertions of a test, of which one fails.
func Example() {
	g := gomega.NewGomega(func(message string, _ ...int) {
		message, _, _ = strings.Cut(message, ", ")
		fmt.Println(message + " …")
	})
	m := emu.NewMachine(emu.Config{})
	g.Expect(addDevice(m)).To(gomega.Succeed())
	p, err := mapped(m)
	g.Expect(err).NotTo(gomega.HaveOccurred())

	p.Bytes()[100] = 1
	g.Expect(m).To(match.HaveNoFindings())
	g.Expect(p.Persist(p.Bytes()[100:101])).To(gomega.Succeed())
	g.Expect(p.Bytes()[100:101]).To(match.BeDurableOn(m))
	g.Expect(m).To(match.HaveNoFindings())
	g.Expect(errors.Join(p.Delete(), m.Shutdown())).To(gomega.Succeed())
	// Output:
	// Expected the machine to have no findings
	// findings: 1
	//     store-never-flushed: 1 bytes at 0x64 …
}
