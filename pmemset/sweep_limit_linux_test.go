package pmemset_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmemset"
)

// TestRemoveAtMappingLimit: a process that can't have one mapping more can still remove
// parts, whichever way, and delete its sets; else it could never get below the limit
// again. What stays is what it was.
func TestRemoveAtMappingLimit(t *testing.T) {
	for _, limit := range slices.Sorted(maps.Keys(sweepLimits)) {
		for _, row := range []struct {
			name string
			do   func(set *sweepSet, d pmemset.PartDescriptor) error // d: four parts
			left []uint64                                            // its pages that stay, in the order of the addresses
		}{
			{"RemovePartMap", func(set *sweepSet, d pmemset.PartDescriptor) error {
				p, err := set.PartMapByAddress(d.Addr)
				if err != nil {
					return err
				}
				return set.RemovePartMap(p)
			}, nil},
			{"RemoveRange, whole", removesPages(0, 4), nil},
			{"RemoveRange, head", removesPages(0, 1), []uint64{1, 2, 3}},
			{"RemoveRange, head of two", removesPages(0, 2), []uint64{2, 3}},
			{"RemoveRange, middle", removesPages(1, 2), []uint64{0, 3}},
			{"RemoveRange, tail", removesPages(3, 1), []uint64{0, 1, 2}},
			{"RemoveRange, tail of three", removesPages(1, 3), []uint64{0}},
			{"RemoveRange, one by one", func(set *sweepSet, d pmemset.PartDescriptor) error {
				for _, i := range []uint64{2, 0, 3, 1} {
					if err := removesPages(i, 1)(set, d); err != nil {
						return fmt.Errorf("page %d: %w", i, err)
					}
				}
				return nil
			}, nil},
			{"Set.Delete", func(set *sweepSet, _ pmemset.PartDescriptor) error { return set.Delete() }, nil},
		} {
			for _, configured := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, configured %t", row.name, limit, configured), func(t *testing.T) {
					s := newSweepStage(t)
					set := s.set(nil, pmemset.CoalescingFull)
					if configured {
						set = s.set(s.reservation(8*sweepPage), pmemset.CoalescingFull)
					}
					src := s.pageSource()
					var d pmemset.PartDescriptor
					for i := range 4 {
						cfg := pmemset.NewMapConfig(nil)
						s.must(cfg.SetOffset(uint64(i) * sweepPage))
						s.must(cfg.SetLength(sweepPage))
						var err error
						d, err = set.Map(src, cfg)
						s.must(err)
					}
					for i := range uint64(4) {
						d.Bytes()[i*sweepPage] = 100 + byte(i)
					}
					s.faults.Set(fault.MustParse(sweepLimits[limit]))
					err := row.do(set, d)
					s.faults.Set()
					if err != nil {
						t.Error(err)
					}
					var left []uint64
					for _, p := range set.list() {
						for at := uint64(p.Addr - d.Addr); at < uint64(p.Addr-d.Addr)+p.Size; at += sweepPage {
							left = append(left, at/sweepPage)
							if got := d.Bytes()[at]; got != 100+byte(at/sweepPage) {
								t.Errorf("page %d holds %d", at/sweepPage, got)
							}
						}
					}
					if !slices.Equal(left, row.left) {
						t.Errorf("pages %v stay, want %v", left, row.left)
					}
					if n := strings.Count(strings.Join(s.Outstanding(), "\n"), " rw-s "); row.left == nil && n > 0 {
						t.Errorf("%d mappings are left", n)
					}
					for _, text := range s.finish(false) {
						t.Error(text)
					}
				})
			}
		}
	}
}

// removesPages removes pages of a part map by address, also when it starts elsewhere by
// now.
func removesPages(from, n uint64) func(*sweepSet, pmemset.PartDescriptor) error {
	return func(set *sweepSet, d pmemset.PartDescriptor) error {
		return set.RemoveRange(d.Addr+uintptr(from*sweepPage), n*sweepPage)
	}
}

// TestGrowTwiceCutsBack: a map call tries to coalesce, then goes elsewhere. A file that
// the first attempt has made grow, and couldn't cut back, the second one cuts back if it
// fails, too, or says that it has grown.
func TestGrowTwiceCutsBack(t *testing.T) {
	for _, row := range []struct {
		cuts int // that fail; each attempt makes two
		left bool
	}{{0, false}, {1, false}, {2, false}, {3, false}, {4, true}} {
		for _, given := range []string{"", sweepNoFallocate} {
			s := newSweepStage(t)
			set := s.set(nil, pmemset.CoalescingOpportunistic)
			src := s.source(s.file(sweepPageCache, "grows", sweepPage), 0)
			s.mapPage(set, src)
			cfg := pmemset.NewMapConfig(nil)
			s.must(cfg.SetLength(3 * sweepPage))
			before := s.snapshot()
			first := 0
			if given != "" {
				first = 1 // the growth itself
			}
			s.faults.Set(fault.MustParse(given), fault.MustParse(fmt.Sprintf(
				"(EAGAIN (Op mremap)) (EIO (And (Op ftruncate) (FromIndex %d) (Not (FromIndex %d))))", first, row.cuts)))
			s.faults.Reset()
			_, err := set.Map(src, cfg)
			s.faults.Set()
			what := fmt.Sprintf("%d cuts fail, %q", row.cuts, given)
			if got := sweepOutcome(err); got != "INVALID_PMEM2_MAP: EAGAIN" {
				t.Errorf("%s: got %v, want EAGAIN", what, err)
			}
			if says := err != nil && strings.Contains(err.Error(), "left behind: the file has grown from 4096 to 12288 bytes"); says != row.left {
				t.Errorf("%s: %v: says that the file has grown: %t, want %t", what, err, says, row.left)
			}
			if after := s.snapshot(); slices.Equal(before, after) == row.left {
				t.Errorf("%s: before\n%s\nafter\n%s", what, strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			for _, text := range s.finish(false) {
				t.Errorf("%s: %s", what, text)
			}
		}
	}
}
