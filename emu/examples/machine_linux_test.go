package examples

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/examples/mutate"
	"pmemlab/emu/examples/pmem"
	"pmemlab/emu/examples/twofile"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mount is where addFiles mounts a file system with DAX.
const mount = "/mnt/pmem0"

// addFiles makes the files of an example on a new file system.
func addFiles(m *emu.Machine, files int) error {
	m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	if err := m.Err(); err != nil {
		return err
	}
	return newFiles(m, files)
}

// newFiles makes the files on the file system that is there, in the place of former ones.
func newFiles(m *emu.Machine, files int) error {
	fs, err := m.FS(mount)
	if err != nil {
		return err
	}
	for i := range files {
		if err := fs.Remove(fmt.Sprint(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		f, err := fs.Create(fmt.Sprint(i), FileSize)
		if err != nil {
			return err
		}
		// Name and size are durable from here on, or a power failure might leave no file.
		if err := errors.Join(m.Fsync(f.FD()), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// mapFiles maps the files that addFiles made, on that machine or after its power failed.
func mapFiles(m *emu.Machine, files int, p *mutate.Program, cfg *pmem2.Config) (memory []pmem.Memory, done func() error, err error) {
	var maps []*pmem2.Map
	done = func() (err error) {
		for _, m := range maps {
			err = errors.Join(err, m.Delete())
		}
		return err
	}
	for i := range files {
		fd, err := m.Open(fmt.Sprintf("%s/%d", mount, i), platform.ORdwr, 0)
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		src, err := pmem2.SourceFromFD(fd, pmem2.On(m))
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		mapped, err := pmem2.NewMap(cfg, src)
		if err := errors.Join(err, m.Close(fd)); err != nil {
			return nil, nil, errors.Join(err, done())
		}
		maps = append(maps, mapped)
		memory = append(memory, p.Wrap(mapped))
	}
	return memory, done, nil
}

func anyGranularity() *pmem2.Config {
	cfg := pmem2.NewConfig()
	_ = cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)
	return cfg
}

// machine returns a machine with a file system for files.
func machine(t *testing.T) (m *emu.Machine, stop func()) {
	t.Helper()
	m = emu.NewMachine(emu.Config{})
	if err := addFiles(m, 0); err != nil {
		t.Fatal(err)
	}
	return m, func() {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}

// findings are the rules of the machine's checker that a life of e breaks for certain, those
// about waste apart: it knows what is at risk at the end, and needs no recovery. The machine
// may have lived before.
func findings(t *testing.T, m *emu.Machine, e Example, c pmem.Case, p *mutate.Program) (rules []string) {
	t.Helper()
	m.ClearFindings()
	if err := newFiles(m, e.Files); err != nil {
		t.Fatal(err)
	}
	memory, done, err := mapFiles(m, e.Files, p, anyGranularity())
	if err == nil {
		err = c.Workload(memory, func(string) {})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Findings() {
		if r := string(f.Rule); f.Proven && f.Rule.Loses() && !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	if err := done(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rules)
	return rules
}

// checkerRules are the rules that lives of a mutant break, each with a blank before it.
func checkerRules(t *testing.T, e Example, mutant mutate.Mutant) string {
	m, stop := machine(t)
	defer stop()
	var all []string
	for seed := range uint64(3) {
		all = append(all, findings(t, m, e, e.NewCase(seed, MaxOps), &mutate.Program{Mutant: mutant})...)
	}
	slices.Sort(all)
	text := ""
	for _, r := range slices.Compact(all) {
		text += " " + r
	}
	return text
}

// TestOnMaps runs the examples on maps of each granularity, unmaps the files and checks them.
func TestOnMaps(t *testing.T) {
	for _, g := range []pmem2.Granularity{pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage} {
		for _, e := range All() {
			m := emu.NewMachine(emu.Config{})
			if err := addFiles(m, e.Files); err != nil {
				t.Fatal(err)
			}
			cfg := anyGranularity()
			_ = cfg.ForceGranularity(g)
			var acks []string
			c, p := e.NewCase(1, MaxOps), &mutate.Program{}
			memory, done, err := mapFiles(m, e.Files, p, cfg)
			if err == nil {
				err = errors.Join(c.Workload(memory, func(a string) { acks = append(acks, a) }), done())
			}
			if err != nil || len(acks) != MaxOps {
				t.Fatalf("%v, %s: %d acknowledgements, want %d; %v", g, e.Name, len(acks), MaxOps, err)
			}
			memory, done, err = mapFiles(m, e.Files, p, cfg)
			if err == nil {
				err = errors.Join(c.Recover(memory), c.Check(memory, acks), done())
			}
			if err := errors.Join(err, m.Shutdown()); err != nil {
				t.Errorf("%v, %s: %v", g, e.Name, err)
			}
		}
	}
}

// TestTwoFileMaps opens a pair on maps that share operations, and on maps that don't.
func TestTwoFileMaps(t *testing.T) {
	m := emu.NewMachine(emu.Config{})
	if err := addFiles(m, 2); err != nil {
		t.Fatal(err)
	}
	var maps []*pmem2.Map
	for i, g := range []pmem2.Granularity{pmem2.GranularityCacheLine, pmem2.GranularityCacheLine, pmem2.GranularityPage} {
		fd, err := m.Open(fmt.Sprintf("%s/%d", mount, i%2), platform.ORdwr, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(fd)
		src, err := pmem2.SourceFromFD(fd, pmem2.On(m))
		if err != nil {
			t.Fatal(err)
		}
		cfg := anyGranularity()
		_ = cfg.ForceGranularity(g)
		mapped, err := pmem2.NewMap(cfg, src)
		if err != nil {
			t.Fatal(err)
		}
		defer mapped.Delete()
		maps = append(maps, mapped)
	}
	s, err := twofile.OpenMaps(maps[0], maps[1])
	if err == nil {
		err = s.Commit(twofile.Write{File: 1, Off: 7, Data: []byte("seven")})
	}
	if err != nil || string(maps[1].Bytes()[7:12]) != "seven" {
		t.Errorf("maps that share operations: %v", err)
	}
	if _, err := twofile.OpenMaps(maps[0], maps[2]); err == nil {
		t.Error("maps of two granularities were taken, which share no drain")
	}
}
