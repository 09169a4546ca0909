package conformance

import (
	"strings"
	"syscall"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// TestDAXEvidence has each answer and what follows from all of them.
func TestDAXEvidence(t *testing.T) {
	refused := syscall.EOPNOTSUPP
	for _, row := range []struct {
		statx, sysfs answer
		mapSync      error
		dax, any     bool
		contradicts  bool
		lacks        string // begins with
	}{
		{yes, yes, nil, true, true, false, ""},
		{yes, unknown, nil, true, true, false, ""},
		{unknown, yes, nil, true, true, false, ""},
		{unknown, unknown, nil, false, true, true, "no DAX that everybody agrees on: they disagree: MAP_SYNC succeeds"},
		{no, yes, nil, false, true, true, "no DAX that everybody agrees on: they disagree"},
		{yes, no, nil, false, true, true, "no DAX that everybody agrees on: they disagree"},
		{no, no, nil, false, true, true, "no DAX that everybody agrees on: they disagree"},
		{yes, yes, refused, true, true, false, "DAX without MAP_SYNC"},
		{yes, no, refused, false, true, true, "no DAX that everybody agrees on: they disagree"},
		{no, yes, refused, false, false, false, "no DAX that everybody agrees on: MAP_SYNC is refused"},
		{no, no, refused, false, false, false, "no DAX that everybody agrees on: MAP_SYNC is refused"},
		{unknown, yes, refused, true, true, false, "DAX without MAP_SYNC"},
	} {
		e := daxEvidence{statx: row.statx, sysfs: row.sysfs, mapSync: row.mapSync, device: "dev/block/259:0"}
		if e.dax() != row.dax || e.any() != row.any || e.contradicts() != row.contradicts {
			t.Errorf("%s: DAX %t, any %t, contradictory %t; want %t, %t, %t", e.why(), e.dax(), e.any(), e.contradicts(), row.dax, row.any, row.contradicts)
		}
		if got := e.lacks(); !strings.HasPrefix(got, row.lacks) || (got == "") != (row.lacks == "") {
			t.Errorf("%s: lacks %q, want %q", e.why(), got, row.lacks)
		}
	}
}

// TestMapSyncIsNoProof makes a machine tell otherwise than its MAP_SYNC: the target lacks
// the file system then, and says why.
func TestMapSyncIsNoProof(t *testing.T) {
	for _, row := range []struct {
		name   string
		cfg    emu.FS
		change func(t *testing.T, l *lab)
		want   string // of the reason and of the fact
		fsdax  bool   // the fact
	}{
		{"as it is", emu.FS{Size: room, DAX: true}, nil, "", true},
		{"statx says no", emu.FS{Size: room, DAX: true}, func(_ *testing.T, l *lab) {
			l.statx = func(s platform.Statx) platform.Statx {
				s.Attributes &^= platform.StatxAttrDAX
				return s
			}
		}, "MAP_SYNC succeeds, statx says that the file isn't DAX, /sys/dev/block/259:0/queue/dax is 1", false},
		{"sysfs says no", emu.FS{Size: room, DAX: true}, func(t *testing.T, l *lab) {
			if err := l.Sysfs().Set("dev/block/259:0/queue/dax", "0\n"); err != nil {
				t.Fatal(err)
			}
		}, "MAP_SYNC succeeds, statx says that the file is DAX, /sys/dev/block/259:0/queue/dax is 0", false},
		{"nobody knows", emu.FS{Size: room, DAX: true}, func(t *testing.T, l *lab) {
			l.statx = func(platform.Statx) platform.Statx { return platform.Statx{} }
			if err := l.Sysfs().Remove("dev/block/259:0/queue/dax"); err != nil {
				t.Fatal(err)
			}
		}, "MAP_SYNC succeeds, statx doesn't know the DAX attribute, /sys/dev/block/259:0/queue/dax isn't there", false},
		{"no block device in sysfs", emu.FS{Size: room, DAX: true}, func(t *testing.T, l *lab) {
			if err := l.Sysfs().Remove("dev/block/259:0"); err != nil {
				t.Fatal(err)
			}
		}, "", true},
		{"virtio-pmem", emu.FS{Size: room, DAX: true, VirtioPmem: true}, nil, "DAX without MAP_SYNC", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t, emu.Config{})
			dir := l.mount(t, row.cfg)
			if row.change != nil {
				row.change(t, l)
			}
			target := mustHardware(t, HardwareConfig{Machine: l, FSDax: dir})
			why := target.Lacks(NeedFSDax)
			if !strings.Contains(why, row.want) || (why == "") != (row.want == "") {
				t.Errorf("lacks %q, want %q", why, row.want)
			}
			fact, _ := factNamed(target.Facts(), "fsdax")
			if fact.Has != row.fsdax || !row.fsdax && !strings.Contains(fact.Why, row.want) {
				t.Errorf("the fact is %+v, want %t because of %q", fact, row.fsdax, row.want)
			}
			if wrong := probeTarget(target); wrong != nil {
				t.Errorf("declared and probed differ: %q", wrong)
			}
		})
	}
}
