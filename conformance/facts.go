package conformance

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// place is what facts are about: what cases get there, and the machine.
type place struct {
	machine platform.Platform
	kernel  report.Fact

	devices   []*daxDevice
	noDevices string   // why there are none
	aligns    []uint64 // of the devices that there can be
	dax       *daxEvidence
	noDAX     string // why there is no file system with DAX
	daxDir    string
	pageDirs  []string
	noPage    string // why there is no file system with a page cache
}

// facts are all that is known of a place.
func (p place) facts() []report.Fact {
	all := append([]report.Fact{p.kernel}, cpuFacts(p.machine)...)
	all = append(all, p.deviceFacts()...)
	all = append(all, p.fileSystemFacts()...)
	return append(all, nvdimmFacts(p.machine)...)
}

func (p place) deviceFacts() []report.Fact {
	var paths, sizes, aligns []string
	for _, d := range p.devices {
		paths = append(paths, d.path)
		sizes = append(sizes, fmt.Sprint(d.size))
		if p.aligns == nil {
			aligns = append(aligns, fmt.Sprint(d.align))
		}
	}
	for _, a := range p.aligns {
		aligns = append(aligns, fmt.Sprint(a))
	}
	slices.Sort(aligns)
	return []report.Fact{
		{Name: "devdax", Has: paths != nil, Value: strings.Join(paths, ","), Why: p.noDevices},
		{Name: "devdax.align", Has: aligns != nil, Value: strings.Join(slices.Compact(aligns), ","), Why: p.noDevices},
		{Name: "devdax.size", Has: sizes != nil, Value: strings.Join(sizes, ","), Why: p.noDevices},
	}
}

func (p place) fileSystemFacts() []report.Fact {
	fsdax, mapsync := report.Fact{Name: "fsdax", Why: p.noDAX}, report.Fact{Name: "mapsync", Why: p.noDAX}
	if p.dax != nil {
		fsdax = report.Fact{Name: "fsdax", Has: p.dax.dax(), Value: p.daxDir, Why: p.dax.why()}
		mapsync = report.Fact{Name: "mapsync", Has: p.dax.mapSync == nil, Why: "mmap with MAP_SYNC in " + p.daxDir + ": it succeeds"}
		if p.dax.mapSync != nil {
			mapsync.Why = fmt.Sprintf("mmap with MAP_SYNC in %s: %v", p.daxDir, p.dax.mapSync)
		}
	}
	return []report.Fact{fsdax, mapsync,
		{Name: "pagefs", Has: p.pageDirs != nil, Value: strings.Join(p.pageDirs, ","), Why: p.noPage}}
}

const ndDevices = "bus/nd/devices"

// nvdimmFacts are those of the nvdimm bus.
func nvdimmFacts(m platform.Platform) []report.Fact {
	names, err := m.List(ndDevices)
	if err != nil {
		names = nil
	}
	of := func(prefix string) (found []string) {
		for _, n := range names {
			if strings.HasPrefix(n, prefix) {
				found = append(found, n)
			}
		}
		return found
	}
	regions, dimms, buses := of("region"), of("nmem"), of("ndbus")
	none := func(what string) string { return "/sys/" + ndDevices + " has no " + what }

	domain := attributeFact(m, "persistence-domain", regions, "persistence_domain", none("region"))
	eadr := report.Fact{Name: "eadr", Has: hasEADR(m), Why: domain.Why}
	hints := attributeFact(m, "flush-hints", regions, "deep_flush", none("region"))
	hints.Has = hints.Has && strings.Contains(hints.Value, "=1")
	bad := attributeFact(m, "badblocks", regions, "badblocks", none("region"))
	bad.Value = strings.ReplaceAll(bad.Value, "\n", ";")
	clearing := attributeFact(m, "clear-error", buses, "commands", none("bus"))
	clearing.Has = strings.Contains(clearing.Value, "clear_error")
	return []report.Fact{
		{Name: "regions", Has: regions != nil, Value: strings.Join(regions, ","), Why: whenEmpty(regions, none("region"))},
		{Name: "dimms", Has: dimms != nil, Value: strings.Join(dimms, ","), Why: whenEmpty(dimms, none("DIMM"))},
		domain, eadr, hints, bad, clearing,
		attributeFact(m, "device-id", dimms, "nfit/id", none("DIMM")),
		attributeFact(m, "usc", dimms, "nfit/dirty_shutdown", none("DIMM")),
	}
}

func whenEmpty(found []string, why string) string {
	if found == nil {
		return why
	}
	return ""
}

// attributeFact is whether each of some devices of the bus has an attribute that can be
// read, and what it says: "region0=cpu_cache,region1=cpu_cache".
func attributeFact(m platform.Platform, name string, devices []string, attr, none string) report.Fact {
	f := report.Fact{Name: name, Has: len(devices) > 0, Why: none}
	var values []string
	for i, d := range devices {
		text, err := m.ReadAttr(path.Join(ndDevices, d, attr))
		if i == 0 {
			f.Why = "/sys/" + ndDevices + "/*/" + attr
		}
		if err != nil {
			if f.Has {
				f.Why = fmt.Sprintf("/sys/%s/%s/%s: %v", ndDevices, d, attr, err)
			}
			f.Has = false
			continue
		}
		values = append(values, d+"="+strings.TrimSpace(text))
	}
	f.Value = strings.Join(values, ",")
	return f
}

// Facts are those of a machine as each case gets one.
func (t emulated) Facts() []report.Fact {
	if t.Lacks(NeedNothing) != "" {
		return nil
	}
	facts, err := t.facts()
	if err != nil {
		return []report.Fact{{Name: "facts", Why: err.Error()}}
	}
	return facts
}

func (t emulated) facts() (facts []report.Fact, err error) {
	env, err := t.NewEnv(t.Variants()[0])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	p := place{
		machine: env.Machine(),
		kernel:  report.Fact{Name: "kernel", Has: true, Value: "6.1", Why: "the rules of that one are emulated"},
		aligns:  []uint64{4096, 2 * mib, gib},
	}
	device, err := env.DevDax(daxSize, daxAlign)
	if err != nil {
		return nil, err
	}
	d, err := identifyDevice(p.machine, device.Path())
	if err != nil {
		return nil, err
	}
	p.devices = []*daxDevice{d}
	page, err := env.File(2 * mib)
	if err != nil {
		return nil, err
	}
	p.pageDirs = []string{path.Dir(page.Path())}
	dax, err := env.DAXFile(2 * mib)
	if err != nil {
		return nil, err
	}
	p.daxDir = path.Dir(dax.Path())
	fd, err := dax.Open(platform.ORdwr)
	if err != nil {
		return nil, err
	}
	evidence, err := daxOf(p.machine, fd)
	p.dax = &evidence
	return p.facts(), errors.Join(err, p.machine.Close(fd))
}

// Facts are those of this machine.
func (t *files) Facts() []report.Fact {
	if t.Lacks(NeedNothing) != "" {
		return nil
	}
	p := place{
		machine: platform.Host(), kernel: kernelFact(),
		noDevices: t.Lacks(NeedDevDax), noDAX: t.Lacks(NeedFSDax),
	}
	for _, place := range t.places {
		if place.missing == "" {
			p.pageDirs = append(p.pageDirs, place.dir)
		}
	}
	return p.facts()
}
