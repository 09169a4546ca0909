package pmemset_test

import (
	"errors"
	"fmt"
	"path"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// scenePmem is a scene on persistent memory: 8 MiB, with two NVDIMMs that count
// unsafe shutdowns, whose identifier is scenePmemID and whose count is 10.
type scenePmem struct {
	*scene
	path  string
	dimms []string // paths in sysfs
	bad   func(off, length uint64) error
	left  func() []emu.BadBlock
	other func() string // the path of the like of it on another device
}

const (
	scenePmemSize  = 8 * sceneM
	scenePmemID    = "8680-56341200" + "8089-a2-1837-000019c4"
	scenePmemUSC   = 10
	sceneOtherID   = "8680-00000077"
	sceneAllStates = pmemset.PartStateIndeterminate | pmemset.PartStateOK | pmemset.PartStateOKButAlreadyOpen |
		pmemset.PartStateOKButInterrupted | pmemset.PartStateCorrupted
)

func scenePmemRegion() emu.Region {
	return emu.Region{DIMMs: []emu.DIMM{{ID: "8680-56341200", DirtyShutdowns: 4}, {ID: "8089-a2-1837-000019c4", DirtyShutdowns: 6}}}
}

func sceneOtherRegion() emu.Region {
	return emu.Region{DIMMs: []emu.DIMM{{ID: sceneOtherID, DirtyShutdowns: scenePmemUSC}}}
}

// sceneOnPmem runs body with an allocated file on a file system with DAX, and with a
// device DAX.
func sceneOnPmem(t *testing.T, gens string, body func(*scenePmem)) {
	t.Helper()
	t.Run("file", func(t *testing.T) {
		sceneEmulated(t, gens, func(s *scene) {
			s.daxFS = s.emu.AddFS(emu.FS{Size: sceneG, DAX: true, Region: scenePmemRegion()})
			p := &scenePmem{scene: s, dimms: s.daxFS.BlockDevice().DIMMPaths()}
			p.path = p.allocated(s.daxFS)
			p.bad = func(off, length uint64) error { return s.daxFS.AddBadBlock(path.Base(p.path), off, length) }
			p.left = func() []emu.BadBlock {
				bad, err := s.daxFS.BadBlocks(path.Base(p.path))
				s.must(err)
				return bad
			}
			p.other = func() string {
				return p.allocated(s.emu.AddFS(emu.FS{Size: sceneG, DAX: true, Region: sceneOtherRegion()}))
			}
			body(p)
		})
	})
	t.Run("device DAX", func(t *testing.T) {
		sceneEmulated(t, gens, func(s *scene) {
			dax := s.emu.AddDevDax(emu.DevDax{Size: scenePmemSize, Align: 4 * sceneK, Region: scenePmemRegion()})
			body(&scenePmem{
				scene: s, path: dax.Path(), dimms: dax.DIMMPaths(), bad: dax.AddBadBlock, left: dax.BadBlocks,
				other: func() string {
					return s.emu.AddDevDax(emu.DevDax{Size: scenePmemSize, Align: 4 * sceneK, Region: sceneOtherRegion()}).Path()
				},
			})
		})
	})
}

// allocated makes a file of scenePmemSize whose blocks are all there.
func (p *scenePmem) allocated(fs *emu.FileSystem) string {
	p.Helper()
	path := p.create(fs, scenePmemSize)
	fd := p.open(path, platform.ORdwr)
	p.must(errors.Join(p.machine.Fallocate(fd, 0, 0, scenePmemSize), p.machine.Close(fd)))
	return path
}

// newSource is a source of the file or device, of its own each time.
func (p *scenePmem) newSource() *pmemset.Source { p.Helper(); return p.fixed(p.path) }

// count makes the device's unsafe shutdown count n, which is at least 6.
func (p *scenePmem) count(n uint64) {
	p.Helper()
	p.must(p.emu.Sysfs().Set(p.dimms[0]+"/nfit/dirty_shutdown", fmt.Sprintln(n-6)))
}

// sds gives the source shutdown data, and tells where its state will be found.
func (s *scene) sds(src *pmemset.Source, sds pmemset.SDS) *pmemset.PartState {
	s.Helper()
	state := new(pmemset.PartState)
	s.must(src.SetSDS(sds, state))
	return state
}

// state compares a state with the one wanted, and forgets it.
func (s *scene) state(got *pmemset.PartState, want pmemset.PartState) {
	s.Helper()
	if *got != want {
		s.Errorf("the state is %v, want %v", *got, want)
	}
	*got = 0
}

// stored is the shutdown data that a program would have stored: those of the last
// event.
func (s *scene) stored() pmemset.SDS {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.log) - 1; i >= 0; i-- {
		if s.log[i].Type == pmemset.EventSDSUpdate {
			return *s.log[i].SDS
		}
	}
	s.Fatal("there has been no SDS_UPDATE")
	return pmemset.SDS{}
}

func sceneSDS(id string, usc uint64, refs int32) pmemset.SDS {
	sds := pmemset.SDS{USC: usc, RefCount: refs}
	copy(sds.ID[:], id)
	return sds
}

// accepting has a set accept sources in these states.
func (s *scene) accepting(states pmemset.PartState) func(*pmemset.Config) {
	return func(cfg *pmemset.Config) {
		s.Helper()
		s.must(cfg.SetAcceptableStates(states))
	}
}

// granularity compares that of a set: "0" for none.
func (s *scene) granularity(set *pmemset.Set, want pmem2.Granularity, outcome string) {
	s.Helper()
	g, err := set.StoreGranularity()
	s.outcome("StoreGranularity", err, outcome)
	if g != want {
		s.Errorf("StoreGranularity: got %v, want %v", g, want)
	}
}

// sizeIs compares the size of a file.
func (s *scene) sizeIs(path string, want uint64) {
	s.Helper()
	if got := s.size(path); got != want {
		s.Errorf("the file has %d bytes, want %d", got, want)
	}
}

// modeIs compares the permissions of a file.
func (s *scene) modeIs(path string, want uint32) {
	s.Helper()
	fd := s.open(path, platform.OPath)
	defer s.machine.Close(fd)
	st, err := s.machine.Fstat(fd)
	s.must(err)
	if got := st.Mode &^ unix.S_IFMT; got != want {
		s.Errorf("%s has mode %#o, want %#o", path, got, want)
	}
}

// reads reads n bytes of a file.
func (s *scene) reads(path string, off int64, n int) []byte {
	s.Helper()
	fd := s.open(path, platform.ORdonly)
	defer s.machine.Close(fd)
	p := make([]byte, n)
	got, err := s.machine.Pread(fd, p, off)
	s.must(err)
	return p[:got]
}

// missing is the path of a file that isn't there yet, in a directory of its own.
func (s *scene) missing(name string) string { s.Helper(); return path.Join(s.newDir(), name) }

// roomy is a reservation behind which addresses are free: the kernel gives the highest
// ones away first.
func (s *scene) roomy(size uint64) *pmem2.VMReservation {
	s.Helper()
	r := s.reservation(64 * sceneM)
	s.must(r.Shrink(size, 64*sceneM-size))
	s.isFree(r.Address()+uintptr(size), sceneM)
	return r
}

// isFree looks that nobody has the n bytes of addresses at addr.
func (s *scene) isFree(addr uintptr, n uint64) {
	s.Helper()
	if !s.grab(addr, n) {
		s.Fatalf("some of the %s behind %#x are taken", sceneSize(n), addr)
	}
	s.must(s.machine.Munmap(addr, n))
}
