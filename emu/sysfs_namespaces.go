package emu

import "fmt"

// populateDevDax makes the namespace of a device DAX instance, the nd device and the
// character device on it.
func (m *Machine) populateDevDax(r *region, minor int, cfg DevDax) {
	s := m.sysfs
	nd := fmt.Sprintf("dax%d.0", r.number)
	m.populateNamespace(r, nd, "dax")
	m.populateClaim(r, nd, claim{
		devtype: "nd_dax", driver: "dax_pmem", modalias: "nd:t7", align: cfg.Align, usable: cfg.Size,
	})
	m.populateSeeds(r, "dax")
	parent := r.dir + "/" + nd
	s.populate(parent, fmt.Sprintf(`
		dax_region/align 0400 %d
		dax_region/id 0444 %d
		dax_region/size 0444 %d`, cfg.Align, r.number, cfg.Size))
	dir := parent + "/" + nd
	start := r.start + r.infoBlock
	s.populate(dir, r.numa()+fmt.Sprintf(`
		align 0444 %[2]d
		dev 0444 %[3]d:%[4]d
		driver -> %[1]sbus/dax/drivers/device_dax
		mapping0/end 0400 %#[5]x
		mapping0/page_offset 0400 0x0
		mapping0/power
		mapping0/start 0400 %#[6]x
		mapping0/uevent 0644 ""
		modalias 0444 dax:t0
		power
		resource 0400 %#[6]x
		size 0444 %[7]d
		subsystem -> %[1]sbus/dax
		uevent 0644 "MAJOR=%[3]d\nMINOR=%[4]d\nDEVNAME=%[8]s\nDRIVER=device_dax\nMODALIAS=dax:t0\n"`,
		up(dir), cfg.Align, daxMajor, minor, start+cfg.Size-1, start, cfg.Size, nd))
	s.populate("bus/dax/devices", nd+" -> ../../../"+dir)
	s.populate("bus/dax/drivers/device_dax", nd+" -> ../../../../"+dir)
	s.populate("dev/char", fmt.Sprintf("%d:%d -> ../../%s", daxMajor, minor, dir))
}

// claim is an nd device that sits on a namespace.
type claim struct {
	devtype, driver, modalias string
	align, usable             uint64
}

func (m *Machine) populateNamespace(r *region, holder, mode string) {
	name := fmt.Sprintf("namespace%d.0", r.number)
	dir := r.dir + "/" + name
	m.sysfs.populate(dir, r.numa()+fmt.Sprintf(`
		devtype 0444 nd_namespace_io
		force_raw 0644 0
		holder 0444 %[2]s
		holder_class 0644 "\n"
		modalias 0444 nd:t4
		mode 0444 %[3]s
		nstype 0444 4
		resource 0400 %#[4]x
		size 0444 %[5]d
		subsystem -> %[1]sbus/nd
		uevent 0644 "DEVTYPE=nd_namespace_io\nMODALIAS=nd:t4\n"`,
		up(dir), holder, mode, r.start, r.size))
	m.sysfs.populate("bus/nd/devices", name+" -> ../../../"+dir)
}

func (m *Machine) populateClaim(r *region, name string, c claim) {
	dir := r.dir + "/" + name
	m.sysfs.populate(dir, r.numa()+fmt.Sprintf(`
		align 0644 %[2]d
		devtype 0444 %[3]s
		driver -> %[1]sbus/nd/drivers/%[4]s
		modalias 0444 %[5]s
		mode 0644 ram
		namespace 0644 namespace%[6]d.0
		resource 0400 %#[7]x
		size 0444 %[8]d
		subsystem -> %[1]sbus/nd
		supported_alignments 0444 "4096 2097152 1073741824 \n"
		uevent 0644 "DEVTYPE=%[3]s\nDRIVER=%[4]s\nMODALIAS=%[5]s\n"
		uuid 0644 00000000-0000-4000-8000-%012[6]x`,
		up(dir), c.align, c.devtype, c.driver, c.modalias, r.number, r.start+r.infoBlock, c.usable))
	m.sysfs.populate("bus/nd/devices", name+" -> ../../../"+dir)
	m.sysfs.populate("bus/nd/drivers/"+c.driver, name+" -> ../../../../"+dir)
}

