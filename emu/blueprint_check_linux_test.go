package emu

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// leaves calls f with each number, string, bool and list in v, by its path.
func leaves(path string, v reflect.Value, f func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(path+"."+v.Type().Field(i).Name, v.Field(i), f)
		}
	case reflect.Slice:
		f(path, v)
		for i := range v.Len() {
			leaves(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f)
		}
	default:
		f(path, v)
	}
}

// others are values to put in the place of v.
func others(v reflect.Value) []reflect.Value {
	var all []reflect.Value
	add := func(x any) { all = append(all, reflect.ValueOf(x).Convert(v.Type())) }
	switch v.Kind() {
	case reflect.Bool:
		add(!v.Bool())
	case reflect.Int:
		for _, x := range []int64{0, 1, -1, v.Int() + 1, v.Int() - 1, math.MaxInt64, math.MinInt64} {
			add(x)
		}
	case reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		for _, x := range []uint64{0, 1, v.Uint() + 1, v.Uint() - 1, v.Uint() + 4096, v.Uint() + 1<<32, 1 << 62, 1 << 63, math.MaxUint64} {
			add(x)
		}
	case reflect.String:
		for _, x := range []string{"", ".", "..", "a/b", "\x00", v.String() + "x", "/" + v.String(), strings.Repeat("x", 300)} {
			add(x)
		}
	case reflect.Slice:
		all = append(all, reflect.Zero(v.Type()))
		if n := v.Len(); n > 0 {
			one := v.Slice3(0, n, n)
			all = append(all, one.Slice(0, n-1), one.Slice(1, n), reflect.Append(one, one.Index(0)), reflect.Append(one, one.Index(n-1)))
		}
	}
	return all
}

// Whatever value is another one: the blueprint is refused, with nothing left behind, or is
// that of the machine that was built.
func TestBlueprintHostile(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, c := range zoo {
		t.Run(c.name, func(t *testing.T) {
			m := NewMachine(c.cfg)
			for _, f := range c.add(t, m) {
				must(t, f.Close())
			}
			b := planOf(t, m)
			must(t, m.Shutdown())
			before := descriptors(t)
			var tree, rest []string
			leaves("", reflect.ValueOf(b).Elem(), func(path string, v reflect.Value) {
				if strings.HasPrefix(path, ".Sysfs") {
					tree = append(tree, path)
				} else {
					rest = append(rest, path)
				}
			})
			chosen := map[string]bool{}
			for range 25 {
				chosen[rest[rng.IntN(len(rest))]] = true
			}
			for range 5 {
				chosen[tree[rng.IntN(len(tree))]] = true
			}
			refused, taken := 0, 0
			leaves("", reflect.ValueOf(b).Elem(), func(path string, v reflect.Value) {
				if !chosen[path] {
					return
				}
				was := reflect.ValueOf(v.Interface())
				for _, x := range others(v) {
					if reflect.DeepEqual(x.Interface(), was.Interface()) {
						continue
					}
					v.Set(x)
					m, err := b.build()
					switch {
					case err == nil:
						taken++
						compareBuilt(t, fmt.Sprintf("%s is %v", path, x), m, b)
					case !strings.HasPrefix(err.Error(), "emu: "):
						t.Errorf("%s is %v: got %v", path, x, err)
					default:
						refused++
					}
				}
				v.Set(was)
			})
			if after := descriptors(t); after != before {
				t.Errorf("there are %d descriptors, there were %d", after, before)
			}
			t.Logf("%d refused, %d taken", refused, taken)
		})
	}
}

// compareBuilt checks that m, which was built from b, is what b tells of, but for what counts
// as written since it is bad. It ends m.
func compareBuilt(t testing.TB, what string, m *Machine, b *blueprint) {
	t.Helper()
	told := planOf(t, m)
	must(t, m.Shutdown())
	if slices.ContainsFunc(b.Nodes, func(n nodeBlueprint) bool { return n.Class == classBlock && n.Bad != nil }) {
		again, err := told.build()
		must(t, err)
		b, told = told, planOf(t, again)
		must(t, again.Shutdown())
	}
	if reflect.DeepEqual(told, b) {
		return
	}
	got, err := json.Marshal(told) // an empty list is none
	must(t, err)
	want, err := json.Marshal(b)
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("%s: the machine that was built is another one:\n%s", what, difference(t, told, b))
	}
}

