package pmemset_test

import (
	"testing"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// TestHazardCreateAlwaysRace: CREATE_ALWAYS is promised an empty file, also if the one
// that was there goes, and somebody makes another, while the library opens it: else it
// would map what isn't its own.
func TestHazardCreateAlwaysRace(t *testing.T) {
	const stranger = "a stranger's text"
	for _, row := range []struct {
		name  string
		there bool // to begin with
		gone  int  // before which open it is taken away, if any
		made  int  // before which open another is made
	}{
		{"made before the first open", false, -1, 0},
		{"replaced before the second", true, 1, 1},
		{"gone before the second, made before the third", true, 1, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			hazardEach(t, "G3", func(s *scene, h *hazard) {
				path := s.missing("f")
				makes := func(text string) {
					fd, err := h.Platform.Open(path, platform.ORdwr|platform.OCreat|platform.OExcl, 0o600)
					s.must(err)
					n, err := h.Pwrite(fd, []byte(text), 0)
					if s.must(err); n != len(text) {
						s.Fatalf("%d bytes written", n)
					}
					s.must(h.Close(fd))
				}
				if row.there {
					makes("what was there")
				}
				opens, made := 0, false
				h.on(func(c hazardCall) error {
					if c.op != "open" || c.path != path {
						return nil
					}
					if opens == row.gone {
						s.must(h.Unlink(path))
					}
					if opens == row.made {
						makes(stranger)
						made = true
					}
					opens++
					return nil
				})
				src, err := pmemset.XSourceFromFile(path, pmemset.SourceFileCreateAlways|pmemset.CreateMode(0o600), s.on())
				h.off()
				if err != nil || !made {
					s.Fatalf("%v; another file has been made: %t", err, made)
				}
				s.keep(src)
				s.sizeIs(path, 0)
				d := s.maps(s.set(nil), src, 0, 64*sceneK)
				s.holds(d.Addr, 64*sceneK, 0)
			})
		})
	}
}

// TestHazardSDSText: the identifier ends at its zero byte. A struct that was read from
// where a C program has stored it can hold anything behind: compared, it would make a
// source indeterminate for ever.
func TestHazardSDSText(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(*pmemset.SDS)
		want pmemset.PartState
	}{
		{"clean", func(*pmemset.SDS) {}, pmemset.PartStateOKButInterrupted},
		{"text behind", func(sds *pmemset.SDS) { copy(sds.ID[len(scenePmemID)+1:], "tail") }, pmemset.PartStateOKButInterrupted},
		{"the last byte", func(sds *pmemset.SDS) { sds.ID[pmemset.SDSDeviceIDLen] = 1 }, pmemset.PartStateOKButInterrupted},
		{"longer", func(sds *pmemset.SDS) { sds.ID[len(scenePmemID)] = 'x' }, pmemset.PartStateIndeterminate},
		{"shorter", func(sds *pmemset.SDS) { sds.ID[len(scenePmemID)-1] = 0 }, pmemset.PartStateIndeterminate},
		{"empty, text behind", func(sds *pmemset.SDS) { sds.ID[0] = 0 }, pmemset.PartStateIndeterminate},
		{"without end", func(sds *pmemset.SDS) {
			for i := range sds.ID[len(scenePmemID):] {
				sds.ID[len(scenePmemID)+i] = 'x'
			}
		}, pmemset.PartStateIndeterminate},
	} {
		t.Run(row.name, func(t *testing.T) {
			sceneOnPmem(t, "all", func(p *scenePmem) {
				sds := sceneSDS(scenePmemID, scenePmemUSC, 1)
				row.edit(&sds)
				src := p.newSource()
				state := p.sds(src, sds)
				p.maps(p.set(nil, p.accepting(sceneAllStates)), src, 0, 64*sceneK)
				p.state(state, row.want)
				if got, want := p.stored(), sceneSDS(scenePmemID, scenePmemUSC, 2); row.want == pmemset.PartStateOKButInterrupted && got != want {
					p.Errorf("the new data are %q, want %q", got.ID, want.ID)
				}
			})
		})
	}
}
