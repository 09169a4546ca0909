package pmem2

import (
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// DeviceID is pmem2_source_device_id(3): one identifier of all NVDIMMs that the
// source lies on, theirs one after the other in the order of the region's mappings.
// It changes if the file is moved to other NVDIMMs; see libpmem2_unsafe_shutdown(7).
//
// Errors: ErrNoSupp if the source is anonymous or lies on no region of the nvdimm
// bus, the region has no NVDIMM, or one of them has no identifier;
// ErrInvalidFileType if the descriptor refers to something that can't be a source
// any more; else the errno of fstat (EBADF for a closed descriptor) or of reading
// sysfs, of which EINVAL is also what can't be parsed; EINVAL on a nil or deleted
// source.
func (s *Source) DeviceID() (string, error) { return s.deviceID("DeviceID") }

// ReadDeviceID is DeviceID into a buffer: it returns the length of the identifier
// in bytes, and with a nil buffer that is all it does.
//
// Errors: ErrBufferTooSmall if buf is shorter than the identifier, and buf is as it
// was; those of DeviceID. The length is then 0.
func (s *Source) ReadDeviceID(buf []byte) (n int, err error) {
	const op = "ReadDeviceID"
	id, err := s.deviceID(op)
	switch {
	case err != nil:
		return 0, err
	case buf == nil:
		return len(id), nil
	case len(buf) < len(id):
		return 0, fail(op, ErrBufferTooSmall, "the buffer has %d bytes, the identifier %d", len(buf), len(id))
	}
	return copy(buf, id), nil
}

func (s *Source) deviceID(op string) (string, error) {
	ids, err := s.dimmAttributes(op, "id")
	return strings.Join(ids, ""), err
}

// DeviceUSC is pmem2_source_device_usc(3): the sum of the unsafe shutdown counts of
// the NVDIMMs that the source lies on. A count only grows; see
// libpmem2_unsafe_shutdown(7).
//
// Errors: those of DeviceID, where ErrNoSupp is also an NVDIMM without a count;
// ERANGE if a count or the sum needs more than 64 bits. The sum is then 0.
func (s *Source) DeviceUSC() (uint64, error) {
	const op = "DeviceUSC"
	counts, err := s.dimmAttributes(op, "dirty_shutdown")
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, text := range counts {
		n, errno := parseDecimal(text)
		if errno == syscall.EINVAL {
			// The kernel has 32 bits and prints them with a sign.
			var signed int32
			signed, errno = parseInt32(text)
			n = uint64(uint32(signed))
		}
		switch {
		case errno == syscall.ERANGE || errno == 0 && sum+n < sum:
			return 0, failErrno(op, syscall.ERANGE, "the counts %q add up to more than 64 bits hold", counts)
		case errno != 0:
			return 0, failErrno(op, syscall.EINVAL, "an NVDIMM's dirty_shutdown says %q, a number is needed", text)
		}
		sum += n
	}
	return sum, nil
}

// dimmAttributes reads nfit/name of the NVDIMMs that the source lies on.
func (s *Source) dimmAttributes(op, name string) ([]string, error) {
	called(op)
	r, err := s.region(op)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fail(op, ErrNoSupp, "the source lies on no region of the nvdimm bus")
	}
	return r.dimmAttributes(op, name)
}

// NUMANode is pmem2_source_numa_node(3): the node that the region of the source
// belongs to, -1 if it belongs to none.
//
// Errors: ErrNoSupp if the source is anonymous or the kernel doesn't tell;
// ErrDaxRegionNotFound if it lies on no region of the nvdimm bus; ErrInvalidFileType
// if the descriptor refers to something that can't be a source any more; else the
// errno of fstat (EBADF for a closed descriptor) or of reading sysfs, of which
// EINVAL is also what can't be parsed; EINVAL on a nil or deleted source. The node is
// then 0.
func (s *Source) NUMANode() (int, error) {
	const op = "NUMANode"
	called(op)
	r, err := s.region(op)
	if err != nil {
		return 0, err
	}
	if r == nil {
		return 0, fail(op, ErrDaxRegionNotFound, "the source lies on no region of the nvdimm bus")
	}
	text, found, err := r.attribute(op, r.dir+"/numa_node")
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, fail(op, ErrNoSupp, "%s has no attribute numa_node", r.dir)
	}
	node, errno := parseInt32(text)
	if errno != 0 {
		return 0, failErrno(op, syscall.EINVAL, "%s/numa_node says %q, a number is needed", r.dir, text)
	}
	return int(node), nil
}

// region finds the region that the source lies on now; nil if there is none.
func (s *Source) region(op string) (*region, error) {
	if err := s.usable(op); err != nil {
		return nil, err
	}
	if s.fd < 0 {
		return nil, fail(op, ErrNoSupp, "the source is anonymous memory")
	}
	var st platform.Stat
	if err := s.fstat(&st); err != nil {
		return nil, failErrno(op, err, "fstat of descriptor %d", s.fd)
	}
	kind, err := s.fileType(op, &st)
	if err != nil {
		return nil, err
	}
	return s.findRegion(op, kind, &st)
}
