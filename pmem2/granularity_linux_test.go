package pmem2_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// unforced takes PMEM2_FORCE_GRANULARITY out of the environment for a test.
func unforced(t *testing.T) {
	t.Helper()
	t.Setenv("PMEM2_FORCE_GRANULARITY", "")
	os.Unsetenv("PMEM2_FORCE_GRANULARITY")
}

// TestGranularity: every kind of source on every kind of machine, as libpmem2(7)
// says, and every granularity required of it.
func TestGranularity(t *testing.T) {
	unforced(t)
	anonymous := func(s *stage) *pmem2.Source {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return src
	}
	file := func(fs emu.FS) func(s *stage) *pmem2.Source {
		return func(s *stage) *pmem2.Source { return s.source(s.file(fs, page)) }
	}
	dev := func(s *stage) *pmem2.Source { return s.source(devDax(s)) }
	otherRegion := func(domain string) func(s *stage) *pmem2.Source {
		return func(s *stage) *pmem2.Source {
			other := s.m.AddDevDax(emu.DevDax{Size: devPage, Align: devPage})
			if err := s.m.Sysfs().Set(other.RegionPath()+"/persistence_domain", domain); err != nil {
				s.t.Fatal(err)
			}
			return file(daxFS)(s)
		}
	}
	noRegions := func(s *stage) *pmem2.Source {
		src := file(daxFS)(s)
		regions, err := s.List("bus/nd/devices")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range regions {
			if err := s.m.Sysfs().Remove("bus/nd/devices/" + name); err != nil {
				s.t.Fatal(err)
			}
		}
		return src
	}
	virtio := emu.FS{Size: 1 << 30, DAX: true, VirtioPmem: true}
	tmpfs := emu.FS{Size: 1 << 30, Type: emu.Tmpfs}
	eADR := emu.Config{EADR: true}
	for _, tc := range []struct {
		name   string
		cfg    emu.Config
		source func(s *stage) *pmem2.Source
		want   pmem2.Granularity
	}{
		{"page cache", emuDefault, file(pageCache), pmem2.GranularityPage},
		{"page cache, eADR", eADR, file(pageCache), pmem2.GranularityPage},
		{"tmpfs", emuDefault, file(tmpfs), pmem2.GranularityPage},
		{"DAX file", emuDefault, file(daxFS), pmem2.GranularityCacheLine},
		{"DAX file, eADR", eADR, file(daxFS), pmem2.GranularityByte},
		{"DAX file, eADR but for one region", eADR, otherRegion("memory_controller\n"), pmem2.GranularityCacheLine},
		{"DAX file, eADR but for one unknown region", eADR, otherRegion("cpu_caches\n"), pmem2.GranularityCacheLine},
		{"DAX file, eADR but for one empty text", eADR, otherRegion("\n"), pmem2.GranularityCacheLine},
		{"DAX file, eADR, all regions so", eADR, otherRegion("cpu_cache\n"), pmem2.GranularityByte},
		{"DAX file, eADR, no region on the bus", eADR, noRegions, pmem2.GranularityCacheLine},
		{"DAX file, no persistence domain", emu.Config{NoPersistenceDomain: true}, file(daxFS), pmem2.GranularityCacheLine},
		{"DAX file on virtio-pmem: EOPNOTSUPP", emuDefault, file(virtio), pmem2.GranularityPage},
		{"DAX file on an old kernel: EINVAL", emu.Config{NoSharedValidate: true}, file(daxFS), pmem2.GranularityPage},
		{"device DAX", emuDefault, dev, pmem2.GranularityCacheLine},
		{"device DAX, eADR", eADR, dev, pmem2.GranularityByte},
		{"anonymous", emuDefault, anonymous, pmem2.GranularityByte},
	} {
		for _, required := range []pmem2.Granularity{pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage} {
			t.Run(tc.name+", "+required.String(), func(t *testing.T) {
				s := newStage(t, tc.cfg)
				m, err := pmem2.NewMap(config(required), tc.source(s))
				if required < tc.want {
					if m != nil || !errors.Is(err, pmem2.ErrGranularityNotSupported) {
						t.Fatalf("got %v, %v; want no map and %v", m, err, pmem2.ErrGranularityNotSupported)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer m.Delete()
				if got := m.StoreGranularity(); got != tc.want {
					t.Errorf("got %v, want %v", got, tc.want)
				}
			})
		}
	}
}

// TestForcedGranularity: the environment is read on every map, the config
// outranks it, and neither reaches private and anonymous mappings.
func TestForcedGranularity(t *testing.T) {
	unforced(t)
	s := newStage(t, emuDefault)
	src := s.source(s.file(pageCache, page))
	get := func(cfg *pmem2.Config, src *pmem2.Source) pmem2.Granularity {
		t.Helper()
		m, err := pmem2.NewMap(cfg, src)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Delete()
		return m.StoreGranularity()
	}
	cfg := config(pmem2.GranularityPage)
	for value, want := range map[string]pmem2.Granularity{
		"BYTE": pmem2.GranularityByte, "byte": pmem2.GranularityByte,
		"CACHE_LINE": pmem2.GranularityCacheLine, "Cache_Line": pmem2.GranularityCacheLine, "CACHELINE": pmem2.GranularityCacheLine,
		"PAGE": pmem2.GranularityPage, "pAgE": pmem2.GranularityPage,
		"": pmem2.GranularityPage, "FOO": pmem2.GranularityPage, " BYTE": pmem2.GranularityPage,
	} {
		os.Setenv("PMEM2_FORCE_GRANULARITY", value)
		if got := get(cfg, src); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}

	os.Setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE")
	forced := config(pmem2.GranularityPage)
	if err := forced.ForceGranularity(pmem2.GranularityByte); err != nil {
		t.Fatal(err)
	}
	if got := get(forced, src); got != pmem2.GranularityByte {
		t.Errorf("forced by the config: got %v", got)
	}
	if err := forced.ForceGranularity(3); !errors.Is(err, pmem2.ErrGranularityNotSupported) {
		t.Errorf("ForceGranularity(3): got %v", err)
	}

	os.Setenv("PMEM2_FORCE_GRANULARITY", "PAGE")
	private := config(pmem2.GranularityByte)
	private.SetSharing(pmem2.Private)
	if got := get(private, src); got != pmem2.GranularityByte {
		t.Errorf("private: got %v", got)
	}
	anonymous, _ := pmem2.SourceFromAnon(page, s.on())
	if got := get(config(pmem2.GranularityByte), anonymous); got != pmem2.GranularityByte {
		t.Errorf("anonymous: got %v", got)
	}
	// A granularity that is forced is one that can be too coarse.
	if _, err := pmem2.NewMap(config(pmem2.GranularityCacheLine), s.source(s.file(daxFS, page))); !errors.Is(err, pmem2.ErrGranularityNotSupported) {
		t.Errorf("PAGE forced on DAX, CACHE_LINE required: got %v", err)
	}
}

// TestForcedPageOnDeviceDAX: such a map is made, but the kernel can't sync it.
func TestForcedPageOnDeviceDAX(t *testing.T) {
	s := newStage(t, emuDefault)
	cfg := config(pmem2.GranularityPage)
	cfg.ForceGranularity(pmem2.GranularityPage)
	m := s.newMap(cfg, s.source(devDax(s)))
	if got := m.StoreGranularity(); got != pmem2.GranularityPage {
		t.Fatalf("got %v", got)
	}
	if err := m.Persist(m.Bytes()[:1]); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Persist: got %v, want EINVAL", err)
	}
}
