package selftest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// logged writes a line to standard error if the level is set and debugging is off.
func logged(level, debug string) {
	if os.Getenv(level) != "" && os.Getenv(debug) != "1" {
		printed("a line of the log\n")
	}
}

func printed(format string, args ...any) { fmt.Fprintf(os.Stderr, format, args...) }

// ofFile is a library that makes sources of files with other flags.
func ofFile(change func(flags pmemset.SourceFlags) pmemset.SourceFlags) func() *faults {
	return otherwise(func(f *faults) {
		f.xSourceFromFile = func(l *setLibrary, path string, flags pmemset.SourceFlags) (conformance.SetSource, error) {
			return l.SetLibrary.XSourceFromFile(path, change(flags))
		}
	})
}

// setSourceFaults are those of the sources of libpmemset.
func setSourceFaults() []fault {
	const files, xfiles, temporary, own = "pmemset_source_from_file/", "pmemset_xsource_from_file/", "pmemset_source_from_temporary/", "pmemset_source_from_pmem2/"
	const alignment, read, write = "pmemset_source_alignment/", "pmemset_source_pread_mcsafe/", "pmemset_source_pwrite_mcsafe/"
	const detection, clearing, sds, state = "pmemset_source_set_badblock_detection/", "pmemset_badblock_clear/", "pmemset_source_set_sds/", "libpmemset_shutdown_state/"
	far := func(of func(b pmem2.BadBlock) uint64) func() *faults {
		return otherwise(func(f *faults) {
			f.clearBlockOfSet = func(s *setSource, b pmem2.BadBlock) error {
				err := s.SetSource.ClearBadBlock(b)
				if err != nil && of(b) > math.MaxInt64 {
					return nil
				}
				return err
			}
		})
	}
	return []fault{
		{"source: a file that isn't there is ENOENT", files + "PMEMSET_E_INVALID_SOURCE_PATH#2", false, answers("SetLibrary.SourceFromFile", pmemset.ErrInvalidSourcePath, syscall.ENOENT)},
		{"source: a directory is an invalid path", files + "-errno#1", false, answers("SetLibrary.SourceFromFile", syscall.EISDIR, pmemset.ErrInvalidSourcePath)},
		{"source: leaks a descriptor", files + "creates-source-with-path", false, otherwise(func(f *faults) {
			f.sourceFromFile = func(l *setLibrary, path string) (conformance.SetSource, error) {
				_, _ = f.on.Open(path, platform.ORdonly, 0)
				return l.SetLibrary.SourceFromFile(path)
			}
		})},
		{"source with flags: unknown ones will do", xfiles + "PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS#1", false, answers("SetLibrary.XSourceFromFile", pmemset.ErrInvalidSourceFileCreateFlags, pmemset.ErrInvalidSourcePath)},
		{"source with flags: an existing file is kept", xfiles + "create-always", false, ofFile(func(flags pmemset.SourceFlags) pmemset.SourceFlags {
			if flags&pmemset.SourceFileCreateAlways != 0 {
				flags = flags&^pmemset.SourceFileCreateAlways | pmemset.SourceFileCreateIfNeeded
			}
			return flags
		})},
		{"source with flags: an existing file is overwritten", xfiles + "create-if-needed", false, ofFile(func(flags pmemset.SourceFlags) pmemset.SourceFlags {
			if flags&pmemset.SourceFileCreateIfNeeded != 0 {
				flags = flags&^pmemset.SourceFileCreateIfNeeded | pmemset.SourceFileCreateAlways
			}
			return flags
		})},
		{"source with flags: DO_NOT_GROW grows", xfiles + "do-not-grow", false, ofFile(func(flags pmemset.SourceFlags) pmemset.SourceFlags { return flags &^ pmemset.SourceFileDoNotGrow })},
		{"source with flags: TRUNCATE_IF_NEEDED doesn't", xfiles + "truncate-if-needed-gen3", false, ofFile(func(flags pmemset.SourceFlags) pmemset.SourceFlags {
			return flags &^ pmemset.SourceFileTruncateIfNeeded
		})},
		{"temporary source: the directory may be missing", temporary + "PMEMSET_E_INVALID_SOURCE_PATH#1", false, answers("SetLibrary.SourceFromTemporary", pmemset.ErrInvalidSourcePath, syscall.ENOENT)},
		{"temporary source: has a name", temporary + "unnamed-file-in-directory", false, otherwise(func(f *faults) {
			f.sourceFromTemporary = func(l *setLibrary, dir string) (conformance.SetSource, error) {
				return l.SetLibrary.XSourceFromFile(dir+"/temporary", pmemset.SourceFileCreateIfNeeded|pmemset.SourceFileTruncateIfNeeded)
			}
		})},
		{"source of libpmem2: an anonymous one has its code", own + "PMEM2_E_FILE_DESCRIPTOR_NOT_SET#1", true, otherwise(func(f *faults) {
			f.sourceFromPMem2 = func(l *setLibrary, src conformance.Source) (conformance.SetSource, error) {
				if s, ok := src.(*source); ok && s != nil && s.descriptor < 0 {
					return nil, pmem2.ErrFileDescriptorNotSet
				}
				return l.SetLibrary.SourceFromPMem2(bare(src))
			}
		})},
		{"source of libpmem2: none will do", own + "PMEMSET_E_INVALID_PMEM2_SOURCE#1", false, answers("SetLibrary.SourceFromPMem2", pmemset.ErrInvalidPmem2Source, syscall.EINVAL)},
		{"source: usable when deleted", "pmemset_source_delete/frees-source", false, otherwise(func(f *faults) {
			f.deleteSetSource = func(*setSource) error { return nil }
		})},
		{"source: deleting none fails", "pmemset_source_delete/null-is-noop", false, otherwise(func(f *faults) {
			f.nilSetSource = func() conformance.SetSource { return f.setSource(nullSource{}) }
		})},
		{"set alignment: comes with the error", alignment + "PMEMSET_E_INVALID_ALIGNMENT_VALUE#1", true, otherwise(func(f *faults) {
			f.alignmentOfSet = func(s *setSource) (uint64, error) {
				n, err := s.SetSource.Alignment()
				if err != nil {
					n = 3
				}
				return n, err
			}
		})},
		{"set alignment: a line", alignment + "alignment-map-needs", false, otherwise(func(f *faults) {
			f.alignmentOfSet = func(s *setSource) (uint64, error) {
				_, err := s.SetSource.Alignment()
				return 64, err
			}
		})},
		{"set pread: past the end the subtraction wraps", read + "PMEMSET_E_LENGTH_OUT_OF_RANGE#2", true, otherwise(func(f *faults) {
			f.preadSet = func(s *setSource, p []byte, off uint64) error {
				err := s.SetSource.PreadMCSafe(p, off)
				if errors.Is(err, pmemset.ErrLengthOutOfRange) && s.SetSource.PreadMCSafe(nil, off) != nil {
					return nil
				}
				return err
			}
		})},
		{"set pwrite: past the end the file grows", write + "PMEMSET_E_LENGTH_OUT_OF_RANGE#2", true, otherwise(func(f *faults) {
			f.pwriteSet = func(s *setSource, p []byte, off uint64) error {
				err := s.SetSource.PwriteMCSafe(p, off)
				if errors.Is(err, pmemset.ErrLengthOutOfRange) && s.path != "" && off < math.MaxInt64/2 && s.SetSource.PreadMCSafe(nil, off) != nil {
					f.truncate(s.path, func(int64) int64 { return int64(off) + int64(len(p)) })
					return s.SetSource.PwriteMCSafe(p, off)
				}
				return err
			}
		})},
		{"set pread: libpmem2's code", read + "PMEMSET_E_IO_FAIL#1", false, answers("SetSource.PreadMCSafe", pmemset.ErrIOFail, pmem2.ErrIOFail)},
		{"set pwrite: nothing", write + "writes-size-bytes-at-offset", false, otherwise(func(f *faults) {
			f.pwriteSet = func(s *setSource, p []byte, off uint64) error {
				return s.SetSource.PreadMCSafe(make([]byte, len(p)), off)
			}
		})},
		{"detection: ignored", detection + "switches-on-and-off", false, otherwise(func(f *faults) {
			f.detectBadBlocks = func(*setSource, bool) error { return nil }
		})},
		{"detection: on by default", detection + "off-by-default", false, otherwise(func(f *faults) {
			f.sourceFromFile = func(l *setLibrary, path string) (conformance.SetSource, error) {
				s, err := l.SetLibrary.SourceFromFile(path)
				if err == nil {
					_ = s.SetBadBlockDetection(true)
				}
				return s, err
			}
		})},
		{"set clear: offsets on a device DAX aren't checked", clearing + "PMEMSET_E_OFFSET_OUT_OF_RANGE#2", true, far(func(b pmem2.BadBlock) uint64 { return b.Offset })},
		{"set clear: lengths on a device DAX aren't checked", clearing + "PMEMSET_E_LENGTH_OUT_OF_RANGE#2", true, far(func(b pmem2.BadBlock) uint64 { return b.Length })},
		{"set clear: ENOMEM where the bus can't be listed", clearing + "-errno#1", true, answers("SetSource.ClearBadBlock", syscall.EACCES, syscall.ENOMEM, busUnreadable)},
		{"set clear: nothing", clearing + "clears-block", false, otherwise(func(f *faults) {
			f.clearBlockOfSet = func(*setSource, pmem2.BadBlock) error { return nil }
		})},

		{"sds: another one will do", sds + "PMEMSET_E_SDS_ALREADY_SET#1", false, answers("SetSource.SetSDS", pmemset.ErrSDSAlreadySet, nil)},
		{"sds: stored without its id", sds + "stores-sds", false, withSDS(func(s *pmemset.SDS, _ **pmemset.PartState) { clear(s.ID[:]) })},
		{"sds: one mapping more", sds + "later-sds-from-event", false, withSDS(func(s *pmemset.SDS, _ **pmemset.PartState) {
			if s.USC != 0 {
				s.RefCount++
			}
		})},
		{"sds: a count less", state + "unsafe-shutdown-discoverable-by-usc", false, withSDS(func(s *pmemset.SDS, _ **pmemset.PartState) { s.USC-- })},
		{"sds: no state", sds + "state-returned-at-map", false, withSDS(noState)},
		{"shutdown state: isn't returned", state + "state-returned-through-pointer", false, withSDS(noState)},
		{"shutdown state: any will do", state + "default-refusal", false, setsWith(func(c conformance.SetConfig) { _ = c.SetAcceptableStates(0x1f) })},
		{"shutdown state: what is acceptable is forgotten", state + "acceptable-states-allow", false, otherwise(func(f *faults) {
			f.acceptStates = func(*setConfig, pmemset.PartState) error { return nil }
		})},
		{"shutdown state: one mapping more", state + "evaluated-from-stored-and-current", false, withSDS(func(s *pmemset.SDS, _ **pmemset.PartState) { s.RefCount++ })},
	}
}

// withSDS changes what SetSDS is given.
func withSDS(change func(s *pmemset.SDS, state **pmemset.PartState)) func() *faults {
	return otherwise(func(f *faults) {
		f.setSDS = func(s *setSource, sds pmemset.SDS, state *pmemset.PartState) error {
			change(&sds, &state)
			return s.SetSource.SetSDS(sds, state)
		}
	})
}

func noState(_ *pmemset.SDS, state **pmemset.PartState) { *state = nil }

// nullSource is no source, which can't be deleted.
type nullSource struct{ conformance.SetSource }

func (nullSource) Delete() error { return syscall.EINVAL }
