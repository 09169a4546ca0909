package selftest

import (
	"errors"
	"math"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
)

// deviceFaults are those of the pages on what is below a source: DIMMs, nodes, bad
// blocks, unsafe shutdowns.
func deviceFaults() []fault {
	const id, usc, node = "pmem2_source_device_id/", "pmem2_source_device_usc/", "pmem2_source_numa_node/"
	const unsafeShutdown = "libpmem2_unsafe_shutdown/"
	readable := busReadable
	var all []fault
	for _, q := range []struct{ page, call, sysfsRow string }{
		{id, "Source.ReadDeviceID", "-errno#7"}, {usc, "Source.DeviceUSC", "-errno#8"}, {node, "Source.NUMANode", "-errno#2"},
	} {
		busRow := "-errno#2"
		if q.page == node {
			busRow = "-errno#1"
		}
		all = append(all, []fault{
			{q.call + ": ENOMEM where the bus can't be listed", q.page + busRow, true, answers(q.call, syscall.EACCES, syscall.ENOMEM, busUnreadable)},
			{q.call + ": ENOENT for what can't be opened", q.page + q.sysfsRow, true, answers(q.call, syscall.EACCES, syscall.ENOENT, readable)},
			{q.call + ": takes another device's dev file ill", q.page + "PMEM2_E_INVALID_DEV_FORMAT#1", true,
				answers(q.call, nil, pmem2.ErrInvalidDevFormat, devFileDamaged)},
		}...)
	}
	return append(all, []fault{
		{"device id: those that fit are in the buffer", id + "PMEM2_E_BUFFER_TOO_SMALL#1", true, otherwise(func(f *faults) {
			f.readDeviceID = func(s *source, buf []byte) (int, error) {
				n, err := s.Source.ReadDeviceID(buf)
				if errors.Is(err, pmem2.ErrBufferTooSmall) {
					whole, _ := s.Source.ReadDeviceID(nil)
					all := make([]byte, whole)
					_, _ = s.Source.ReadDeviceID(all)
					copy(buf, all)
				}
				return n, err
			}
		})},
		{"device id: appended to what is in the buffer", id + "(text)#1", true, otherwise(func(f *faults) {
			f.readDeviceID = func(s *source, buf []byte) (int, error) {
				old := 0
				for old < len(buf) && buf[old] != 0 {
					old++
				}
				own := append([]byte{}, buf...)
				n, err := s.Source.ReadDeviceID(buf)
				if err == nil && buf != nil {
					copy(own[old:], buf[:n])
					copy(buf, own)
				}
				return n, err
			}
		})},
		{"device id: of a closed descriptor not supported", id + "-errno#1", true, answers("Source.ReadDeviceID", syscall.EBADF, pmem2.ErrNoSupp)},
		{"device id: says that the region isn't found", id + "PMEM2_E_DAX_REGION_NOT_FOUND#1", true, otherwise(func(f *faults) {
			f.readDeviceID = func(s *source, buf []byte) (int, error) {
				n, err := s.Source.ReadDeviceID(buf)
				if _, missing := s.Source.NUMANode(); s.isDevice() && errors.Is(err, pmem2.ErrNoSupp) && errors.Is(missing, pmem2.ErrDaxRegionNotFound) {
					return n, pmem2.ErrDaxRegionNotFound
				}
				return n, err
			}
		})},
		{"device id: of the first DIMM only", id + "identifies-all-nvdimms", false, otherwise(func(f *faults) {
			f.readDeviceID = func(s *source, buf []byte) (int, error) {
				n, err := s.Source.ReadDeviceID(nil)
				if err != nil {
					return n, err
				}
				n = min(n, len("8680-56341200"))
				if buf == nil {
					return n, nil
				}
				all := make([]byte, 4096)
				if _, err := s.Source.ReadDeviceID(all); err != nil {
					return 0, err
				}
				return copy(buf, all[:n]), nil
			}
		})},
		{"usc: 0 with the error", usc + "PMEM2_E_NOSUPP#1", true, otherwise(func(f *faults) {
			f.deviceUSC = func(s *source) (uint64, error) {
				n, err := s.Source.DeviceUSC()
				if errors.Is(err, pmem2.ErrNoSupp) {
					n = 1 // Go's 0 is C's unmodified
				}
				return n, err
			}
		})},
		{"usc: of a closed descriptor not supported", usc + "-errno#1", true, answers("Source.DeviceUSC", syscall.EBADF, pmem2.ErrNoSupp)},
		{"usc: not supported if a count can't be read", usc + "-errno#3", true, answers("Source.DeviceUSC", syscall.EIO, pmem2.ErrNoSupp)},
		{"usc: says that the region isn't found", usc + "PMEM2_E_DAX_REGION_NOT_FOUND#1", true, otherwise(func(f *faults) {
			f.deviceUSC = func(s *source) (uint64, error) {
				n, err := s.Source.DeviceUSC()
				if _, missing := s.Source.NUMANode(); s.isDevice() && errors.Is(err, pmem2.ErrNoSupp) && errors.Is(missing, pmem2.ErrDaxRegionNotFound) {
					return n, pmem2.ErrDaxRegionNotFound
				}
				return n, err
			}
		})},
		{"usc: in 31 bits", usc + "sum-of-devices", false, otherwise(func(f *faults) {
			f.deviceUSC = func(s *source) (uint64, error) {
				n, err := s.Source.DeviceUSC()
				return n & math.MaxInt32, err
			}
		})},
		{"numa: the region isn't found for what isn't a file any more", node + "PMEM2_E_INVALID_FILE_TYPE#1", true,
			answers("Source.NUMANode", pmem2.ErrInvalidFileType, pmem2.ErrDaxRegionNotFound)},
		{"numa: always node 0", node + "node-of-source", false, otherwise(func(f *faults) {
			f.numaNode = func(s *source) (int, error) {
				_, err := s.Source.NUMANode()
				return 0, err
			}
		})},
		{"numa: node 0 of an ordinary file", node + "PMEM2_E_DAX_REGION_NOT_FOUND#1", false, answers("Source.NUMANode", pmem2.ErrDaxRegionNotFound, nil)},
		{"numa: -1 with the error", node + "unmodified-on-failure", false, otherwise(func(f *faults) {
			f.numaNode = func(s *source) (int, error) {
				n, err := s.Source.NUMANode()
				if err != nil {
					n = -1
				}
				return n, err
			}
		})},

		{"unsafe shutdown: the count is remembered", unsafeShutdown + "change-of-usc-detects", false, otherwise(func(f *faults) {
			f.deviceUSC = func(s *source) (uint64, error) {
				n, err := s.Source.DeviceUSC()
				if err != nil {
					return n, err
				}
				id := make([]byte, 4096)
				length, _ := s.Source.ReadDeviceID(id)
				first, _ := f.objects.LoadOrStore("usc of "+string(id[:length]), n)
				return first.(uint64), nil
			}
		})},
		{"unsafe shutdown: all devices have one identifier", unsafeShutdown + "device-id-detects-move", false, otherwise(func(f *faults) {
			f.readDeviceID = func(s *source, buf []byte) (int, error) {
				n, err := s.Source.ReadDeviceID(buf)
				for i := range buf[:min(n, len(buf))] {
					buf[i] = '0'
				}
				return n, err
			}
		})},
		{"unsafe shutdown: no count is an I/O error", unsafeShutdown + "nosupp-must-be-tolerated", false, answers("Source.DeviceUSC", pmem2.ErrNoSupp, syscall.EIO)},
	}...)
}

