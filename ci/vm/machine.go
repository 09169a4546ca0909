package vm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pmemlab/ci/vm/plan"
)

// Machine is a virtual machine: hardware, and what is made of it.
type Machine struct {
	// Name is that of reports and folders: "adr".
	Name string
	// CPU are features that QEMU's model "max" has more or less: "-clwb,vendor=GenuineIntel".
	CPU string
	// Memory is in MiB; 0 is 512.
	Memory uint64
	// Persistence is QEMU's nvdimm-persistence: "mem-ctrl" is ADR, "cpu" eADR, "" says nothing.
	Persistence string
	DIMMs       []DIMM
	// Tables are ACPI tables that take the place of QEMU's, by their paths in the initramfs.
	Tables map[string][]byte
	// Facts are what the suite has to find there, as its flag -pmem.declare has them.
	Facts []string
	// Modules are needed beyond those that the namespaces need.
	Modules []string
}

// DIMM is an NVDIMM, or a virtio-pmem device, and the namespace on it.
type DIMM struct {
	// Size is in bytes, a multiple of 2 MiB; with LabelSize for labels at its end.
	Size, LabelSize uint64
	// Virtio is a virtio-pmem device.
	Virtio bool
	// Unarmed is one that can't save its data when power fails.
	Unarmed bool
	// Namespace is what is made on it; its Address is filled in. With no name there's none.
	plan.Namespace
}

// firstAddress is where QEMU puts the first DIMM of a machine with little memory.
const firstAddress = 4 << 30

// addresses are where QEMU puts the DIMMs: one after the other.
func (m Machine) addresses() []uint64 {
	var all []uint64
	next := uint64(firstAddress)
	for _, d := range m.DIMMs {
		all = append(all, next)
		next += (d.Size - d.LabelSize + alignment - 1) / alignment * alignment
	}
	return all
}

// alignment is that of a DIMM's address and size.
const alignment = 2 << 20

// namespaces are those of the plan.
func (m Machine) namespaces() (all []plan.Namespace) {
	for i, address := range m.addresses() {
		if n := m.DIMMs[i].Namespace; n.Name != "" {
			n.Address = address
			all = append(all, n)
		}
	}
	return append(all, plan.Namespace{Name: "tmpfs", Kind: plan.Tmpfs})
}

// modules are the names of those that it needs: Kernel.Modules adds what they depend on.
func (m Machine) modules() []string {
	names := []string{"nfit", "nd_pmem", "dax_pmem", "device_dax"}
	for _, d := range m.DIMMs {
		switch d.FS {
		case "ext4":
			names = append(names, "crc32c_generic", "ext4")
		case "xfs":
			names = append(names, "crc32c_generic", "xfs")
		}
		if d.Virtio {
			names = append(names, "virtio_pci", "virtio_pmem")
		}
	}
	names = append(names, m.Modules...)
	slices.Sort(names)
	return slices.Compact(names)
}

// memory is in MiB.
func (m Machine) memory() uint64 {
	if m.Memory == 0 {
		return 512
	}
	return m.Memory
}

// check says what can't be.
func (m Machine) check() error {
	if m.Name == "" || strings.ContainsAny(m.Name, "/ ") {
		return fmt.Errorf("name %q: want one without slashes and spaces", m.Name)
	}
	if !slices.Contains([]string{"", "cpu", "mem-ctrl"}, m.Persistence) {
		return fmt.Errorf("persistence %q: want cpu, mem-ctrl or nothing", m.Persistence)
	}
	if m.memory() > 2048 {
		return fmt.Errorf("memory %d MiB: with more than 2048 the DIMMs aren't at 4 GiB", m.memory())
	}
	var errs []error
	names := map[string]bool{"tmpfs": true}
	for i, d := range m.DIMMs {
		if d.Size == 0 || d.Size%alignment != 0 {
			errs = append(errs, fmt.Errorf("DIMM %d: size %d is no multiple of 2 MiB", i, d.Size))
		}
		if d.LabelSize > 0 && (d.LabelSize >= d.Size || d.Virtio) {
			errs = append(errs, fmt.Errorf("DIMM %d of %d bytes: %d of labels", i, d.Size, d.LabelSize))
		}
		if d.Virtio && d.Unarmed {
			errs = append(errs, fmt.Errorf("DIMM %d: a virtio-pmem device is never unarmed", i))
		}
		if d.Name == "" {
			continue
		}
		if names[d.Name] || strings.ContainsAny(d.Name, "/ {}") {
			errs = append(errs, fmt.Errorf("DIMM %d: namespace %q: want a name of its own, without slashes, spaces and braces", i, d.Name))
		}
		names[d.Name] = true
		if !slices.Contains([]plan.Kind{plan.DevDax, plan.FSDax, plan.Raw, plan.BTT}, d.Kind) {
			errs = append(errs, fmt.Errorf("namespace %s: kind %q: want devdax, fsdax, raw or btt", d.Name, d.Kind))
		}
		if !slices.Contains([]string{"", "ext4", "xfs"}, d.FS) || d.FS != "" && d.Kind == plan.DevDax {
			errs = append(errs, fmt.Errorf("namespace %s: file system %q on %s: want ext4, xfs or none, which device DAX has", d.Name, d.FS, d.Kind))
		}
	}
	return errors.Join(errs...)
}

// model is the CPU with all that QEMU can emulate, but for the features that guard a kernel
// from its processes and a fifth level of page tables: no answer depends on them, and an
// emulated CPU takes a fifth of its time for them.
const model = "max,-erms,-fsrm,-la57,-pku,-smap,-smep,-umip"

// arguments are QEMU's for the hardware; images are the files of the DIMMs.
func (m Machine) arguments(images []string) []string {
	cpu := model
	if m.CPU != "" {
		cpu += "," + m.CPU
	}
	board := "q35,nvdimm=on"
	if m.Persistence != "" {
		board += ",nvdimm-persistence=" + m.Persistence
	}
	room := m.memory() + 1024 // there's a slot even without DIMMs, and QEMU wants room for it
	for _, d := range m.DIMMs {
		room += d.Size>>20 + 1024 // its address may be rounded up
	}
	args := []string{
		"-machine", board, "-cpu", cpu, "-smp", "1",
		"-m", fmt.Sprintf("%dM,slots=%d,maxmem=%dM", m.memory(), max(len(m.DIMMs), 1), room),
	}
	for i, d := range m.DIMMs {
		device := fmt.Sprintf("nvdimm,id=nv%d,memdev=mem%d", i, i)
		if d.Virtio {
			device = fmt.Sprintf("virtio-pmem-pci,id=vp%d,memdev=mem%d", i, i)
		}
		if d.LabelSize > 0 {
			device += fmt.Sprintf(",label-size=%d", d.LabelSize)
		}
		if d.Unarmed {
			device += ",unarmed=on"
		}
		path := strings.ReplaceAll(images[i], ",", ",,")
		args = append(args, "-object", fmt.Sprintf("memory-backend-file,id=mem%d,mem-path=%s,size=%d,share=on", i, path, d.Size),
			"-device", device)
	}
	return args
}
