package pmem2_test

import (
	"bytes"
	"errors"
	"path"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// all lists the bad blocks that are left in a new context.
func all(t *testing.T, src *pmem2.Source) (list []pmem2.BadBlock) {
	t.Helper()
	c, err := pmem2.NewBadBlockContext(src)
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := c.Next()
		if err != nil {
			return list
		}
		list = append(list, b)
	}
}

// TestManyBadBlocks: the kernel cuts a list off in the middle of a line. Clearing what
// is listed brings up the rest, and nothing is listed that isn't bad.
func TestManyBadBlocks(t *testing.T) {
	for _, every := range []uint64{2 * 512, 3 * 512, 10 * 512} { // with numbers of various lengths
		s := newStage(t, emuDefault)
		d := s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage})
		want := map[uint64]bool{}
		for at := uint64(0); at < 1000*every; at += every {
			if err := d.AddBadBlock(at, 512); err != nil {
				t.Fatal(err)
			}
			want[at] = true
		}
		src := s.source(s.open(d.Path(), platform.ORdonly))
		for round := 0; len(want) > 0; round++ {
			c, err := pmem2.NewBadBlockContext(src)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for {
				b, err := c.Next()
				if errors.Is(err, pmem2.ErrNoBadBlockFound) {
					break
				}
				if err != nil || b.Length != 512 || !want[b.Offset] {
					t.Fatalf("every %d, round %d: got %v, %v", every, round, b, err)
				}
				if err := c.Clear(b); err != nil {
					t.Fatal(err)
				}
				delete(want, b.Offset)
				n++
			}
			if n == 0 {
				t.Fatalf("every %d, round %d: %d bad blocks aren't listed", every, round, len(want))
			}
		}
	}
}

// TestBadBlocksOfAPartition: the list is that of the disk, from its start on.
func TestBadBlocksOfAPartition(t *testing.T) {
	for _, tc := range []struct {
		start string
		want  []pmem2.BadBlock
	}{
		{"0\n", []pmem2.BadBlock{{Offset: 2 * page, Length: page}}},
		{"8\n", []pmem2.BadBlock{{Offset: page, Length: page}}},
		{"1000000\n", nil},
	} {
		s := newStage(t, emuDefault)
		fs := s.m.AddFS(daxFS)
		f, err := fs.Create("f", 16*page)
		if err == nil {
			_, err = s.m.Pwrite(f.FD(), make([]byte, 16*page), 0)
			f.Close()
		}
		if err == nil {
			err = fs.AddBadBlock("f", 2*page, 512)
		}
		node := fs.BlockDevice().SysfsPath()
		link, linkErr := s.m.Readlink(node)
		disk := path.Join(path.Dir(node), link)
		err = errors.Join(err, linkErr, s.m.Sysfs().Set(disk+"/pmem0p1/partition", "1\n"),
			s.m.Sysfs().Set(disk+"/pmem0p1/start", tc.start), s.m.Sysfs().Remove(node), s.m.Sysfs().Link(node, link+"/pmem0p1"))
		if err != nil {
			t.Fatal(err)
		}
		src := s.source(s.open(fs.Path("f"), platform.ORdwr))
		if got := all(t, src); len(got) != len(tc.want) || len(got) == 1 && got[0] != tc.want[0] {
			t.Errorf("start %q: got %v, want %v", tc.start, got, tc.want)
		}
		if _, err := src.DeviceID(); err != nil {
			t.Errorf("start %q: %v", tc.start, err)
		}
	}
	s := newStage(t, emuDefault)
	fs := s.m.AddFS(daxFS)
	f, err := fs.Create("f", page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node := fs.BlockDevice().SysfsPath()
	for _, start := range []string{"", "-1\n", "x\n", "18446744073709551615\n"} {
		if err := errors.Join(s.m.Sysfs().Set(node+"/partition", "1\n"), s.m.Sysfs().Set(node+"/start", start)); err != nil {
			t.Fatal(err)
		}
		if _, err := pmem2.NewBadBlockContext(s.source(f.FD())); !errors.Is(err, unix.EINVAL) {
			t.Errorf("start %q: %v, want EINVAL", start, err)
		}
	}
}

// emptySysfs is a machine on which sysfs isn't mounted.
type emptySysfs struct{ *stage }

func (emptySysfs) List(name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	return nil, unix.ENOENT
}
func (emptySysfs) Readlink(string) (string, error) { return "", unix.ENOENT }

func TestNoSysfs(t *testing.T) {
	s := newStage(t, emuDefault)
	src, err := pmem2.SourceFromFD(s.file(daxFS, page), pmem2.On(&emptySysfs{s}))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := pmem2.NewBadBlockContext(src); c != nil || !errors.Is(err, pmem2.ErrNoSupp) {
		t.Errorf("got %v, %v; want ErrNoSupp", c, err)
	}
}

// classModel is a kernel on which the device DAX has another directory above it.
type classModel struct {
	*stage
	asked bool
}

func (c *classModel) Readlink(name string) (string, error) {
	link, err := c.stage.Readlink(name)
	if dir, node := path.Split(link); err == nil && path.Base(path.Dir(path.Clean(dir))) == "region0" {
		link, c.asked = dir+"dax/"+node, true
	}
	return link, err
}

func TestBoundsWithTheClassModel(t *testing.T) {
	s := newStage(t, emuDefault)
	machine := &classModel{stage: s}
	src, err := pmem2.SourceFromFD(badDevDax(s), pmem2.On(machine))
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, src); len(got) != 1 || got[0] != (pmem2.BadBlock{Offset: devPage, Length: 512}) || !machine.asked {
		t.Errorf("got %v, asked: %t", got, machine.asked)
	}
}

