package pmem2

import (
	"errors"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// region is the persistent memory region, of the nvdimm bus, that a file or device
// lies on. Paths are those of sysfs.
type region struct {
	machine platform.Platform
	dir     string // "bus/nd/devices/region0"
	device  string // the device itself, without symbolic links: ".../region0/dax0.0/dax0.0"
	bus     string // the bus of the region, likewise: ".../ndbus0"
}

const nvdimmDevices = "bus/nd/devices"

// findRegion finds the region of what st describes: of the block device that a
// regular file lies on, or of a device DAX. It is nil if there is none: the storage
// is no persistent memory, or sysfs doesn't tell.
func (s *Source) findRegion(op string, kind fileKind, st *platform.Stat) (*region, error) {
	node := deviceNode(st)
	if kind == regularFile {
		node = blockNode(st)
	}
	return findRegion(op, s.machine, node)
}

func findRegion(op string, machine platform.Platform, node string) (*region, error) {
	link, err := machine.Readlink(node)
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, failErrno(op, err, "following %s in sysfs", node)
	}
	dir := path.Dir(node)
	for dir != "." && strings.HasPrefix(link, "../") {
		dir, link = path.Dir(dir), link[len("../"):]
	}
	if dir != "." || strings.HasPrefix(link, "/") {
		link = path.Join(dir, link)
	}
	r := &region{machine: machine, device: path.Clean(link)}
	name := ""
	for end := len(r.device); end > 0 && name == ""; {
		slash := max(strings.LastIndexByte(r.device[:end], '/'), 0)
		if base := strings.TrimPrefix(r.device[slash:end], "/"); isRegion(base) {
			name, r.bus = base, r.device[:slash]
		}
		end = slash
	}
	if name == "" {
		return nil, nil
	}
	names, err := machine.List(nvdimmDevices)
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return nil, failErrno(op, err, "listing %s in sysfs", nvdimmDevices)
	}
	for _, found := range names {
		if found == name {
			r.dir = nvdimmDevices + "/" + name
			return r, nil
		}
	}
	return nil, nil
}

// blockNode is the sysfs directory of the block device that a file lies on.
func blockNode(st *platform.Stat) string {
	of := platform.Stat{Rdev: st.Dev}
	return nodePath("dev/block/", of.Major(), of.Minor(), "")
}

// attribute reads an attribute without its newline. One that is absent, or whose
// directory is, is found to be false and no error.
func (r *region) attribute(op, name string) (text string, found bool, err error) {
	text, err = r.machine.ReadAttr(name)
	if errors.Is(err, syscall.ENOENT) {
		return "", false, nil
	}
	if err != nil {
		return "", false, failErrno(op, err, "reading %s in sysfs", name)
	}
	return strings.TrimSuffix(text, "\n"), true, nil
}

// dimms are the names of the NVDIMMs that the region is interleaved over, in the
// order of its mappings; none where the region doesn't list any.
func (r *region) dimms(op string) ([]string, error) {
	text, found, err := r.attribute(op, r.dir+"/mappings")
	if err != nil || !found {
		return nil, err
	}
	n, errno := parseDecimal(text)
	if errno != 0 || n > math.MaxUint16 {
		return nil, failErrno(op, syscall.EINVAL, "%s/mappings says %q, a number of mappings is needed", r.dir, text)
	}
	var names []string
	for i := range n {
		attr := r.dir + "/mapping" + strconv.FormatUint(i, 10)
		text, found, err := r.attribute(op, attr)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(text, ",")
		if !found || name == "" {
			return nil, failErrno(op, syscall.EINVAL, "%s says %q, the name of an NVDIMM and its range are needed", attr, text)
		}
		names = append(names, name)
	}
	return names, nil
}

// dimmAttributes reads nfit/name of every NVDIMM of the region. It is ErrNoSupp if
// there is no NVDIMM or one hasn't got it.
func (r *region) dimmAttributes(op, name string) ([]string, error) {
	dimms, err := r.dimms(op)
	if err != nil {
		return nil, err
	}
	if len(dimms) == 0 {
		return nil, fail(op, ErrNoSupp, "%s has no NVDIMM", path.Base(r.dir))
	}
	texts := make([]string, len(dimms))
	for i, dimm := range dimms {
		text, found, err := r.attribute(op, nvdimmDevices+"/"+dimm+"/nfit/"+name)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fail(op, ErrNoSupp, "%s of %s has no %s", dimm, path.Base(r.dir), name)
		}
		texts[i] = text
	}
	return texts, nil
}

// address reads a system physical address or a number of bytes: 0x180000000.
func (r *region) address(name string) (uint64, error) {
	text, err := r.machine.ReadAttr(name)
	if err != nil {
		return 0, err
	}
	n, errno := parseAddress(strings.TrimSuffix(text, "\n"))
	if errno != 0 {
		return 0, syscall.EINVAL
	}
	return n, nil
}

// sectors is a range of a list of bad blocks, in bytes: [start, start+length).
type sectors struct{ start, length uint64 }

const sectorSize = 512

// badSectors reads a sysfs list of bad blocks: lines of a first sector and a number
// of sectors. No such attribute is an empty list. A list longer than a page the kernel
// cuts off, in the middle of a line: what is whole of it counts.
func (r *region) badSectors(op, name string) ([]sectors, error) {
	text, err := r.machine.ReadAttr(name)
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return nil, failErrno(op, err, "reading %s in sysfs", name)
	}
	if uint64(len(text)) >= r.machine.PageSize()-1 {
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	var list []sectors
	for line := range strings.Lines(text) {
		first, count, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		start, errno1 := parseDecimal(first)
		n, errno2 := parseDecimal(count)
		if errno1 != 0 || errno2 != 0 || start > math.MaxInt64/sectorSize || n > math.MaxInt64/sectorSize-start {
			return nil, failErrno(op, syscall.EINVAL, "%s says %q, a sector and a number of sectors are needed", name, line)
		}
		if n > 0 {
			list = append(list, sectors{start * sectorSize, n * sectorSize})
		}
	}
	return list, nil
}
