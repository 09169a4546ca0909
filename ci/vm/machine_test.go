package vm

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pmemlab/ci/vm/plan"
)

func TestAddresses(t *testing.T) {
	m := Machine{DIMMs: []DIMM{
		{Size: 32 * mib, Namespace: plan.Namespace{Name: "a", Kind: plan.DevDax}},
		{Size: 64 * mib, LabelSize: 128 << 10}, // without a namespace
		{Size: 16 * mib, Virtio: true, Namespace: plan.Namespace{Name: "b", Kind: plan.Raw, Address: 1}},
		{Size: 2 * mib, LabelSize: mib, Namespace: plan.Namespace{Name: "c", Kind: plan.BTT}},
		{Size: 2 * mib, Namespace: plan.Namespace{Name: "d", Kind: plan.FSDax}},
	}}
	const at = 4 * gib
	want := []uint64{at, at + 32*mib, at + 96*mib, at + 112*mib, at + 114*mib}
	if got := m.addresses(); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	got := map[string]uint64{}
	var names []string
	for _, n := range m.namespaces() {
		names, got[n.Name] = append(names, n.Name), n.Address
	}
	if text := strings.Join(names, " "); text != "a b c d tmpfs" || got["a"] != want[0] || got["b"] != want[2] || got["c"] != want[3] || got["d"] != want[4] || got["tmpfs"] != 0 {
		t.Errorf("namespaces %s at %x", text, got)
	}
	if m.DIMMs[2].Address != 1 {
		t.Error("the machine itself was changed")
	}
}

func TestModulesOfMachines(t *testing.T) {
	pmem := func(fs string) DIMM { return DIMM{Namespace: plan.Namespace{FS: fs}} }
	for _, c := range []struct {
		m    Machine
		want string
	}{
		{Machine{}, "dax_pmem device_dax nd_pmem nfit"},
		{Machine{DIMMs: []DIMM{pmem("ext4"), pmem("ext4")}}, "crc32c_generic dax_pmem device_dax ext4 nd_pmem nfit"},
		{Machine{DIMMs: []DIMM{pmem("ext4"), pmem("xfs")}}, "crc32c_generic dax_pmem device_dax ext4 nd_pmem nfit xfs"},
		{Machine{DIMMs: []DIMM{{Virtio: true}}}, "dax_pmem device_dax nd_pmem nfit virtio_pci virtio_pmem"},
		{Machine{Modules: []string{"mce_inject", "nfit"}}, "dax_pmem device_dax mce_inject nd_pmem nfit"},
	} {
		if got := strings.Join(c.m.modules(), " "); got != c.want {
			t.Errorf("%+v: %s, want %s", c.m, got, c.want)
		}
	}
}

func TestArguments(t *testing.T) {
	dimm := DIMM{Size: 64 * mib}
	for _, c := range []struct {
		m      Machine
		images []string
		want   string
	}{
		{Machine{}, nil, "-machine q35,nvdimm=on -cpu max,-erms,-fsrm,-la57,-pku,-smap,-smep,-umip -smp 1 -m 512M,slots=1,maxmem=1536M"},
		{Machine{CPU: "-clwb", Memory: 1024, Persistence: "cpu"}, nil,
			"-machine q35,nvdimm=on,nvdimm-persistence=cpu -cpu max,-erms,-fsrm,-la57,-pku,-smap,-smep,-umip,-clwb -smp 1 -m 1024M,slots=1,maxmem=2048M"},
		{Machine{DIMMs: []DIMM{dimm}}, []string{"/m/nv0.img"},
			"-machine q35,nvdimm=on -cpu max,-erms,-fsrm,-la57,-pku,-smap,-smep,-umip -smp 1 -m 512M,slots=1,maxmem=2624M" +
				" -object memory-backend-file,id=mem0,mem-path=/m/nv0.img,size=67108864,share=on -device nvdimm,id=nv0,memdev=mem0"},
		{Machine{DIMMs: []DIMM{{Size: 2 * mib, LabelSize: 4096, Unarmed: true}, {Size: 4 * mib, Virtio: true}}}, []string{"a,b,,c", "d"},
			"-machine q35,nvdimm=on -cpu max,-erms,-fsrm,-la57,-pku,-smap,-smep,-umip -smp 1 -m 512M,slots=2,maxmem=3590M" +
				" -object memory-backend-file,id=mem0,mem-path=a,,b,,,,c,size=2097152,share=on -device nvdimm,id=nv0,memdev=mem0,label-size=4096,unarmed=on" +
				" -object memory-backend-file,id=mem1,mem-path=d,size=4194304,share=on -device virtio-pmem-pci,id=vp1,memdev=mem1"},
	} {
		if got := strings.Join(c.m.arguments(c.images), " "); got != c.want {
			t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
		}
	}
}