// What is bad counts as written, whatever the blueprint says: it may be that of a time before
// the blocks went bad.
func TestBlueprintBadUnwritten(t *testing.T) {
	m := NewMachine(Config{})
	fs := m.AddFS(FS{Size: 1 << 20, DAX: true})
	f, err := fs.Create("f", 1<<16)
	must(t, err, m.Fallocate(f.FD(), 0, 0, 1<<16), f.Close())
	must(t, fs.AddBadBlock("f", 4096, 1))
	b := planOf(t, m)
	must(t, m.Shutdown())
	want := []extentBlueprint{{4096, 8192}}
	file := &b.FileSystems[0].Inodes[1]
	if !slices.Equal(file.Written, want) {
		t.Fatalf("got %v written, want %v", file.Written, want)
	}
	file.Written = nil
	built, err := b.build()
	must(t, err)
	if got := planOf(t, built).FileSystems[0].Inodes[1].Written; !slices.Equal(got, want) {
		t.Errorf("of the machine that was built: got %v written, want %v", got, want)
	}
	must(t, built.Shutdown())
}

// What is wrong is said.
func TestBlueprintRefused(t *testing.T) {
	m := NewMachine(Config{})
	must(t, m.AddDevDax(DevDax{Size: 4 << 20}).AddBadBlock(8192, 1))
	m.AddDevDax(DevDax{Size: 4 << 20, Region: Region{Legacy: true}})
	fs := m.AddFS(FS{Size: 1 << 20, DAX: true})
	for _, name := range []string{"a", "dir/b"} {
		f, err := fs.Create(name, 10000)
		must(t, err, m.Fallocate(f.FD(), 0, 0, 10000), f.Close())
	}
	must(t, fs.AddBadBlock("a", 0, 1))
	m.AddFS(FS{Size: 1 << 20, Type: Tmpfs})
	good := planOf(t, m)
	must(t, m.Shutdown())
	before := descriptors(t)
	const (
		dax0, dax1, pmem2 = 2, 4, 6 // places in Nodes
		a, dir, b         = 1, 2, 3 // in Inodes
	)
	type inodes = []inodeBlueprint
	for _, c := range []struct {
		change func(p *blueprint, i inodes)
		want   string
	}{
		{func(p *blueprint, _ inodes) { p.Config.Model = 2 }, "Config.Model is 2"},
		{func(p *blueprint, _ inodes) { p.Config.CPU.ISA = "Z80" }, "Config.CPU: "},
		{func(p *blueprint, _ inodes) { p.DIMMs = 1 << 40 }, "DIMMs is 1099511627776"},
		{func(p *blueprint, _ inodes) { p.Phys = firstRegion }, "the next region begins from 0x100000000 on"},
		{func(p *blueprint, _ inodes) { p.NVDIMMBus = "../ndbus0" }, `bus is "../ndbus0"`},
		{func(p *blueprint, _ inodes) { p.NVDIMMBus = "devices/ndbus7" }, `bus is "devices/ndbus7"`},
		{func(p *blueprint, _ inodes) { p.Regions[1].Start -= 128 << 20 }, "region 1: its Start is "},
		{func(p *blueprint, _ inodes) { p.Regions[0].Size = 1 << 60 }, "region 0: its Size is "},
		{func(p *blueprint, _ inodes) { p.Regions[0].InfoBlock = 0 }, "region 0: its InfoBlock is 0"},
		{func(p *blueprint, _ inodes) { p.Regions[0].NUMANode = 1024 }, "NUMANode is 1024, allowed are -1 to 1023"},
		{func(p *blueprint, _ inodes) { p.Regions[2].DIMMs = []int{0} }, "region 2: its DIMM is 0"},
		{func(p *blueprint, _ inodes) { p.Regions[0].Bad[0].Start++ }, "Bad has ["},
		{func(p *blueprint, _ inodes) { p.Regions[0].BadListed = false }, "which the region doesn't list"},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Size = MaxSize * 2 }, `device "/dev/dax0.0": its Size is`},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Size = 6 << 20 }, "allowed is a multiple of 2097152 from 2097152 to 4194304"},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Align = 8192 }, "Align is 8192"},
		{func(p *blueprint, _ inodes) { p.Nodes[dax1].Number = p.Nodes[dax0].Number }, "number is "},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Region = 1 }, `its path is "/dev/dax0.0"`},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Region, p.Nodes[dax0].Path = 9, "/dev/dax9.0" }, "Region is 9"},
		{func(p *blueprint, _ inodes) { p.Nodes[pmem2].Region, p.Nodes[pmem2].Path = 0, "/dev/pmem0" }, "its Region is 0"},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Bad[0].End = p.Nodes[dax0].Bad[0].Start }, "Bad has [8192, 8192)"},
		{func(_ *blueprint, i inodes) { i[a].Allocated = []extentBlueprint{{0, 4096}, {4096, 8192}} }, "Allocated has [4096, 8192) behind 4096"},
		{func(p *blueprint, _ inodes) {
			p.Sysfs.Children = []sysfsBlueprint{{Name: "a", Kind: sysfsAttr, OnWrite: onWriteDeepFlush, Region: -1}}
		}, `flushes region -1`},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Path = "/dev/../etc/passwd" }, `its path is "/dev/../etc/passwd"`},
		{func(p *blueprint, _ inodes) { p.Nodes[dax1].Rdev = p.Nodes[dax0].Rdev }, "Rdev is "},
		{func(p *blueprint, _ inodes) { p.Nodes[dax1].Ino = p.Nodes[dax0].Ino }, "Ino is "},
		{func(p *blueprint, _ inodes) { p.Nodes[dax0].Mode = 0o100644 }, "Mode is 0100644"},
		{func(p *blueprint, _ inodes) { p.Nodes[0].Class = classTTY }, `it is of class "tty"`},
		{func(p *blueprint, _ inodes) { p.Nodes[dax1].Bad = []extentBlueprint{{0, 512}} }, "region 1 doesn't list any"},
		{func(p *blueprint, _ inodes) { p.FileSystems[0].Mount = "/mnt/pmem1" }, `file system "/mnt/pmem1": it is on device`},
		{func(p *blueprint, _ inodes) { p.FileSystems[0].Device = p.Nodes[dax0].Number }, "it is on device"},
		{func(p *blueprint, _ inodes) { p.FileSystems = append(p.FileSystems, p.FileSystems[0]) }, "mounted there already"},
		{func(p *blueprint, _ inodes) { p.FileSystems[0].Config.VirtioPmem = true }, "VirtioPmem is true"},
		{func(p *blueprint, _ inodes) { p.FileSystems[0].Config.Region.NUMANode = -2 }, "Region.NUMANode is -2"},
		{func(p *blueprint, _ inodes) { p.FileSystems[1].Inodes[0].Mode = 0 }, "more than a new root"},
		{func(p *blueprint, _ inodes) { p.FileSystems[0].Inodes = nil }, "not even its root"},
		{func(_ *blueprint, i inodes) { i[0].Directory = false }, "must be the root"},
		{func(_ *blueprint, i inodes) { i[b].Parent = i[a].Number }, "Parent is "},
		{func(_ *blueprint, i inodes) { i[dir].Parent = i[dir].Number }, "Parent is "},
		{func(_ *blueprint, i inodes) { i[a].Name = "x/y" }, "Name has 3 bytes"},
		{func(_ *blueprint, i inodes) { i[a].Name = "" }, "Name has 0 bytes"},
		{func(_ *blueprint, i inodes) { i[a].Name = ".." }, "Name has 2 bytes"},
		{func(_ *blueprint, i inodes) { i[a].Name = "dir" }, "two of that name"},
		{func(_ *blueprint, i inodes) { i[a].Size = 1 << 63 }, "Size is 9223372036854775808"},
		{func(_ *blueprint, i inodes) { i[dir].Size = 1 }, "a directory with data"},
		{func(_ *blueprint, i inodes) { i[dir].Ino = i[a].Ino }, "Ino comes after "},
		{func(_ *blueprint, i inodes) { i[a].Number = i[b].Number }, "number is "},
		{func(_ *blueprint, i inodes) { i[a].Allocated[0].End = 1 << 40 }, "Allocated makes 1099511627776 bytes"},
		{func(_ *blueprint, i inodes) { i[a].Allocated[0].Start = 100 }, "Allocated has [100"},
		{func(_ *blueprint, i inodes) { i[a].Allocated = append(i[a].Allocated, extentBlueprint{4096, 8192}) }, "Allocated has [4096"},
		{func(_ *blueprint, i inodes) { i[a].Written[0].End = 1 << 63 }, "Written makes 9223372036854775808"},
		{func(_ *blueprint, i inodes) { i[a].Blocks[0].Physical = 1 << 20 }, "on blocks up to 1048576"},
		{func(_ *blueprint, i inodes) { i[a].Blocks[0].Length = 1<<64 - 4096 }, "on blocks up to 1048576"},
		{func(_ *blueprint, i inodes) { i[b].Blocks, i[b].Written = i[a].Blocks, i[a].Written }, "belong to two files"},
		{func(p *blueprint, _ inodes) { p.Sysfs.Children[0].Name = "a/b" }, `sysfs node "a/b" has the name`},
		{func(p *blueprint, _ inodes) { p.Sysfs.Children[1].Name = "a" }, `comes after "bus"`},
		{func(p *blueprint, _ inodes) { p.Sysfs.Children[0].Children[0].Text = "x" }, `sysfs node "bus/dax" has a text but is a directory`},
		{func(p *blueprint, _ inodes) { p.Sysfs.Children[0].Kind = 3 }, "has kind 3"},
		{func(p *blueprint, _ inodes) { p.Sysfs.Fail = syscall.EIO }, `sysfs node "" is the root`},
		{func(p *blueprint, _ inodes) {
			p.Sysfs.Children = []sysfsBlueprint{{Name: "a", Kind: sysfsAttr, OnWrite: onWriteDeepFlush, Region: 3}}
		}, `sysfs node "a" flushes region 3`},
		{func(p *blueprint, _ inodes) {
			p.Sysfs.Children = []sysfsBlueprint{{Name: "a", Kind: sysfsAttr, OnWrite: "exec"}}
		}, `does "exec" when written`},
		{func(p *blueprint, _ inodes) {
			for range maxSysfsDepth + 1 {
				p.Sysfs.Children = []sysfsBlueprint{{Name: "a", Children: p.Sysfs.Children}}
			}
		}, "is in more than the 1000 directories"},
	} {
		p, _ := asJSON(t, good)
		c.change(p, p.FileSystems[0].Inodes)
		if m, err := p.build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
			if m != nil {
				must(t, m.Shutdown())
			}
		}
	}
	count := maxPlanned
	if path, err := good.Sysfs.check(0, len(good.Regions), &count); err == nil || !strings.Contains(err.Error(), "one more than the 1048576") {
		t.Errorf("a sysfs tree of too many nodes: got %q %v", path, err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("there are %d descriptors, there were %d", after, before)
	}
}

// When the host has no descriptors left nothing stays behind.
func TestBlueprintWithoutDescriptors(t *testing.T) {
	m := NewMachine(Config{})
	m.AddDevDax(DevDax{Size: 4 << 20})
	fs := m.AddFS(FS{Size: 1 << 20, DAX: true})
	for i := range 5 {
		f, err := fs.Create(fmt.Sprint(i), 4096)
		must(t, err, f.Close())
	}
	b := planOf(t, m)
	must(t, m.Shutdown())
	before := descriptors(t)
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	defer func() { must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }()
	failed := 0
	for more := uint64(0); ; more++ {
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(before) + more, Max: limit.Max}))
		m, err := b.build()
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
		if after := descriptors(t); err != nil && after != before {
			t.Fatalf("with %d more descriptors than there were: there are %d, there were %d", more, after, before)
		}
		if err == nil {
			must(t, m.Shutdown())
			break
		}
		failed++
	}
	if failed < 8 { // of 11 objects; the count before has the descriptor that counts
		t.Errorf("got %d builds that failed, want one for each number of objects", failed)
	}
}
