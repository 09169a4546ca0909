package emu

import (
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Region says what the region of a device is made of, and what the firmware tells of
// it. The zero value is one DIMM with flush hints on NUMA node 0.
type Region struct {
	// DIMMs is the interleave set under the region, at most 32 in the order of the
	// region's mappings; none is one DIMM{}. Each has an equal share of the region.
	DIMMs []DIMM
	// NUMANode is the node of the region, its namespace and the devices on it: 0 to
	// 1023, or -1 for none, which leaves target_node out.
	NUMANode int
	// NoFlushHints is firmware without flush hint addresses: deep_flush reads 0 and
	// a write to it is EACCES, for root too.
	NoFlushHints bool
	// NoDeepFlush leaves deep_flush out, as a kernel that has no cache operations
	// for its architecture does. NoFlushHints then changes nothing.
	NoDeepFlush bool
	// Legacy is memory that the kernel was told of with memmap=: on a bus of its own,
	// without DIMMs, deep_flush, persistence_domain and set_cookie. DIMMs must be none.
	Legacy bool
}

// DIMM is an NVDIMM. The zero value is one without faults, whose firmware counts dirty
// shutdowns and has seen none. The count rises when a flush on power failure fails;
// what the next boot of the machine would tell is
//
//	m.Sysfs().Set(dax.DIMMPaths()[0]+"/nfit/dirty_shutdown", "1\n")
type DIMM struct {
	// ID is the text of nfit/id: vendor and serial number in small hexadecimal
	// digits, "8680-56341200", or with the place and date of manufacture between
	// them, "8089-a2-1837-000019c4". nfit/vendor and nfit/serial follow it. "" is made
	// up, another one for each DIMM. Two DIMMs may have one ID, as in faulty firmware.
	ID string
	// NoID leaves nfit/id out, as old kernels do. ID must be "".
	NoID bool
	// DirtyShutdowns is nfit/dirty_shutdown, at most 1<<32 - 1. Linux prints the 32
	// bits as a signed number: from 1<<31 on it reads negative.
	DirtyShutdowns uint64
	// NoDirtyShutdown is firmware without the command "smart": nfit/dirty_shutdown is
	// left out. DirtyShutdowns must be 0.
	NoDirtyShutdown bool
	// Flags is what nfit/flags tells, of save_fail, restore_fail, flush_fail,
	// not_armed, smart_event, map_fail and smart_notify, separated by spaces, in any
	// order; "" is none. A DIMM that is not_armed makes the region's read_only and
	// the disk's ro read 1, and that is all: nothing is refused because of it.
	Flags string
}

// maxDIMMs is how many mappings the kernel has attributes for.
const maxDIMMs = 32

// maxNUMANode is the last node of a kernel with CONFIG_NODES_SHIFT=10.
const maxNUMANode = 1<<10 - 1

// dimmFlags are the names in nfit/flags, in the order in which the kernel prints them.
var dimmFlags = []string{
	"save_fail", "restore_fail", "flush_fail", "not_armed", "smart_event", "map_fail", "smart_notify",
}

var dimmID = regexp.MustCompile(`^([0-9a-f]{4})(?:-[0-9a-f]{2}-[0-9a-f]{4})?-([0-9a-f]{8})$`)

func (c Region) isZero() bool {
	return len(c.DIMMs) == 0 && c.NUMANode == 0 && !c.NoFlushHints && !c.NoDeepFlush && !c.Legacy
}

// check says what is wrong with the values; name is the field that they are in.
func (c Region) check(name string) error {
	switch {
	case len(c.DIMMs) > maxDIMMs:
		return fmt.Errorf("emu: %s.DIMMs has %d DIMMs, allowed are at most %d", name, len(c.DIMMs), maxDIMMs)
	case c.NUMANode < -1 || c.NUMANode > maxNUMANode:
		return fmt.Errorf("emu: %s.NUMANode is %d, allowed are -1 (none) to %d", name, c.NUMANode, maxNUMANode)
	case c.Legacy && len(c.DIMMs) > 0:
		return fmt.Errorf("emu: %s.DIMMs has %d DIMMs, allowed with Legacy are none", name, len(c.DIMMs))
	}
	for i, d := range c.DIMMs {
		if err := d.check(fmt.Sprintf("%s.DIMMs[%d]", name, i)); err != nil {
			return err
		}
	}
	return nil
}

func (d DIMM) check(name string) error {
	switch {
	case d.ID != "" && !dimmID.MatchString(d.ID):
		return fmt.Errorf(`emu: %s.ID is %q, allowed are "" and small hexadecimal digits as in "8680-56341200" or "8089-a2-1837-000019c4"`,
			name, d.ID)
	case d.ID != "" && d.NoID:
		return fmt.Errorf(`emu: %s.ID is %q, allowed with NoID is ""`, name, d.ID)
	case d.DirtyShutdowns > math.MaxUint32:
		return fmt.Errorf("emu: %s.DirtyShutdowns is %d, allowed are at most %d", name, d.DirtyShutdowns, uint32(math.MaxUint32))
	case d.DirtyShutdowns != 0 && d.NoDirtyShutdown:
		return fmt.Errorf("emu: %s.DirtyShutdowns is %d, allowed with NoDirtyShutdown is 0", name, d.DirtyShutdowns)
	}
	for flag := range strings.FieldsSeq(d.Flags) {
		if !slices.Contains(dimmFlags, flag) {
			return fmt.Errorf("emu: %s.Flags has %q, allowed are %s", name, flag, strings.Join(dimmFlags, ", "))
		}
	}
	return nil
}

func (d DIMM) has(flag string) bool {
	return slices.Contains(strings.Fields(d.Flags), flag)
}

// flags is the text of nfit/flags.
func (d DIMM) flags() string {
	text := ""
	for _, flag := range dimmFlags {
		if d.has(flag) {
			text += flag + " "
		}
	}
	return text + "\n"
}

// identity is the text of nfit/id, and the vendor and serial number in it, of the DIMM
// number n of the machine.
func (d DIMM) identity(n int) (id, vendor string, serial uint32) {
	if d.ID == "" {
		// Firmware has the number in the other order of bytes.
		serial = bits.ReverseBytes32(0x123456 + uint32(n))
		return fmt.Sprintf("8680-%08x", serial), "8680", serial
	}
	parts := dimmID.FindStringSubmatch(d.ID)
	number, _ := strconv.ParseUint(parts[2], 16, 32) // eight digits
	return d.ID, parts[1], uint32(number)
}

// region is a range of persistent memory with one namespace.
type region struct {
	number     int
	bus        string // path of its bus in sysfs
	dir        string // its own
	start      uint64 // system physical address
	size       uint64 // in bytes, info block included
	infoBlock  uint64 // bytes before what can be used
	numaNode   int
	targetNode int
	nmems      []int // numbers of its DIMMs, in the order of its mappings
	legacy     bool
	readOnly   bool // as sysfs tells; nothing is refused
	flushHints bool
	deepFlush  atomic.Uint64 // successful writes to deep_flush
	deepEpoch  uint64        // rises with each deep flush; guarded by the machine's mu
	deepSeen   uint64        // of deepFlush, as far as deepEpoch has risen for it
}

// numa lists the attributes of a device of the region that tell nodes.
func (r *region) numa() string {
	text := fmt.Sprintf("numa_node 0444 %d\n", r.numaNode)
	if r.targetNode >= 0 {
		text += fmt.Sprintf("target_node 0444 %d\n", r.targetNode)
	}
	return text
}

// align is the text of the region's align: a namespace's size is a multiple of it, and
// it divides evenly among the DIMMs.
func (r *region) align() uint64 {
	align := uint64(16 << 20)
	if r.size < align {
		align = pageSize
	}
	if n := uint64(len(r.nmems)); n > 0 && align%n != 0 {
		align *= n
	}
	return align
}

// deepFlush is what a write to the attribute deep_flush of the region does: it takes what
// asks for a flush. The text stays: it says whether there are flush hints.
type deepFlush region

func (r *deepFlush) writeAttr(text string) error {
	if text == "" {
		return nil // the kernel doesn't pass on a write of nothing
	}
	if on, ok := kernelBool(text); !ok || !on {
		return syscall.EINVAL
	}
	r.deepFlush.Add(1)
	return nil
}

// kernelBool reads a truth value as kernels since 5.12 do: the first letter decides,
// and of "on" and "off" the second.
func kernelBool(text string) (value, ok bool) {
	text = strings.ToLower(text)
	switch {
	case text == "":
		return false, false
	case strings.Contains("yt1", text[:1]), strings.HasPrefix(text, "on"):
		return true, true
	case strings.Contains("nf0", text[:1]), strings.HasPrefix(text, "of"):
		return false, true
	}
	return false, false
}

// interleaveLine is how many bytes of a region lie on one DIMM before the next one's
// turn comes.
const interleaveLine = 4096

// member is a DIMM of an interleave set.
type member struct {
	offset uint64 // of its first line in the region, in bytes
	serial uint32
}

// setCookie is the checksum that the kernel knows an interleave set by: Fletcher's, over
// 32-bit words, of the members in the order of their offsets.
func setCookie(set []member) uint64 {
	var sum, sums uint32
	for _, d := range set {
		for _, word := range []uint32{uint32(d.offset), uint32(d.offset >> 32), bits.ReverseBytes32(d.serial), 0} {
			sum += word
			sums += sum
		}
	}
	return uint64(sums)<<32 | uint64(sum)
}

// DIMMPaths returns the paths in sysfs of the DIMMs that the device's region lies on, such
// as "bus/nd/devices/nmem0", in the order of the region's mappings; nil if there are none.
func (d *Device) DIMMPaths() []string {
	if d.region == nil {
		return nil
	}
	var paths []string
	for _, n := range d.region.nmems {
		paths = append(paths, fmt.Sprintf("bus/nd/devices/nmem%d", n))
	}
	return paths
}

// DeepFlushes returns how often deep_flush of the device's region was written with
// success. Devices of one region share the number.
func (d *Device) DeepFlushes() uint64 {
	if d.region == nil {
		return 0
	}
	return d.region.deepFlush.Load()
}
