// Package parity holds the emulated machine against a real kernel: the same survey is made of
// both, and each answer that differs is a difference, unless it is excused by name.
package parity

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pmemlab/ci/survey"
	"pmemlab/ci/vm/plan"
	"pmemlab/emu"
)

// hardware is what the places of a machine don't tell of it.
type hardware struct {
	config emu.Config
	// virtio: its memory is on virtio-pmem devices.
	virtio bool
	// regions are those of its own tables, by the names of the places on them. Others are
	// as QEMU's tables have them: one DIMM, without flush hints, that isn't asked for its health.
	regions map[string]emu.Region
	// found is what the attribute badblocks of a place's region lists though nothing is
	// wrong with the memory, as firmware can say.
	found map[string]string
}

func qemuRegion() emu.Region {
	return emu.Region{NoFlushHints: true, DIMMs: []emu.DIMM{{NoDirtyShutdown: true}}}
}

// machines are those that reports are of.
var machines = map[string]hardware{
	"adr":         {config: emu.Config{TraceEvents: -1, NoClearError: true}},
	"adr1G":       {config: emu.Config{TraceEvents: -1, NoClearError: true}},
	"eadr":        {config: emu.Config{TraceEvents: -1, NoClearError: true, EADR: true}},
	"nodomain":    {config: emu.Config{TraceEvents: -1, NoClearError: true, NoPersistenceDomain: true}},
	"virtio-pmem": {config: emu.Config{TraceEvents: -1, NoClearError: true}, virtio: true},
	"badblocks":   {config: emu.Config{TraceEvents: -1, NoClearError: true}},
	"tables": {
		config: emu.Config{TraceEvents: -1},
		regions: map[string]emu.Region{
			"dax2M": {DIMMs: []emu.DIMM{
				{ID: "8680-01100000", DirtyShutdowns: 5}, {ID: "8680-02100000", DirtyShutdowns: 7, Flags: "flush_fail"},
			}},
			"ext4-dax": {DIMMs: []emu.DIMM{{ID: "8680-03100000", DirtyShutdowns: 3}}},
			"dax4K":    {NoFlushHints: true, DIMMs: []emu.DIMM{{ID: "8680-04100000", NoDirtyShutdown: true}}},
		},
		found: map[string]string{"dax2M": "12288 1\n"},
	},
}

// Emulate makes the emulated machine that has what the machine of that name and those
// places has: devices of the same kinds, sizes and alignments. It returns its own places,
// in the same order and with the same names. The caller shuts the machine down.
func Emulate(name string, places []plan.Place) (*emu.Machine, []plan.Place, error) {
	hw, ok := machines[name]
	if !ok {
		return nil, nil, fmt.Errorf("parity: nothing is known of the hardware of a machine %q", name)
	}
	m := emu.NewMachine(hw.config)
	emulated := slices.Clone(places)
	// DIMMs have their numbers in the order of their addresses.
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(places[a].Address, places[b].Address) })
	for _, i := range order {
		p := &emulated[i]
		region, ok := hw.regions[p.Name]
		if !ok {
			region = qemuRegion()
		}
		if err := addPlace(m, p, region, hw.virtio); err != nil {
			return nil, nil, errors.Join(err, m.Shutdown())
		}
	}
	for i := range emulated {
		if text, ok := hw.found[emulated[i].Name]; ok {
			if err := m.Sysfs().Set(emulated[i].Region+"/badblocks", text); err != nil {
				return nil, nil, errors.Join(err, m.Shutdown())
			}
		}
	}
	if err := m.Err(); err != nil {
		return nil, nil, errors.Join(err, m.Shutdown())
	}
	return m, emulated, nil
}

// addPlace adds what p is of to the machine.
func addPlace(m *emu.Machine, p *plan.Place, region emu.Region, virtio bool) error {
	p.Device, p.Region, p.Mount = "", "", ""
	fs := emu.FS{Size: p.Bytes, DAX: p.Kind == plan.FSDax && p.FS != "" && p.MountsDAX()}
	switch {
	case p.Kind == plan.DevDax && virtio:
		return fmt.Errorf("parity: %s: the emulated machine has no device DAX on virtio-pmem", p.Name)
	case p.Kind == plan.DevDax:
		dax := m.AddDevDax(emu.DevDax{Size: p.Bytes, Align: p.Align, Region: region})
		p.Device, p.Region = dax.Path(), dax.RegionPath()
		return m.Err()
	case p.Kind == plan.Tmpfs:
		fs.Type, fs.Size = emu.Tmpfs, tmpfsSize
	case p.FS == "ext4" || p.FS == "xfs":
		if p.FS == "xfs" {
			fs.Type = emu.XFS
		}
		fs.VirtioPmem = virtio
		if !virtio {
			fs.Region = region
		}
	default:
		return fmt.Errorf("parity: %s: the emulated machine has no %q with file system %q", p.Name, p.Kind, p.FS)
	}
	mounted := m.AddFS(fs)
	p.Mount = mounted.Path("")
	p.Mount = p.Mount[:len(p.Mount)-1]
	if dev := mounted.BlockDevice(); p.Kind != plan.Tmpfs {
		p.Device, p.Region, p.Bytes = dev.Path(), dev.RegionPath(), dev.Size()
	}
	return m.Err()
}

const tmpfsSize = 256 << 20

// surveyEmulated asks the emulated twin of a machine.
func surveyEmulated(r survey.Header, wrap func(survey.Kernel) survey.Kernel, only ...string) ([]survey.Answer, error) {
	m, emulated, err := Emulate(r.Machine, r.Places)
	if err != nil {
		return nil, err
	}
	var k survey.Kernel = m
	if r.Spoiled {
		k = spoiling{m}
	}
	if wrap != nil {
		k = wrap(k)
	}
	answers, err := survey.Run(k, emulated, only...)
	return answers, errors.Join(err, m.Shutdown())
}

// spoiling is a machine whose media can be made bad.
type spoiling struct{ *emu.Machine }

// Spoil makes a sector of a file bad.
func (k spoiling) Spoil(path string, off uint64) error {
	mount, name, _ := strings.Cut(path, "/survey/")
	fs, err := k.FS(mount)
	if err != nil {
		return err
	}
	return fs.AddBadBlock("survey/"+name, off, 512)
}