// badBlockFaults are those of the pages pmem2_badblock_*.
func badBlockFaults() []fault {
	const contexts, next, clearing = "pmem2_badblock_context_new/", "pmem2_badblock_next/", "pmem2_badblock_clear/"
	empty := func(when error) func() *faults {
		return otherwise(func(f *faults) {
			f.newBadBlockContext = func(l *library, src conformance.Source) (conformance.BadBlocks, error) {
				b, err := l.Library.NewBadBlockContext(bare(src))
				if err != nil && errors.Is(err, when) {
					return &noBadBlocks{}, nil
				}
				return b, err
			}
		})
	}
	onDevice := func(far func(b pmem2.BadBlock) bool) func() *faults {
		return otherwise(func(f *faults) {
			f.clearBlock = func(b *badBlocks, block pmem2.BadBlock) error {
				err := b.BadBlocks.Clear(block)
				if err != nil && far(block) {
					return nil
				}
				return err
			}
		})
	}
	return []fault{
		{"contexts: an empty one of a socket", contexts + "PMEM2_E_INVALID_FILE_TYPE#1", true, empty(pmem2.ErrInvalidFileType)},
		{"contexts: an empty one of a closed descriptor", contexts + "-errno#3", true, empty(syscall.EBADF)},
		{"contexts: ENOMEM where the bus can't be listed", contexts + "-errno#1", true, answers("Library.NewBadBlockContext", syscall.EACCES, syscall.ENOMEM, busUnreadable)},
		{"contexts: ENOENT for what can't be opened", contexts + "-errno#5", true, answers("Library.NewBadBlockContext", syscall.EACCES, syscall.ENOENT, busReadable)},
		{"contexts: ENXIO for a resource that can't be read", contexts + "-errno#7", true, answers("Library.NewBadBlockContext", syscall.EACCES, syscall.ENXIO, busReadable)},
		{"contexts: one comes with the error", contexts + "(text)#1", true, otherwise(func(f *faults) {
			f.newBadBlockContext = func(l *library, src conformance.Source) (conformance.BadBlocks, error) {
				b, err := l.Library.NewBadBlockContext(bare(src))
				if errors.Is(err, pmem2.ErrNoSupp) {
					return &noBadBlocks{}, err
				}
				return b, err
			}
		})},
		{"contexts: take another device's dev file ill", contexts + "PMEM2_E_INVALID_DEV_FORMAT#1", true, otherwise(func(f *faults) {
			f.newBadBlockContext = func(l *library, src conformance.Source) (conformance.BadBlocks, error) {
				if devFileDamaged(f) {
					return nil, pmem2.ErrInvalidDevFormat
				}
				return l.Library.NewBadBlockContext(bare(src))
			}
		})},
		{"contexts: read anew at the first block", contexts + "initialised-from-source", false, otherwise(func(f *faults) {
			f.newBadBlockContext = func(l *library, src conformance.Source) (conformance.BadBlocks, error) {
				b, err := l.Library.NewBadBlockContext(bare(src))
				if err == nil {
					b = &lateBadBlocks{BadBlocks: b, read: func() (conformance.BadBlocks, error) { return l.Library.NewBadBlockContext(bare(src)) }}
				}
				return b, err
			}
		})},
		{"contexts: usable when deleted", "pmem2_badblock_context_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteBadBlocks = func(*badBlocks) error { return nil }
		})},
		{"next: skips the first", next + "reads-next", false, otherwise(func(f *faults) {
			f.nextBlock = func(b *badBlocks) (pmem2.BadBlock, error) {
				if _, begun := f.objects.LoadOrStore([2]any{"begun", b}, true); !begun {
					_, _ = b.BadBlocks.Next()
				}
				return b.BadBlocks.Next()
			}
		})},
		{"next: a sector too short", next + "zero-and-stored", false, otherwise(func(f *faults) {
			f.nextBlock = func(b *badBlocks) (pmem2.BadBlock, error) {
				block, err := b.BadBlocks.Next()
				if block.Length > 512 {
					block.Length -= 512
				}
				return block, err
			}
		})},
		{"next: 0 after the last", next + "PMEM2_E_NO_BAD_BLOCK_FOUND#1", false, answers("BadBlocks.Next", pmem2.ErrNoBadBlockFound, nil)},
		{"next: crash without a context", next + "PMEM2_E_NOSUPP#1", true, otherwise(func(f *faults) {
			f.nilBadBlocks = func() conformance.BadBlocks { return nullBadBlocks{} }
		})},
		{"clear: crash without a context", clearing + "PMEM2_E_NOSUPP#1", true, otherwise(func(f *faults) {
			f.nilBadBlocks = func() conformance.BadBlocks { return nullBadBlocks{} }
		})},
		{"clear: offsets on a device DAX aren't checked", clearing + "PMEM2_E_OFFSET_OUT_OF_RANGE#2", true,
			onDevice(func(b pmem2.BadBlock) bool { return b.Offset > math.MaxInt64 })},
		{"clear: lengths on a device DAX aren't checked", clearing + "PMEM2_E_LENGTH_OUT_OF_RANGE#2", true,
			onDevice(func(b pmem2.BadBlock) bool { return b.Length > math.MaxInt64 })},
		{"clear: the block behind", clearing + "clears-given-block", false, otherwise(func(f *faults) {
			f.clearBlock = func(b *badBlocks, block pmem2.BadBlock) error {
				block.Offset += 4096
				return b.BadBlocks.Clear(block)
			}
		})},
		{"clear: nothing", clearing + "replaced-by-healthy-blocks", false, otherwise(func(f *faults) {
			f.clearBlock = func(b *badBlocks, block pmem2.BadBlock) error { return nil }
		})},
		{"clear: a part is enough", clearing + "-ENXIO#1", false, answers("BadBlocks.Clear", syscall.ENXIO, nil)},
		{"clear: what the bus says is lost", clearing + "-errno#2", false, answers("BadBlocks.Clear", syscall.EIO, pmem2.ErrIOFail)},
	}
}

