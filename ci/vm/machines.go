package vm

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/ci/vm/plan"
)

const mib = 1 << 20

// Machines are those that the lane has.
func Machines() []Machine {
	return []Machine{
		standard("adr", "mem-ctrl"),
		standard("eadr", "cpu"),
	}
}

// standard has a namespace of each kind that cases and questions ask for.
func standard(name, persistence string) Machine {
	return Machine{
		Name: name, Memory: 1536, Persistence: persistence,
		DIMMs: []DIMM{
			{Size: 32 * mib, Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax}},
			{Size: 32 * mib, Namespace: plan.Namespace{Name: "dax4K", Kind: plan.DevDax, Align: 4096}},
			{Size: 192 * mib, Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax=always"}},
			{Size: 384 * mib, Namespace: plan.Namespace{Name: "xfs-dax", Kind: plan.FSDax, FS: "xfs", Options: "dax=always"}},
			{Size: 128 * mib, Namespace: plan.Namespace{Name: "ext4", Kind: plan.Raw, FS: "ext4"}},
		},
	}
}

// MachineNamed is one of Machines.
func MachineNamed(name string) (Machine, error) {
	var names []string
	for _, m := range Machines() {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return Machine{}, fmt.Errorf("machine %q: want one of %s", name, strings.Join(names, ", "))
}
