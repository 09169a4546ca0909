package conformance

import (
	"errors"
	"fmt"
	"strings"

	"pmemlab/pmem2/platform"
)

// answer is what somebody says who may not know.
type answer int

const (
	unknown answer = iota
	no
	yes
)

func answered(v bool) answer {
	if v {
		return yes
	}
	return no
}

// daxEvidence is what a machine says of whether a file is mapped without a page cache.
// MAP_SYNC that succeeds is no proof of it.
type daxEvidence struct {
	statx   answer // of the file's attribute
	sysfs   answer // of the block device: queue/dax
	mapSync error  // of mmap with MAP_SYNC; nil if it succeeds
	device  string // the block device's directory, "dev/block/259:0"; "" if sysfs has none
}

// daxOf asks about an open file of a page at least.
func daxOf(m platform.Platform, fd int) (e daxEvidence, err error) {
	stx, err := m.Statx(fd)
	if err != nil {
		return e, fmt.Errorf("statx: %w", err)
	}
	if stx.AttributesMask&platform.StatxAttrDAX != 0 {
		e.statx = answered(stx.Attributes&platform.StatxAttrDAX != 0)
	}
	st, err := m.Fstat(fd)
	if err != nil {
		return e, fmt.Errorf("fstat: %w", err)
	}
	dev := platform.Stat{Rdev: st.Dev}
	e.device = fmt.Sprintf("dev/block/%d:%d", dev.Major(), dev.Minor())
	if text, err := m.ReadAttr(e.device + "/queue/dax"); err == nil {
		e.sysfs = answered(strings.TrimSpace(text) == "1")
	} else if _, err := m.Readlink(e.device); err != nil {
		e.device = ""
	}
	addr, err := m.Mmap(0, m.PageSize(), platform.ProtRead, platform.MapSharedValidate|platform.MapSync, fd, 0)
	if err != nil {
		e.mapSync = err
		return e, nil
	}
	return e, m.Munmap(addr, m.PageSize())
}

// daxIn asks about a file that is made in a directory for this.
func daxIn(m platform.Platform, d directories, dir string) (e daxEvidence, err error) {
	own, err := d.MkdirTemp(dir, testDirPrefix)
	if err != nil {
		return e, fmt.Errorf("make a directory in %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, d.RemoveAll(own)) }()
	const size = 2 * mib
	fd, err := m.Open(own+"/file", platform.ORdwr|platform.OCreat|platform.OExcl, 0o600)
	if err != nil {
		return e, fmt.Errorf("make a file in %s: %w", own, err)
	}
	err = m.Ftruncate(fd, size)
	if err == nil {
		e, err = daxOf(m, fd)
	}
	return e, errors.Join(err, m.Close(fd), m.Unlink(own+"/file"))
}

// dax tells whether files are mapped without a page cache: somebody who knows says so,
// and nobody says otherwise.
func (e daxEvidence) dax() bool {
	return e.statx != no && e.sysfs != no && (e.statx == yes || e.sysfs == yes)
}

// any tells whether anything speaks for it. A block device with DAX alone doesn't: the
// file system on it needn't use that.
func (e daxEvidence) any() bool {
	return e.mapSync == nil || e.statx == yes || e.statx == unknown && e.sysfs == yes
}

// why is the evidence in words.
func (e daxEvidence) why() string {
	var said []string
	if e.mapSync == nil {
		said = append(said, "MAP_SYNC succeeds")
	} else {
		said = append(said, fmt.Sprintf("MAP_SYNC is refused (%v)", e.mapSync))
	}
	said = append(said, [...]string{"statx doesn't know the DAX attribute", "statx says that the file isn't DAX", "statx says that the file is DAX"}[e.statx])
	queue := "/sys/" + e.device + "/queue/dax"
	switch {
	case e.device == "":
		said = append(said, "sysfs knows no block device below")
	case e.sysfs == unknown:
		said = append(said, queue+" isn't there")
	default:
		said = append(said, queue+" is "+[...]string{no: "0", yes: "1"}[e.sysfs])
	}
	text := strings.Join(said, ", ")
	if e.contradicts() {
		text = "they disagree: " + text
	}
	return text
}

// contradicts tells whether some of the evidence speaks for DAX and some against it.
// MAP_SYNC that is refused speaks against nothing: virtio-pmem does that.
func (e daxEvidence) contradicts() bool {
	return e.mapSync == nil && !e.dax() || e.statx == yes && e.sysfs == no
}

// lacks says why the rows that need a file system with DAX can't be checked there, or "".
func (e daxEvidence) lacks() string {
	switch {
	case !e.dax():
		return "no DAX that everybody agrees on: " + e.why()
	case e.mapSync != nil:
		return "DAX without MAP_SYNC, which has the granularity of a page: " + e.why()
	}
	return ""
}
