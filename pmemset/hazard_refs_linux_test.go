package pmemset

import (
	"math"
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// TestHazardReferencesDontWrap: a program that forgets its references, 2^31 and more,
// still can't remove what it holds one on: a count that wraps would take the memory
// from under it.
func TestHazardReferencesDontWrap(t *testing.T) {
	for name, lookUp := range map[string]func(*Set, uintptr) *PartMap{
		"FirstPartMap": func(set *Set, _ uintptr) *PartMap { return set.FirstPartMap() },
		"PartMapByAddress": func(set *Set, addr uintptr) *PartMap {
			p, err := set.PartMapByAddress(addr)
			is(t, "PartMapByAddress", err, nil)
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, platform.Host(), t.TempDir())
			src, err := SourceFromFile(s.file("f", 64<<10, 0o600), On(s))
			if err != nil {
				t.Fatal(err)
			}
			defer deleteSource(t, src)
			cfg := NewConfig()
			is(t, "the granularity", cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), nil)
			set, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer set.Delete()
			d, err := set.Map(src, nil)
			if err != nil {
				t.Fatal(err)
			}
			part := set.parts[0].part
			part.refs.Store(math.MaxInt32 - 1)
			var held []*PartMap
			for range 3 {
				held = append(held, lookUp(set, d.Addr))
				is(t, "RemoveRange of what is held", set.RemoveRange(d.Addr, 1), ErrPartMapPossibleUseAfterDrop)
				is(t, "RemovePartMap of what is held", set.RemovePartMap(held[0]), ErrPartMapPossibleUseAfterDrop)
			}
			for _, p := range held {
				if got := p.Descriptor(); got != d {
					t.Errorf("a reference tells of %+v, want %+v", got, d)
				}
				p.Drop()
			}
			if n := part.refs.Load(); n != math.MaxInt32-1 {
				t.Errorf("%d references, want %d", n, math.MaxInt32-1)
			}
			part.refs.Store(0)
			is(t, "RemoveRange of what nobody holds", set.RemoveRange(d.Addr, 1), nil)
		})
	}
}