// TestClearLooksFirst: with a descriptor that is closed nothing is destroyed.
func TestClearLooksFirst(t *testing.T) {
	s := newStage(t, emuDefault)
	d := s.m.AddDevDax(emu.DevDax{Size: 2 * devPage, Align: devPage})
	f, err := d.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	m := s.newMap(config(pmem2.GranularityCacheLine), s.source(s.open(d.Path(), platform.ORdwr)))
	m.Memset(m.Bytes(), 7, 0)
	c, err := pmem2.NewBadBlockContext(s.source(f.FD()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := c.Clear(pmem2.BadBlock{Offset: 0, Length: page}); !errors.Is(err, pmem2.ErrInvalidFileHandle) {
		t.Errorf("got %v, want ErrInvalidFileHandle", err)
	}
	if !bytes.Equal(m.Bytes()[:page], bytes.Repeat([]byte{7}, page)) {
		t.Error("the data are gone")
	}
}

// lyingFirmware says that it has cleared what it hasn't.
type lyingFirmware struct{ *stage }

func (lyingFirmware) ClearError(_ int, _, n uint64) (uint64, error) { return n, nil }

func TestClearThatDoesNotHeal(t *testing.T) {
	s := newStage(t, emuDefault)
	src, err := pmem2.SourceFromFD(badDevDax(s), pmem2.On(&lyingFirmware{s}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pmem2.NewBadBlockContext(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Clear(pmem2.BadBlock{Offset: devPage - page, Length: 2 * page}); !errors.Is(err, unix.ENXIO) {
		t.Errorf("a page that still faults: %v, want ENXIO", err)
	}
	if n := len(s.Outstanding()); n != 1 {
		t.Errorf("%d things are held: %v", n, s.Outstanding())
	}
}

// TestPwriteMCSafeForAppending: pwrite of such a descriptor writes at the end.
func TestPwriteMCSafeForAppending(t *testing.T) {
	s := newStage(t, emuDefault)
	fs := s.m.AddFS(pageCache)
	f, err := fs.Create("f", page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src := s.source(s.open(fs.Path("f"), platform.ORdwr|platform.OAppend))
	if err := src.PwriteMCSafe([]byte("hello"), 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v, want EINVAL", err)
	}
	if n, err := src.Size(); n != page || err != nil {
		t.Errorf("the file has %d bytes, %v", n, err)
	}
}
