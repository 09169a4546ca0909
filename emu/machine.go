package emu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pmemlab/emu/exact"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

// Model is a CPU architecture, as far as it orders stores to memory. Any model runs
// on any host.
type Model int

const (
	X86 Model = iota
	Arm64
)

// Config says what kind of machine to build. The zero value is an x86 machine with
// ADR and a current kernel.
type Config struct {
	// EADR puts the CPU caches inside the power-fail protected domain.
	EADR bool
	// Model is the CPU.
	Model Model
	// NoSharedValidate is a kernel older than 4.15: MAP_SHARED_VALIDATE is EINVAL,
	// MAP_SYNC and MAP_FIXED_NOREPLACE are bits that it doesn't know and ignores,
	// and statx knows no DAX attribute.
	NoSharedValidate bool
	// NoPersistenceDomain leaves the persistence_domain attribute out of every
	// region, as where the firmware doesn't tell.
	NoPersistenceDomain bool
	// NoClearError is firmware that neither scrubs address ranges nor clears errors:
	// the ioctls for it are ENOTTY, and a write doesn't clear a bad block.
	NoClearError bool
	// TraceEvents is how many events [Machine.Trace] holds, the newest ones; 0 is 65,536,
	// and with -1 there are none.
	TraceEvents int
	// NoPageScan does without the kernel's PAGEMAP_SCAN in looks, as if it had none: all
	// that an object holds is compared then.
	NoPageScan bool
	// CPU says which instructions the machine's cache operations use, as far as the
	// CPU of the host has them. The zero value is what [platform.Host] uses.
	CPU platform.Settings
}

// Machine is an emulated machine. It implements [platform.Platform], whose Close
// closes a descriptor; [Machine.Shutdown] ends the machine itself. All methods are
// safe for any number of goroutines.
type Machine struct {
	cfg   Config
	host  platform.Platform
	sysfs *Sysfs
	ops   [platform.GranularityPage + 1]*platform.CacheOps

	rec   recorder
	mu    sync.Mutex
	mem   *durability
	watch watching
	cpu   platform.Platform // whose cache operations are recorded
	// altered counts changes to names, sizes and bad blocks.
	altered   int
	touched   []touchedPages // of a stage
	reads     []touchedPages // of a stage in exact mode: lines
	eadr      bool
	down      bool // after Shutdown
	err       error
	objects   map[memfdID]*object
	released  map[memfdID]*object // those that nothing the machine knows of uses any more
	nodes     map[string]*object  // device nodes, by path
	mounts    []*FileSystem
	fds       map[int]*object   // as opened by the machine: what is closed elsewhere stays
	maps      *vma.Map[mapping] // what was mapped through the machine
	vacated   extent            // the addresses of what was unmapped last, of a stage
	regions   []*region         // by number
	bad       map[*region]*regionBad
	nmems     []string // sysfs path of each NVDIMM, by number
	nvdimmBus string   // sysfs path of the bus that the NVDIMMs are on; "" without any
	counts    struct{ dax, block, tmpfs, virtio, bus, inode, object int }
	phys      uint64 // system physical address of the next region, in bytes
}

var _ platform.Platform = (*Machine)(nil)

// memfdID is what the real fstat tells of a memfd. Linux doesn't use an inode number
// of a memfd twice.
type memfdID struct{ dev, ino uint64 }

