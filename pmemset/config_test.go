package pmemset

import (
	"errors"
	"math"
	"sync"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

// live are the settings of a config that must be usable.
func live(t *testing.T, c *Config) settings {
	t.Helper()
	s, err := c.snapshot("test")
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

func TestConfigDefaults(t *testing.T) {
	s := live(t, NewConfig())
	if s.granularitySet || s.reservation != nil || s.callback != nil || s.acceptable != PartStateOK|PartStateOKButAlreadyOpen {
		t.Errorf("a new config holds %+v", s)
	}
}

func TestConfigGranularity(t *testing.T) {
	for _, tc := range []struct {
		g    pmem2.Granularity
		want error
	}{
		{pmem2.GranularityByte, nil},
		{pmem2.GranularityCacheLine, nil},
		{pmem2.GranularityPage, nil},
		{-1, ErrGranularityNotSupported},
		{3, ErrGranularityNotSupported},
		{999, ErrGranularityNotSupported},
		{math.MinInt, ErrGranularityNotSupported},
		{math.MaxInt, ErrGranularityNotSupported},
	} {
		for _, before := range []*pmem2.Granularity{nil, ptr(pmem2.GranularityByte), ptr(pmem2.GranularityPage)} {
			c := NewConfig()
			if before != nil {
				if err := c.SetRequiredStoreGranularity(*before); err != nil {
					t.Fatal(err)
				}
			}
			old := live(t, c)
			err := c.SetRequiredStoreGranularity(tc.g)
			got := live(t, c)
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
				t.Errorf("granularity %d: got %v, want %v", tc.g, err, tc.want)
			}
			want := tc.g
			if tc.want != nil {
				want = old.granularity
			}
			if got.granularity != want || got.granularitySet != (tc.want == nil || old.granularitySet) {
				t.Errorf("granularity %d after %+v: got %+v", tc.g, old, got)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestConfigAcceptableStates: every mask of the five states, and each bit beside them.
func TestConfigAcceptableStates(t *testing.T) {
	c := NewConfig()
	for states := PartState(0); states < 32; states++ {
		if err := c.SetAcceptableStates(states); err != nil || live(t, c).acceptable != states {
			t.Errorf("states %#x: %v, the config holds %#x", uint64(states), err, uint64(live(t, c).acceptable))
		}
	}
	if err := c.SetAcceptableStates(PartStateCorrupted); err != nil {
		t.Fatal(err)
	}
	for bit := 5; bit < 64; bit++ {
		for _, with := range []PartState{0, PartStateOK, 31} {
			err := c.SetAcceptableStates(1<<bit | with)
			if !errors.Is(err, ErrInvalidPartStates) || live(t, c).acceptable != PartStateCorrupted {
				t.Errorf("bit %d with %#x: %v, the config holds %#x", bit, uint64(with), err, uint64(live(t, c).acceptable))
			}
		}
	}
}

func TestConfigReservationAndCallback(t *testing.T) {
	r, err := pmem2.NewVMReservation(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Delete()
	c := NewConfig()
	mine := errors.New("mine")
	for _, tc := range []struct {
		name string
		set  func() error
		ok   func(settings) bool
	}{
		{"reservation", func() error { return c.SetReservation(r) }, func(s settings) bool { return s.reservation == r && s.callback == nil }},
		{"callback", func() error { return c.SetEventCallback(func(*Set, *Event) error { return mine }) },
			func(s settings) bool { return s.reservation == r && s.callback(nil, nil) == mine }},
		{"another callback", func() error { return c.SetEventCallback(func(*Set, *Event) error { return nil }) },
			func(s settings) bool { return s.callback(nil, nil) == nil }},
		{"no reservation", func() error { return c.SetReservation(nil) }, func(s settings) bool { return s.reservation == nil && s.callback != nil }},
		{"no callback", func() error { return c.SetEventCallback(nil) }, func(s settings) bool { return s.callback == nil }},
	} {
		if err := tc.set(); err != nil || !tc.ok(live(t, c)) {
			t.Errorf("%s: %v, the config holds %+v", tc.name, err, live(t, c))
		}
	}
}

// TestSnapshotStays: what was taken from a config doesn't change with it.
func TestSnapshotStays(t *testing.T) {
	c := NewConfig()
	if err := c.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
		t.Fatal(err)
	}
	before, err := c.snapshot("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.SetRequiredStoreGranularity(pmem2.GranularityByte), c.SetAcceptableStates(0), c.Delete()); err != nil {
		t.Fatal(err)
	}
	if before.granularity != pmem2.GranularityPage || before.acceptable != defaultAcceptable || before.deleted {
		t.Errorf("the snapshot has become %+v", before)
	}
	if s := live(t, NewConfig()); s.acceptable != defaultAcceptable || s.granularitySet {
		t.Errorf("the defaults have become %+v", s)
	}
}

// TestDeadConfigs: nil and deleted configs answer EINVAL, and Delete nil.
func TestDeadConfigs(t *testing.T) {
	deleted, deletedMap := NewConfig(), NewMapConfig(nil)
	for range 2 {
		if err := errors.Join(deleted.Delete(), deletedMap.Delete(), (*Config)(nil).Delete(), (*MapConfig)(nil).Delete()); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	for name, c := range map[string]*Config{"nil": nil, "deleted": deleted} {
		_, err := c.snapshot("snapshot")
		for op, err := range map[string]error{
			"SetRequiredStoreGranularity":            c.SetRequiredStoreGranularity(pmem2.GranularityPage),
			"SetRequiredStoreGranularity of a wrong": c.SetRequiredStoreGranularity(9),
			"SetReservation":                         c.SetReservation(nil),
			"SetEventCallback":                       c.SetEventCallback(nil),
			"SetAcceptableStates":                    c.SetAcceptableStates(0),
			"snapshot":                               err,
		} {
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s of a %s config: got %v, want EINVAL", op, name, err)
			}
		}
	}
	for name, c := range map[string]*MapConfig{"nil": nil, "deleted": deletedMap} {
		_, err := c.snapshot("snapshot")
		for op, err := range map[string]error{
			"SetOffset": c.SetOffset(0), "SetOffset of a wrong": c.SetOffset(1 << 63), "SetLength": c.SetLength(0), "snapshot": err,
		} {
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s of a %s map config: got %v, want EINVAL", op, name, err)
			}
		}
	}
}

func TestMapConfig(t *testing.T) {
	set := new(Set)
	c := NewMapConfig(set)
	want := mapSettings{set: set}
	for _, tc := range []struct {
		offset bool
		value  uint64
		err    error
	}{
		{true, 0, nil},
		{true, 1, nil},
		{true, math.MaxInt64 - 1, nil},
		{true, math.MaxInt64, nil},
		{true, math.MaxInt64 + 1, ErrOffsetOutOfRange},
		{true, math.MaxUint64, ErrOffsetOutOfRange},
		{false, 1, nil},
		{false, math.MaxInt64 + 1, nil},
		{false, math.MaxUint64, nil},
		{false, 0, nil},
		{true, 4096, nil},
	} {
		set, field := c.SetLength, &want.length
		if tc.offset {
			set, field = c.SetOffset, &want.offset
		}
		err := set(tc.value)
		if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
			t.Errorf("offset %t, %d: got %v, want %v", tc.offset, tc.value, err, tc.err)
		}
		if tc.err == nil {
			*field = tc.value
		}
		if got, err := c.snapshot("test"); err != nil || got != want {
			t.Errorf("offset %t, %d: the config holds %+v, %v; want %+v", tc.offset, tc.value, got, err, want)
		}
	}
}

// TestConfigConcurrently: no change is lost, and what is deleted stays so.
func TestConfigConcurrently(t *testing.T) {
	for range 50 {
		c, m := NewConfig(), NewMapConfig(nil)
		var wg sync.WaitGroup
		for _, f := range []func() error{
			func() error { return c.SetRequiredStoreGranularity(pmem2.GranularityPage) },
			func() error { return c.SetAcceptableStates(PartStateCorrupted) },
			func() error { return c.SetEventCallback(func(*Set, *Event) error { return nil }) },
			func() error { return m.SetOffset(4096) },
			func() error { return m.SetLength(8192) },
		} {
			wg.Go(func() {
				if err := f(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s := live(t, c)
		if s.granularity != pmem2.GranularityPage || s.acceptable != PartStateCorrupted || s.callback == nil {
			t.Fatalf("a change was lost: %+v", s)
		}
		if got, err := m.snapshot("test"); err != nil || got.offset != 4096 || got.length != 8192 {
			t.Fatalf("a change was lost: %+v, %v", got, err)
		}
		wg.Go(func() { _ = c.SetAcceptableStates(0) })
		wg.Go(func() { _ = m.SetLength(0) })
		_, _ = c.Delete(), m.Delete()
		wg.Wait()
		_, err := c.snapshot("test")
		_, mapErr := m.snapshot("test")
		if err == nil || mapErr == nil {
			t.Fatal("a deleted config lives")
		}
	}
}