// populateSeeds makes the nd devices of the region that nothing is set up on yet; of
// the kind that sits on the namespace it is the second.
func (m *Machine) populateSeeds(r *region, claimed string) {
	for _, seed := range []struct{ kind, modalias, attributes string }{
		{"btt", "nd:t4", `
			log_zero_flags 0444 Y
			sector_size 0644 "512 520 528 4096 4104 4160 4224 \n"`},
		{"dax", "nd:t7", pfnSeed},
		{"pfn", "nd:t4", pfnSeed},
	} {
		name := fmt.Sprintf("%s%d.0", seed.kind, r.number)
		if seed.kind == claimed {
			name = fmt.Sprintf("%s%d.1", seed.kind, r.number)
		}
		dir := r.dir + "/" + name
		m.sysfs.populate(dir, r.numa()+seed.attributes+fmt.Sprintf(`
			devtype 0444 nd_%[2]s
			modalias 0444 %[3]s
			namespace 0644 "\n"
			size 0444 !ENXIO
			subsystem -> %[1]sbus/nd
			uevent 0644 "DEVTYPE=nd_%[2]s\nMODALIAS=%[3]s\n"
			uuid 0644 "\n"`,
			up(dir), seed.kind, seed.modalias))
		m.sysfs.populate(r.dir, seed.kind+"_seed 0444 "+name)
		m.sysfs.populate("bus/nd/devices", name+" -> ../../../"+dir)
	}
}

const pfnSeed = `
	align 0644 2097152
	mode 0644 none
	resource 0400 !ENXIO
	supported_alignments 0444 "4096 2097152 1073741824 \n"`

// cachesWrites says whether the CPU caches of the region's memory have to be flushed, as far
// as the kernel was told. mu must be held.
func (m *Machine) cachesWrites(r *region) bool {
	return !m.eadr || r.nmems == nil || m.cfg.NoPersistenceDomain
}

// populatePmem makes the namespace of a block device, the nd device and the block
// device on it.
func (m *Machine) populatePmem(r *region, minor int, cfg FS) {
	s := m.sysfs
	nd, disk := fmt.Sprintf("pfn%d.0", r.number), fmt.Sprintf("pmem%d", r.number)
	m.populateNamespace(r, nd, "memory")
	m.populateClaim(r, nd, claim{
		devtype: "nd_pfn", driver: "nd_pmem", modalias: "nd:t4", align: 2 << 20, usable: cfg.Size,
	})
	m.populateSeeds(r, "pfn")
	dir := r.dir + "/" + nd + "/block/" + disk
	s.populate(dir, fmt.Sprintf(`
		alignment_offset 0444 0
		badblocks 0644 ""
		bdi -> %[9]svirtual/bdi/%[2]d:%[3]d
		capability 0444 0
		dax/write_cache 0644 %[10]d
		dev 0444 %[2]d:%[3]d
		device -> ../../../%[4]s
		discard_alignment 0444 0
		diskseq 0444 %[5]d
		events 0444 ""
		events_async 0444 ""
		events_poll_msecs 0644 -1
		ext_range 0444 256
		hidden 0444 0
		holders
		inflight 0444 "       0        0\n"
		power
		range 0444 0
		removable 0444 0
		ro 0444 %[8]d
		size 0444 %[6]d
		slaves
		stat 0444 "       0        0        0        0        0        0        0        0        0        0        0        0        0        0        0        0        0\n"
		subsystem -> %[1]sclass/block
		uevent 0644 "MAJOR=%[2]d\nMINOR=%[3]d\nDEVNAME=%[7]s\nDEVTYPE=disk\nDISKSEQ=%[5]d\n"`,
		up(dir), blockMajor, minor, nd, minor+1, cfg.Size/512, disk, digit(r.readOnly), up(dir)[len("../"):], digit(m.cachesWrites(r))))
	s.populate(dir+"/queue", fmt.Sprintf("fua 0444 %d", digit(r.flushHints))+`
		add_random 0644 0
		chunk_sectors 0444 0
		dax 0444 1
		discard_granularity 0444 0
		discard_max_bytes 0644 0
		discard_max_hw_bytes 0444 0
		discard_zeroes_data 0444 0
		dma_alignment 0444 511
		hw_sector_size 0444 512
		io_poll 0644 0
		io_poll_delay 0644 0
		iostats 0644 0
		logical_block_size 0444 512
		max_discard_segments 0444 1
		max_integrity_segments 0444 0
		max_hw_sectors_kb 0444 2147483647
		max_sectors_kb 0644 1280
		max_segment_size 0444 65536
		max_segments 0444 128
		minimum_io_size 0444 4096
		nomerges 0644 0
		nr_requests 0644 128
		nr_zones 0444 0
		optimal_io_size 0444 0
		physical_block_size 0444 4096
		read_ahead_kb 0644 128
		rotational 0644 0
		rq_affinity 0644 0
		scheduler 0644 none
		stable_writes 0644 0
		virt_boundary_mask 0444 0
		wbt_lat_usec 0644 !EINVAL
		write_cache 0644 "write back\n"
		write_same_max_bytes 0444 0
		write_zeroes_max_bytes 0444 0
		zone_append_max_bytes 0444 0
		zone_write_granularity 0444 0
		zoned 0444 none`)
	s.populate(fmt.Sprintf("devices/virtual/bdi/%d:%d", blockMajor, minor), "read_ahead_kb 0644 128")
	s.populate("class/block", disk+" -> ../../"+dir)
	s.populate("dev/block", fmt.Sprintf("%d:%d -> ../../%s", blockMajor, minor, dir))
}