// NewMachine returns a machine without devices other than /dev/zero, /dev/null and a
// terminal. It holds descriptors and memory until [Machine.Shutdown].
func NewMachine(cfg Config) *Machine {
	host := platform.Host()
	m := &Machine{
		cfg: cfg, host: host, eadr: cfg.EADR,
		sysfs:   newSysfs(host.PageSize()),
		objects: map[memfdID]*object{}, released: map[memfdID]*object{},
		nodes: map[string]*object{},
		fds:   map[int]*object{},
		maps:  vma.New(mapping.advance),
		phys:  firstRegion,
	}
	cpu := host
	if cfg.CPU != (platform.Settings{}) {
		var err error
		if cpu, err = platform.NewHost(cfg.CPU); err != nil {
			m.remember(fmt.Errorf("emu: Config.CPU: %w", err))
			cpu = host
		}
	}
	m.rec.m = m
	m.mem = newDurability(m)
	m.rec.exact = exact.Enabled()
	m.mem.checks.Exact(m.rec.exact)
	m.watch.off = cfg.NoPageScan
	m.mem.trace.limit = cfg.TraceEvents
	m.cpu = cpu
	for g := range m.ops {
		m.ops[g] = m.newCacheOps(cpu.CacheOps(platform.Granularity(g)))
	}
	if cfg.Model != X86 && cfg.Model != Arm64 {
		m.remember(fmt.Errorf("emu: Config.Model is %d, allowed are X86 (%d) and Arm64 (%d)", cfg.Model, X86, Arm64))
	}
	m.populateVirtual()
	return m
}

// Err returns the first thing that was wrong with what the machine was asked to
// contain, or nil. The object concerned says the same whenever it is opened.
func (m *Machine) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// remember keeps err for Err. mu must be held.
func (m *Machine) remember(err error) {
	if m.err == nil {
		m.err = err
	}
}

// Sysfs returns the machine's sysfs tree, for editing.
func (m *Machine) Sysfs() *Sysfs { return m.sysfs }

// SetEADR moves the CPU caches into the power-fail protected domain or out of it, as
// a change in the firmware's set-up does, and rewrites persistence_domain of each
// region that has it.
func (m *Machine) SetEADR(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on != m.eadr {
		m.look(nil, everything)
		m.eadr = on
		m.mem.changeModel()
	}
	for _, r := range m.regions {
		// A test may have removed it on purpose.
		if _, err := m.sysfs.read(r.dir + "/persistence_domain"); err == nil {
			m.sysfs.populate(r.dir, "persistence_domain 0444 "+m.domain())
		}
		disk := fmt.Sprintf("class/block/pmem%d/dax/write_cache", r.number)
		if _, err := m.sysfs.read(disk); err == nil {
			_ = m.sysfs.write(disk, fmt.Sprint(digit(m.cachesWrites(r))))
		}
	}
}

// domain is the text of persistence_domain. mu must be held.
func (m *Machine) domain() string {
	if m.eadr {
		return "cpu_cache"
	}
	return "memory_controller"
}

// PageSize is the page size of the host, since mappings are real ones.
func (m *Machine) PageSize() uint64 { return m.host.PageSize() }

// Shutdown frees what the machine holds; nothing can be added to it, made, opened or
// removed on it any more (ENODEV), while descriptors that are still open and memory that
// is still mapped keep working. The error names each of them, as far as they were opened
// and mapped through the machine: a leak check. Calling it again does nothing.
func (m *Machine) Shutdown() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil
	}
	m.down = true
	var leaks []string
	for fd, o := range m.fds {
		// The descriptor may have been closed behind the machine's back.
		if st, err := m.host.Fstat(fd); err == nil && (memfdID{st.Dev, st.Ino}) == o.id {
			leaks = append(leaks, fmt.Sprintf("descriptor %d (%s) is open", fd, o.name))
		}
	}
	for e := range m.maps.All() {
		leaks = append(leaks, fmt.Sprintf("[%#x, +%#x) (%s) is mapped", e.Addr, e.Len, e.Value.name()))
	}
	var errs []error
	if leaks != nil {
		slices.Sort(leaks)
		errs = append(errs, fmt.Errorf("emu: still in use at shutdown: %s", strings.Join(leaks, "; ")))
	}
	for _, o := range m.objects {
		if err := m.closeKeeper(o); err != nil {
			errs = append(errs, fmt.Errorf("emu: closing the memory of %s: %w", o.name, err))
		}
	}
	if m.watch.scanner != nil {
		errs = append(errs, m.watch.scanner.Close())
		m.watch.scanner = nil
	}
	clear(m.nodes)
	m.mounts = nil
	return errors.Join(errs...)
}