// noBadBlocks is a context without any.
type noBadBlocks struct{ _ byte }

func (*noBadBlocks) Next() (pmem2.BadBlock, error) { return pmem2.BadBlock{}, pmem2.ErrNoBadBlockFound }
func (*noBadBlocks) Clear(pmem2.BadBlock) error    { return nil }
func (*noBadBlocks) Delete() error                 { return nil }

// nullBadBlocks is no context, of a library that doesn't look.
type nullBadBlocks struct{}

func (nullBadBlocks) Next() (pmem2.BadBlock, error) {
	crash()
	return pmem2.BadBlock{}, nil
}

func (nullBadBlocks) Clear(pmem2.BadBlock) error {
	crash()
	return nil
}
func (nullBadBlocks) Delete() error { return nil }

// lateBadBlocks reads the bad blocks when the first is asked for.
type lateBadBlocks struct {
	conformance.BadBlocks
	read func() (conformance.BadBlocks, error)
	late conformance.BadBlocks
}

func (b *lateBadBlocks) Next() (pmem2.BadBlock, error) {
	if b.late == nil {
		late, err := b.read()
		if err != nil {
			return pmem2.BadBlock{}, err
		}
		b.late = late
	}
	return b.late.Next()
}

func (b *lateBadBlocks) Delete() error {
	if b.late != nil {
		_ = b.late.Delete()
	}
	return b.BadBlocks.Delete()
}
