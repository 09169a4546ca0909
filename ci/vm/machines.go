package vm

import (
	"fmt"
	"strings"

	"pmemlab/ci/vm/acpi"
	"pmemlab/ci/vm/plan"
)

const mib, gib = 1 << 20, 1 << 30

// Machines are those that the lane has.
func Machines() ([]Machine, error) {
	tables, err := ownTables()
	if err != nil {
		return nil, err
	}
	return []Machine{
		standard("adr", "", "mem-ctrl", "persistence-domain", "!eadr", "flush=CLWB"),
		standard("eadr", "", "cpu", "eadr"),
		// Nobody says what a power failure spares.
		standard("nodomain", "", "", "!persistence-domain", "!eadr"),
		standard("noclwb", "-clwb", "mem-ctrl", "!clwb", "flush=CLFLUSHOPT"),
		standard("noclflushopt", "-clwb,-clflushopt", "mem-ctrl", "!clflushopt", "flush=CLFLUSH"),
		{Name: "adr1G", Memory: 1024, Persistence: "mem-ctrl", DIMMs: []DIMM{
			{Size: 4 * gib, Namespace: plan.Namespace{Name: "dax1G", Kind: plan.DevDax, Align: gib}},
		}},
		{Name: "virtio-pmem", Memory: 1024, Facts: []string{"kernel=6.1", "!fsdax", "!mapsync", "!dimms"}, DIMMs: []DIMM{
			{Size: 192 * mib, Virtio: true, Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax=always"}},
		}},
		{Name: "power-cut", Memory: 512, Persistence: "mem-ctrl", DIMMs: []DIMM{
			{Size: 16 * mib, Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax}},
			{Size: 64 * mib, Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax=always"}},
			{Size: 384 * mib, Namespace: plan.Namespace{Name: "xfs-dax", Kind: plan.FSDax, FS: "xfs", Options: "dax=always"}},
			{Size: 64 * mib, Namespace: plan.Namespace{Name: "ext4", Kind: plan.FSDax, FS: "ext4"}},
		}},
		// The Intel CPU is for machine check exceptions, by which media go bad.
		badBlocks(),
		tables,
	}, nil
}

// standard has a namespace of each kind that cases and questions ask for, and the facts.
func standard(name, cpu, persistence string, facts ...string) Machine {
	return Machine{
		Name: name, CPU: cpu, Memory: 1536, Persistence: persistence,
		Facts: append([]string{"kernel=6.1", "devdax", "devdax.align=2097152", "devdax.align=4096", "fsdax", "mapsync", "pagefs"}, facts...),
		DIMMs: []DIMM{
			{Size: 16 * mib, Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax}},
			{Size: 16 * mib, Namespace: plan.Namespace{Name: "dax4K", Kind: plan.DevDax, Align: 4096}},
			{Size: 192 * mib, Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax=always"}},
			{Size: 384 * mib, Namespace: plan.Namespace{Name: "xfs-dax", Kind: plan.FSDax, FS: "xfs", Options: "dax=always"}},
			{Size: 128 * mib, Namespace: plan.Namespace{Name: "ext4", Kind: plan.FSDax, FS: "ext4"}},
		},
	}
}

// badBlocks is a machine whose media go bad by machine check exceptions, which Linux
// believes of Intel's CPUs.
func badBlocks() Machine {
	m := standard("badblocks", "vendor=GenuineIntel", "mem-ctrl")
	m.Modules = []string{"mce_inject"}
	return m
}

// BadAddress is the one of the machine "tables" at which its firmware finds a bad block: 4 MiB
// into the device DAX, whose data begins 2 MiB into its region.
const BadAddress = firstAddress + 6*mib

// ownTables is a machine with a firmware of its own: two DIMMs in one region, unsafe
// shutdowns counted, flush hints, and bad blocks that are found and cleared.
func ownTables() (Machine, error) {
	const size = 64 * mib
	tables, err := acpi.Tables(acpi.Config{
		Interleaved: true, Persistence: acpi.MemoryController,
		DIMMs: []acpi.DIMM{
			{Size: size, FlushHints: true, Health: &acpi.Health{DirtyShutdowns: 5}},
			{Size: size, FlushHints: true, Health: &acpi.Health{DirtyShutdowns: 7, Dirty: true}},
			{Size: size, FlushHints: true, Health: &acpi.Health{DirtyShutdowns: 3}},
			{Size: size},
		},
		BadBlock: acpi.Range{Address: BadAddress, Length: 512},
	})
	return Machine{
		Name: "tables", Memory: 1024, Persistence: "mem-ctrl", Tables: tables,
		Facts: []string{"kernel=6.1", "devdax", "fsdax", "mapsync", "flush-hints", "clear-error"},
		DIMMs: []DIMM{
			{Size: size, Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax}}, // and the next DIMM
			{Size: size},
			{Size: size, Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax=always"}},
			{Size: size, Namespace: plan.Namespace{Name: "dax4K", Kind: plan.DevDax, Align: 4096}},
		},
	}, err
}

// MachineNamed is one of Machines.
func MachineNamed(name string) (Machine, error) {
	machines, err := Machines()
	if err != nil {
		return Machine{}, err
	}
	var names []string
	for _, m := range machines {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Machine{}, fmt.Errorf("machine %q: want one of %s", name, strings.Join(names, ", "))
}
