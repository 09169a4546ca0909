package model

import (
	"math/bits"
	"syscall"

	"pmemlab/pmem2"
)

// DeviceSize is pmem2_source_size(3) of a device DAX.
func DeviceSize(size Attr) (uint64, Result) { return size.number(pmem2.ErrInvalidSizeFormat) }

// DeviceAlignment is pmem2_source_alignment(3) of a device DAX.
func DeviceAlignment(align Attr, page uint64) (uint64, Result) {
	n, r := align.number(pmem2.ErrInvalidAlignmentFormat)
	if r == OK && (bits.OnesCount64(n) != 1 || n < page) {
		return 0, Fails(pmem2.ErrInvalidAlignmentValue)
	}
	return n, r
}

// number is that of an attribute which must hold one, with the code for what doesn't.
func (a Attr) number(format pmem2.Code) (uint64, Result) {
	if a.Errno != 0 {
		return 0, FailsWith(a.Errno)
	}
	n, reading := decimal(a.line())
	switch reading {
	case tooLarge:
		return 0, FailsWith(syscall.ERANGE)
	case noNumber:
		return 0, Fails(format)
	}
	return n, OK
}

// NUMANode is pmem2_source_numa_node(3) of what lies on a region.
func NUMANode(node Attr) (int, Result) {
	if node.Errno == syscall.ENOENT {
		return 0, Fails(pmem2.ErrNoSupp)
	}
	n, ok := signed(node.line())
	switch {
	case node.Errno != 0:
		return 0, FailsWith(node.Errno)
	case !ok:
		return 0, FailsWith(syscall.EINVAL)
	}
	return int(n), OK
}

// DIMMs are the NVDIMMs of a region, and an attribute that each has: the DIMM of the number
// n is called nmemn.
type DIMMs struct {
	Mappings Attr   // how many there are
	Mapping  []Attr // "nmem0,…": the first ones
	DIMM     []Attr // at most ten
}

// each calls attribute with the attribute of each DIMM in the order of the mappings, until
// it fails. Not one is looked at if there is a mapping that can't be read.
func (d DIMMs) each(attribute func(Attr) Result) Result {
	switch d.Mappings.Errno {
	case 0:
	case syscall.ENOENT:
		return Fails(pmem2.ErrNoSupp)
	default:
		return FailsWith(d.Mappings.Errno)
	}
	n, reading := decimal(d.Mappings.line())
	switch {
	case reading != number || n > 1<<16-1:
		return FailsWith(syscall.EINVAL)
	case n == 0:
		return Fails(pmem2.ErrNoSupp)
	}
	for i := range n {
		switch {
		case i >= uint64(len(d.Mapping)) || d.Mapping[i].Errno == syscall.ENOENT:
			return FailsWith(syscall.EINVAL)
		case d.Mapping[i].Errno != 0:
			return FailsWith(d.Mapping[i].Errno)
		case dimmName(d.Mapping[i]) == "":
			return FailsWith(syscall.EINVAL)
		}
	}
	for _, m := range d.Mapping[:n] {
		a := Attr{Errno: syscall.ENOENT}
		if name := dimmName(m); len(name) == 5 && name[:4] == "nmem" && int(name[4]-'0') < len(d.DIMM) {
			a = d.DIMM[name[4]-'0']
		}
		switch a.Errno {
		case 0:
		case syscall.ENOENT:
			return Fails(pmem2.ErrNoSupp)
		default:
			return FailsWith(a.Errno)
		}
		if attribute == nil {
			continue
		}
		if r := attribute(a); r != OK {
			return r
		}
	}
	return OK
}

// dimmName is what stands before the first comma of a mapping.
func dimmName(mapping Attr) string {
	line := mapping.line()
	for i := range len(line) {
		if line[i] == ',' {
			return line[:i]
		}
	}
	return line
}

// DeviceID is pmem2_source_device_id(3) of what lies on a region: the identifiers one after
// the other, appended to a buffer.
func (d DIMMs) DeviceID(to []byte) ([]byte, Result) {
	r := d.each(func(id Attr) Result {
		to = append(to, id.line()...)
		return OK
	})
	return to, r
}