func TestWhatCannotBe(t *testing.T) {
	// good is what each case changes.
	good := func() Boot {
		return Boot{
			Machine: Machine{Name: "m", DIMMs: []DIMM{
				{Size: 4 * mib, LabelSize: 4096, Namespace: plan.Namespace{Name: "one", Kind: plan.FSDax, FS: "ext4"}},
				{Size: 4 * mib, Namespace: plan.Namespace{Name: "two", Kind: plan.DevDax}},
				{Size: 4 * mib, Virtio: true},
				{Size: 4 * mib},
			}},
			Limit: time.Second,
			Steps: []plan.Step{{Name: "s", Args: []string{"/init"}, Limit: time.Second}, {Name: "t", Args: []string{"/init"}, Limit: 1}},
		}
	}
	if err := good().check(); err != nil {
		t.Fatalf("what each case changes: %v", err)
	}
	for want, change := range map[string]func(b *Boot){
		"limit 0s: want more":                                 func(b *Boot) { b.Limit = 0 },
		`name "": want`:                                       func(b *Boot) { b.Name = "" },
		`name "a/b": want`:                                    func(b *Boot) { b.Name = "a/b" },
		`name "a b": want`:                                    func(b *Boot) { b.Name = "a b" },
		`persistence "none": want cpu, mem-ctrl`:              func(b *Boot) { b.Persistence = "none" },
		"memory 2049 MiB":                                     func(b *Boot) { b.Memory = 2049 },
		"DIMM 3: size 0":                                      func(b *Boot) { b.DIMMs[3].Size = 0 },
		"DIMM 1: size 3145728":                                func(b *Boot) { b.DIMMs[1].Size = 3 * mib },
		"DIMM 0 of 4194304 bytes: 4194304 of labels":          func(b *Boot) { b.DIMMs[0].LabelSize = 4 * mib },
		"DIMM 2 of 4194304 bytes: 4096 of labels":             func(b *Boot) { b.DIMMs[2].LabelSize = 4096 },
		"DIMM 2: a virtio-pmem device is never":               func(b *Boot) { b.DIMMs[2].Unarmed = true },
		`DIMM 1: namespace "one"`:                             func(b *Boot) { b.DIMMs[1].Name = "one" },
		`DIMM 1: namespace "tmpfs"`:                           func(b *Boot) { b.DIMMs[1].Name = "tmpfs" },
		`DIMM 1: namespace "a/"`:                              func(b *Boot) { b.DIMMs[1].Name = "a/" },
		`DIMM 1: namespace "{a}"`:                             func(b *Boot) { b.DIMMs[1].Name = "{a}" },
		`namespace two: kind "": want devdax`:                 func(b *Boot) { b.DIMMs[1].Kind = "" },
		`namespace two: kind "tmpfs": want devdax`:            func(b *Boot) { b.DIMMs[1].Kind = plan.Tmpfs },
		`namespace one: file system "btrfs"`:                  func(b *Boot) { b.DIMMs[0].FS = "btrfs" },
		`namespace two: file system "xfs" on devdax`:          func(b *Boot) { b.DIMMs[1].FS = "xfs" },
		`step "": want`:                                       func(b *Boot) { b.Steps[0].Name = "" },
		`step "../s": want`:                                   func(b *Boot) { b.Steps[0].Name = "../s" },
		`step "t": want a name of its own`:                    func(b *Boot) { b.Steps[0].Name = "t" },
		"step s: program and arguments []":                    func(b *Boot) { b.Steps[0].Args = nil },
		"step t: program and arguments [\"/init\"], limit 0s": func(b *Boot) { b.Steps[1].Limit = 0 },
	} {
		b := good()
		change(&b)
		if err := b.check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: want one line with %q", err, want)
		}
	}
	b := good()
	b.DIMMs[0].Size, b.DIMMs[1].Size = 1, 2
	if err := b.check(); err == nil || !strings.Contains(err.Error(), "DIMM 0") || !strings.Contains(err.Error(), "DIMM 1") {
		t.Errorf("%v: want what is wrong with both", err)
	}
}

func TestTheLanesMachines(t *testing.T) {
	machines, err := Machines()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range machines {
		if err := m.check(); err != nil || seen[m.Name] {
			t.Errorf("machine %s: %v", m.Name, err)
		}
		seen[m.Name] = true
		if got, err := MachineNamed(m.Name); err != nil || got.Name != m.Name {
			t.Errorf("by its name %s: %s, %v", m.Name, got.Name, err)
		}
		// Those whose DIMMs have tables of their own are where these say.
		if tables := m.Tables != nil; tables && m.addresses()[0] != firstAddress {
			t.Errorf("machine %s: DIMMs at %x", m.Name, m.addresses())
		}
	}
	if _, err := MachineNamed("none"); err == nil || !strings.Contains(err.Error(), `"none": want one of adr, `) {
		t.Errorf("%v: want the names that there are", err)
	}
}
