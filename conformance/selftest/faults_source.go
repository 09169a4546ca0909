package selftest

import (
	"errors"
	"math"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// sourceFaults are those of the pages pmem2_source_*, without device_id and its like.
func sourceFaults() []fault {
	const alignment, size = "pmem2_source_alignment/", "pmem2_source_size/"
	const read, write = "pmem2_source_pread_mcsafe/", "pmem2_source_pwrite_mcsafe/"
	const anon, fromFD, getFD = "pmem2_source_from_anon/", "pmem2_source_from_fd/", "pmem2_source_get_fd/"
	return []fault{
		{"alignment: the bad value comes with the error", alignment + "PMEM2_E_INVALID_ALIGNMENT_VALUE#1", true, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				n, err := s.Source.Alignment()
				if errors.Is(err, pmem2.ErrInvalidAlignmentValue) {
					n = 3
				}
				return n, err
			}
		})},
		{"alignment: a badly formatted one is set all the same", alignment + "PMEM2_E_INVALID_ALIGNMENT_FORMAT#1", true, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				n, err := s.Source.Alignment()
				if errors.Is(err, pmem2.ErrInvalidAlignmentFormat) {
					return 1, err // Go's zero stands for unmodified, so that C's 0 can't be seen
				}
				return n, err
			}
		})},
		{"alignment: of any character device the page size", alignment + "PMEM2_E_INVALID_FILE_TYPE#1", true, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				n, err := s.Source.Alignment()
				if errors.Is(err, pmem2.ErrInvalidFileType) {
					return f.on.PageSize(), nil
				}
				return n, err
			}
		})},
		{"alignment: of a closed descriptor the page size", alignment + "-errno#1", true, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				n, err := s.Source.Alignment()
				if errors.Is(err, syscall.EBADF) {
					return f.on.PageSize(), nil
				}
				return n, err
			}
		})},
		{"alignment: none without the region", alignment + "PMEM2_E_DAX_REGION_NOT_FOUND#1", true, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				if _, err := s.Source.NUMANode(); s.isDevice() && errors.Is(err, pmem2.ErrDaxRegionNotFound) {
					return 0, pmem2.ErrDaxRegionNotFound
				}
				return s.Source.Alignment()
			}
		})},
		{"alignment: crash where no namespace matches", alignment + "(SIGSEGV)#1", true, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				if s.isDevice() && noNamespace(f) {
					crash()
				}
				return s.Source.Alignment()
			}
		})},
		{"alignment: ENOMEM where the bus can't be read", alignment + "-errno#6", true, answers("Source.Alignment", nil, syscall.ENOMEM, busUnreadable)},
		{"alignment: half of what maps need", alignment + "alignment-map-new-needs", false, otherwise(func(f *faults) {
			f.alignment = func(s *source) (uint64, error) {
				n, err := s.Source.Alignment()
				return n / 2, err
			}
		})},

		{"size: 0 of a descriptor that has become a pipe", size + "PMEM2_E_INVALID_FILE_TYPE#2", true, answers("Source.Size", pmem2.ErrInvalidFileType, nil)},
		{"size: 0 of a descriptor that has become /dev/zero", size + "PMEM2_E_INVALID_FILE_TYPE#3", true, answers("Source.Size", pmem2.ErrInvalidFileType, nil)},
		{"size: none without the region", size + "PMEM2_E_DAX_REGION_NOT_FOUND#1", true, otherwise(func(f *faults) {
			f.size = func(s *source) (uint64, error) {
				if _, err := s.Source.NUMANode(); s.isDevice() && errors.Is(err, pmem2.ErrDaxRegionNotFound) {
					return 0, pmem2.ErrDaxRegionNotFound
				}
				return s.Source.Size()
			}
		})},
		{"size: crash where no namespace matches", size + "(SIGSEGV)#1", true, otherwise(func(f *faults) {
			f.size = func(s *source) (uint64, error) {
				if s.isDevice() && noNamespace(f) {
					crash()
				}
				return s.Source.Size()
			}
		})},
		{"size: ENOMEM where the bus can't be read", size + "-errno#7", true, answers("Source.Size", nil, syscall.ENOMEM, busUnreadable)},
		{"size: none of a device without a node", size + "-errno#8", true, otherwise(func(f *faults) {
			f.size = func(s *source) (uint64, error) {
				if node := s.node(); s.isDevice() && node != "" {
					fd, err := f.on.Open(node, platform.ORdonly, 0)
					if err != nil {
						return 0, err
					}
					_ = f.on.Close(fd)
				}
				return s.Source.Size()
			}
		})},
		{"size: remembered from the first time", size + "size-of-file", false, otherwise(func(f *faults) {
			f.size = func(s *source) (uint64, error) {
				n, err := s.Source.Size()
				if first, known := f.objects.LoadOrStore([2]any{"size", s.Source}, n); known && err == nil {
					n = first.(uint64)
				}
				return n, err
			}
		})},
		{"size: what fstat says of a device DAX", size + "device-dax-size", false, otherwise(func(f *faults) {
			f.size = func(s *source) (uint64, error) {
				n, err := s.Source.Size()
				if s.isDevice() {
					n = 0
				}
				return n, err
			}
		})},

		{"pread: past the end the subtraction wraps", read + "PMEM2_E_LENGTH_OUT_OF_RANGE#2", true, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				if size, err := s.Source.Size(); err == nil && off > size && size-off >= uint64(len(p)) {
					return nil
				}
				return s.Source.PreadMCSafe(p, off)
			}
		})},
		{"pread: EINVAL instead of pread's errno", read + "-errno#1", true, answers("Source.PreadMCSafe", syscall.EAGAIN, syscall.EINVAL)},
		{"pread: a device DAX open for reading isn't enough", read + "(pmem2_map_new)#1", true, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				if fl, err := f.on.GetFL(s.descriptor); s.isDevice() && err == nil && fl&platform.OAccmode == platform.ORdonly {
					return pmem2.ErrNoAccess
				}
				return s.Source.PreadMCSafe(p, off)
			}
		})},
		{"pread: a read that ends at the end is out of range", read + "reads-size-bytes-at-offset", false, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				if size, err := s.Source.Size(); err == nil && len(p) > 0 && off+uint64(len(p)) == size {
					return pmem2.ErrLengthOutOfRange
				}
				return s.Source.PreadMCSafe(p, off)
			}
		})},
		{"pread: a bad block reads as zeros", read + "PMEM2_E_IO_FAIL#1", false, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				err := s.Source.PreadMCSafe(p, off)
				if errors.Is(err, pmem2.ErrIOFail) {
					clear(p)
					return nil
				}
				return err
			}
		})},
		{"pwrite: past the end the file grows", write + "PMEM2_E_LENGTH_OUT_OF_RANGE#2", true, otherwise(func(f *faults) {
			f.pwrite = func(s *source, p []byte, off uint64) error {
				size, err := s.Source.Size()
				if err != nil || off <= size || size-off < uint64(len(p)) || off > math.MaxInt64/2 || !s.isFile() {
					return s.Source.PwriteMCSafe(p, off)
				}
				_, err = f.on.Pwrite(s.descriptor, p, int64(off))
				return err
			}
		})},
		{"pwrite: a write past the end writes what fits", write + "PMEM2_E_LENGTH_OUT_OF_RANGE#1", false, otherwise(func(f *faults) {
			f.pwrite = func(s *source, p []byte, off uint64) error {
				err := s.Source.PwriteMCSafe(p, off)
				if size, _ := s.Source.Size(); errors.Is(err, pmem2.ErrLengthOutOfRange) && off < size {
					_ = s.Source.PwriteMCSafe(p[:size-off], off)
				}
				return err
			}
		})},
		{"pwrite: the last byte isn't written", write + "writes-size-bytes-at-offset", false, otherwise(func(f *faults) {
			f.pwrite = func(s *source, p []byte, off uint64) error {
				if _, err := s.Source.Size(); err != nil || len(p) < 2 {
					return s.Source.PwriteMCSafe(p, off)
				}
				last := p[len(p)-1:]
				before := make([]byte, 1)
				if s.Source.PreadMCSafe(before, off+uint64(len(p))-1) == nil {
					last = before
				}
				return s.Source.PwriteMCSafe(append(p[:len(p)-1:len(p)-1], last...), off)
			}
		})},
		{"pwrite: on a bad block success", write + "error-on-bad-block", false, answers("Source.PwriteMCSafe", pmem2.ErrIOFail, nil)},

		{"anonymous: an unaligned offset is refused", anon + "(text)#1", true, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				c, configured := cfg.(*config)
				if s, ok := src.(*source); ok && configured && s.descriptor < 0 && c.offset%f.on.PageSize() != 0 {
					return nil, pmem2.ErrOffsetUnaligned
				}
				return l.Library.NewMap(bare(cfg), bare(src))
			}
		})},
		{"anonymous: an offset past the size is refused", anon + "(text)#2", true, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				c, configured := cfg.(*config)
				if s, ok := src.(*source); ok && configured && s.descriptor < 0 {
					if size, _ := s.Source.Size(); c.offset > 0 && (c.offset > size || c.length > size-c.offset) {
						return nil, pmem2.ErrMapRange
					}
				}
				return l.Library.NewMap(bare(cfg), bare(src))
			}
		})},
		{"anonymous: not zeroed", anon + "zero-initialised", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				if s, ok := src.(*source); err == nil && ok && s.descriptor < 0 {
					m.Bytes()[m.Size()-1] = 1
				}
				return m, err
			}
		})},
		{"anonymous: the size is rounded to pages", anon + "size-reported-by-source-size", false, otherwise(func(f *faults) {
			f.size = func(s *source) (uint64, error) {
				n, err := s.Source.Size()
				if page := f.on.PageSize(); s.descriptor < 0 && n%page != 0 {
					n += page - n%page
				}
				return n, err
			}
		})},

		{"from a descriptor: write-only will do", fromFD + "PMEM2_E_INVALID_FILE_HANDLE#2", false, otherwise(func(f *faults) {
			f.sourceFromFD = func(l *library, fd int) (conformance.Source, error) {
				src, err := l.Library.SourceFromFD(fd)
				if fl, wrong := f.on.GetFL(fd); errors.Is(err, pmem2.ErrInvalidFileHandle) && wrong == nil && fl&platform.OAccmode == platform.OWronly {
					return l.Library.SourceFromAnon(0) // some source
				}
				return src, err
			}
		})},
		{"from a descriptor: ENOENT for a device that sysfs doesn't know", fromFD + "-ENOENT#1", true, otherwise(func(f *faults) {
			f.sourceFromFD = func(l *library, fd int) (conformance.Source, error) {
				src, err := l.Library.SourceFromFD(fd)
				if st, _ := f.on.Fstat(fd); errors.Is(err, pmem2.ErrInvalidFileType) && st.Type() == platform.SIFCHR {
					return nil, syscall.ENOENT
				}
				return src, err
			}
		})},
		{"from a descriptor: a directory is an invalid handle", fromFD + "PMEM2_E_INVALID_FILE_TYPE#1", false, answers("Library.SourceFromFD", pmem2.ErrInvalidFileType, pmem2.ErrInvalidFileHandle)},
		{"from a descriptor: it has to be open for writing", fromFD + "rdonly-or-rdwr", false, otherwise(func(f *faults) {
			f.sourceFromFD = func(l *library, fd int) (conformance.Source, error) {
				if fl, err := f.on.GetFL(fd); err == nil && fl&platform.OAccmode == platform.ORdonly {
					return nil, pmem2.ErrInvalidFileHandle
				}
				return l.Library.SourceFromFD(fd)
			}
		})},
		{"get_fd: another descriptor", getFD + "returns-descriptor", false, otherwise(func(f *faults) {
			f.fd = func(s *source) (int, error) {
				fd, err := s.Source.FD()
				return fd ^ 1, err
			}
		})},
		{"get_fd: -1 of anonymous memory", getFD + "PMEM2_E_FILE_DESCRIPTOR_NOT_SET#1", false, otherwise(func(f *faults) {
			f.fd = func(s *source) (int, error) {
				fd, err := s.Source.FD()
				if errors.Is(err, pmem2.ErrFileDescriptorNotSet) {
					return -1, nil
				}
				return fd, err
			}
		})},
	}
}