// DeviceUSC is pmem2_source_device_usc(3) of what lies on a region: the sum of the counts,
// which the kernel prints as signed ones of 32 bits.
func (d DIMMs) DeviceUSC() (uint64, Result) {
	// All are read before any is understood.
	if r := d.each(nil); r != OK {
		return 0, r
	}
	var sum uint64
	r := d.each(func(count Attr) Result {
		n, reading := decimal(count.line())
		if reading == noNumber {
			s, ok := signed(count.line())
			if !ok {
				return FailsWith(syscall.EINVAL)
			}
			n = uint64(uint32(s))
		}
		total, carry := bits.Add64(sum, n, 0)
		if reading == tooLarge || carry != 0 {
			return FailsWith(syscall.ERANGE)
		}
		sum = total
		return OK
	})
	if r != OK {
		return 0, r
	}
	return sum, OK
}

// Entry is a name in a directory, and an attribute that it has.
type Entry struct {
	Name string
	Attr
}

// SyncedGranularity is the granularity of a shared mapping with MAP_SYNC, as libpmem2(7)
// tells it: from the persistence domains of what is on the nvdimm bus. BYTE has to be
// certain.
func SyncedGranularity(bus []Entry, listing syscall.Errno) pmem2.Granularity {
	regions := 0
	for _, e := range bus {
		if !isRegion(e.Name) {
			continue
		}
		if e.Errno != 0 || e.line() != "cpu_cache" {
			return pmem2.GranularityCacheLine
		}
		regions++
	}
	if listing != 0 || regions == 0 {
		return pmem2.GranularityCacheLine
	}
	return pmem2.GranularityByte
}

func isRegion(name string) bool {
	return len(name) > 6 && name[:6] == "region" && digits(name[6:])
}

// CharacterDevice is whether a character device can be a source, by the link to its
// subsystem.
func CharacterDevice(subsystem Attr) Result {
	switch subsystem.Errno {
	case 0:
	case syscall.ENOENT:
		return Fails(pmem2.ErrInvalidFileType)
	default:
		return FailsWith(subsystem.Errno)
	}
	to := subsystem.Text
	for len(to) > 0 && to[len(to)-1] == '/' {
		to = to[:len(to)-1]
	}
	if n := len(to); to == "dax" || n > 4 && to[n-4:] == "/dax" {
		return OK
	}
	return Fails(pmem2.ErrInvalidFileType)
}

// OnRegion is the region of the nvdimm bus that a device lies on, "" for none: the link to
// the device leads through directories of regions, the last of which the bus lists.
func OnRegion(link Attr, bus []Entry, listing syscall.Errno) (string, Result) {
	switch link.Errno {
	case 0:
	case syscall.ENOENT:
		return "", OK
	default:
		return "", FailsWith(link.Errno)
	}
	// The link lies in dev/char or dev/block.
	way := make([]string, 2, 16)
	for rest := link.Text; rest != ""; {
		end := 0
		for end < len(rest) && rest[end] != '/' {
			end++
		}
		switch name := rest[:end]; name {
		case "", ".":
		case "..":
			way = way[:max(len(way), 1)-1]
		default:
			way = append(way, name)
		}
		rest = rest[min(end+1, len(rest)):]
	}
	region := ""
	for _, name := range way {
		if isRegion(name) {
			region = name
		}
	}
	switch {
	case region == "" || listing == syscall.ENOENT:
		return "", OK
	case listing != 0:
		return "", FailsWith(listing)
	}
	for _, e := range bus {
		if e.Name == region {
			return region, OK
		}
	}
	return "", OK
}

// DeepFlush is pmem2_deep_flush(3) of a device DAX on a region: whether the region is told
// to, and the result if that answers an errno.
func DeepFlush(attribute Attr, answer syscall.Errno) (told bool, r Result) {
	switch {
	case attribute.Errno == syscall.ENOENT:
		return false, OK
	case attribute.Errno != 0:
		return false, FailsWith(attribute.Errno)
	case attribute.line() != "1":
		return false, OK
	}
	switch answer {
	case 0, syscall.EACCES, syscall.EPERM, syscall.EROFS: // only root may
		return true, OK
	}
	return true, FailsWith(answer)
}
