package pmem2_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
)

// TestErrors: an error is its code or its errno, and says which value was wrong.
func TestErrors(t *testing.T) {
	offset := pmem2.NewConfig().SetOffset(math.MaxInt64 + 1)
	_, closed := pmem2.SourceFromFD(1 << 20)
	_, reservation := pmem2.NewVMReservation(0, 1<<62)
	for _, tc := range []struct {
		name  string
		err   error
		is    error
		not   error
		errno unix.Errno
		text  []string
	}{
		{"offset", offset, pmem2.ErrOffsetOutOfRange, pmem2.ErrMapRange, unix.EINVAL,
			[]string{"SetOffset", "9223372036854775808", "9223372036854775807", "PMEM2_E_OFFSET_OUT_OF_RANGE"}},
		{"descriptor", closed, pmem2.ErrInvalidFileHandle, unix.EBADF, unix.EINVAL,
			[]string{"SourceFromFD", "1048576", "PMEM2_E_INVALID_FILE_HANDLE"}},
		{"mmap", reservation, unix.ENOMEM, pmem2.ErrMapRange, unix.ENOMEM,
			[]string{"NewVMReservation", "mmap", "cannot allocate memory"}},
		{"wrapped", fmt.Errorf("open pool: %w", offset), pmem2.ErrOffsetOutOfRange, pmem2.ErrMapRange, unix.EINVAL, []string{"open pool"}},
		{"not supported", &pmem2.Error{Op: "NewMap", Code: pmem2.ErrNoSupp}, pmem2.ErrNoSupp, unix.ENOTSUP, unix.ENOTSUP, nil},
		{"permission", &pmem2.Error{Op: "NewMap", Errno: unix.EACCES}, fs.ErrPermission, pmem2.ErrNoAccess, unix.EACCES, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !errors.Is(tc.err, tc.is) {
				t.Errorf("%v is not %v", tc.err, tc.is)
			}
			if errors.Is(tc.err, tc.not) {
				t.Errorf("%v is %v", tc.err, tc.not)
			}
			if got := pmem2.Errno(tc.err); got != tc.errno {
				t.Errorf("Errno: got %v, want %v", got, tc.errno)
			}
			for _, part := range tc.text {
				if !strings.Contains(tc.err.Error(), part) {
					t.Errorf("%q lacks %q", tc.err, part)
				}
			}
		})
	}
	if got := pmem2.Errno(nil); got != 0 {
		t.Errorf("Errno(nil): %v", got)
	}
	if got := pmem2.Errno(os.ErrClosed); got != unix.EINVAL {
		t.Errorf("Errno of a foreign error: %v", got)
	}
}

// TestCodes: the values and symbols of libpmem2 1.12.1's header.
func TestCodes(t *testing.T) {
	for code, symbol := range map[pmem2.Code]string{
		-100000: "PMEM2_E_UNKNOWN", -100001: "PMEM2_E_NOSUPP", -100003: "PMEM2_E_FILE_HANDLE_NOT_SET",
		-100004: "PMEM2_E_INVALID_FILE_HANDLE", -100005: "PMEM2_E_INVALID_FILE_TYPE", -100006: "PMEM2_E_MAP_RANGE",
		-100007: "PMEM2_E_MAPPING_EXISTS", -100008: "PMEM2_E_GRANULARITY_NOT_SET", -100009: "PMEM2_E_GRANULARITY_NOT_SUPPORTED",
		-100010: "PMEM2_E_OFFSET_OUT_OF_RANGE", -100011: "PMEM2_E_OFFSET_UNALIGNED", -100012: "PMEM2_E_INVALID_ALIGNMENT_FORMAT",
		-100013: "PMEM2_E_INVALID_ALIGNMENT_VALUE", -100014: "PMEM2_E_INVALID_SIZE_FORMAT", -100015: "PMEM2_E_LENGTH_UNALIGNED",
		-100016: "PMEM2_E_MAPPING_NOT_FOUND", -100017: "PMEM2_E_BUFFER_TOO_SMALL", -100018: "PMEM2_E_SOURCE_EMPTY",
		-100019: "PMEM2_E_INVALID_SHARING_VALUE", -100020: "PMEM2_E_SRC_DEVDAX_PRIVATE", -100021: "PMEM2_E_INVALID_ADDRESS_REQUEST_TYPE",
		-100022: "PMEM2_E_ADDRESS_UNALIGNED", -100023: "PMEM2_E_ADDRESS_NULL", -100024: "PMEM2_E_DEEP_FLUSH_RANGE",
		-100025: "PMEM2_E_INVALID_REGION_FORMAT", -100026: "PMEM2_E_DAX_REGION_NOT_FOUND", -100027: "PMEM2_E_INVALID_DEV_FORMAT",
		-100028: "PMEM2_E_CANNOT_READ_BOUNDS", -100029: "PMEM2_E_NO_BAD_BLOCK_FOUND", -100030: "PMEM2_E_LENGTH_OUT_OF_RANGE",
		-100031: "PMEM2_E_INVALID_PROT_FLAG", -100032: "PMEM2_E_NO_ACCESS", -100033: "PMEM2_E_VM_RESERVATION_NOT_EMPTY",
		-100034: "PMEM2_E_MAP_EXISTS", -100035: "PMEM2_E_FILE_DESCRIPTOR_NOT_SET", -100036: "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED",
		-100037: "PMEM2_E_IO_FAIL",
	} {
		if got := code.Symbol(); got != symbol {
			t.Errorf("%d: %s, want %s", int(code), got, symbol)
		}
		if code.Error() == "" {
			t.Errorf("%s has no text", symbol)
		}
	}
}

// TestDeadObjects: what C crashes on is an error here.
func TestDeadObjects(t *testing.T) {
	s := newStage(t, emuDefault)
	fd := s.file(pageCache, page)
	live := config(pmem2.GranularityPage)
	deadConfig := config(pmem2.GranularityPage)
	deadConfig.Delete()
	deadSource := s.source(fd)
	deadSource.Delete()
	deadReservation := s.reservation(page)
	if err := deadReservation.Delete(); err != nil {
		t.Fatal(err)
	}
	deadMap := s.newMap(live, s.source(fd))
	bytes := deadMap.Bytes()[:0]
	if err := deadMap.Delete(); err != nil {
		t.Fatal(err)
	}
	inDead := config(pmem2.GranularityPage)
	inDead.SetVMReservation(deadReservation, 0)

	inEmpty := config(pmem2.GranularityPage)
	inEmpty.SetVMReservation(new(pmem2.VMReservation), 0)

	second := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"NewMap, empty source":          second(pmem2.NewMap(live, new(pmem2.Source))),
		"NewMap, empty reservation":     second(pmem2.NewMap(inEmpty, s.source(fd))),
		"MapFromExisting, empty source": second(pmem2.MapFromExisting(new(pmem2.Source), 1<<40, page, 0)),
		"Size, empty":                   second(new(pmem2.Source).Size()),
		"Alignment, empty":              second(new(pmem2.Source).Alignment()),
		"FD, empty":                     second(new(pmem2.Source).FD()),
		"Extend, empty":                 new(pmem2.VMReservation).Extend(page),
		"Shrink, empty":                 new(pmem2.VMReservation).Shrink(0, page),
		"Reservation.Delete, empty":     new(pmem2.VMReservation).Delete(),
		"MapFindFirst, empty":           second(new(pmem2.VMReservation).MapFindFirst()),
		"NewMap, nil config":            second(pmem2.NewMap(nil, s.source(fd))),
		"NewMap, deleted config":        second(pmem2.NewMap(deadConfig, s.source(fd))),
		"NewMap, nil source":            second(pmem2.NewMap(live, nil)),
		"NewMap, deleted source":        second(pmem2.NewMap(live, deadSource)),
		"NewMap, deleted reservation":   second(pmem2.NewMap(inDead, s.source(fd))),
		"MapFromExisting, nil source":   second(pmem2.MapFromExisting(nil, 1<<40, page, 0)),
		"SetLength, nil":                (*pmem2.Config)(nil).SetLength(1),
		"SetLength, deleted":            deadConfig.SetLength(1),
		"SetOffset, deleted":            deadConfig.SetOffset(1),
		"Size, nil":                     second((*pmem2.Source)(nil).Size()),
		"Size, deleted":                 second(deadSource.Size()),
		"Alignment, deleted":            second(deadSource.Alignment()),
		"FD, deleted":                   second(deadSource.FD()),
		"Reservation.Delete, nil":       (*pmem2.VMReservation)(nil).Delete(),
		"Reservation.Delete, twice":     deadReservation.Delete(),
		"Extend, deleted":               deadReservation.Extend(page),
		"Shrink, deleted":               deadReservation.Shrink(0, page),
		"MapFind, deleted":              second(deadReservation.MapFind(0, 1)),
		"MapFindFirst, nil":             second((*pmem2.VMReservation)(nil).MapFindFirst()),
	} {
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: got %v, want EINVAL", name, err)
		}
	}
	for name, err := range map[string]error{
		"Delete, empty":    new(pmem2.Map).Delete(),
		"Persist, empty":   new(pmem2.Map).Persist(nil),
		"Drain, empty":     new(pmem2.Map).Drain(),
		"Memset, empty":    new(pmem2.Map).Memset(nil, 0, 0),
		"Delete, nil":      (*pmem2.Map)(nil).Delete(),
		"Delete, twice":    deadMap.Delete(),
		"Persist, nil":     (*pmem2.Map)(nil).Persist(nil),
		"Persist, deleted": deadMap.Persist(bytes),
		"Drain, deleted":   deadMap.Drain(),
		"Memset, deleted":  deadMap.Memset(bytes, 0, 0),
		"Memcpy, deleted":  deadMap.Memcpy(bytes, bytes, 0),
	} {
		if !errors.Is(err, pmem2.ErrMappingNotFound) {
			t.Errorf("%s: got %v, want %v", name, err, pmem2.ErrMappingNotFound)
		}
	}
	if deadMap.Address() != 0 || deadMap.Size() != 0 || deadMap.Bytes() != nil {
		t.Error("a deleted map still shows its memory")
	}
	if deadReservation.Address() != 0 || deadReservation.Size() != 0 {
		t.Error("a deleted reservation still shows its range")
	}
}

// TestSourceKeepsFileAlive: a file that only a source refers to isn't closed by its
// finalizer.
func TestSourceKeepsFileAlive(t *testing.T) {
	file := func() *pmem2.Source {
		f, err := os.Open(sharedMemoryFile(t, page).Name())
		if err != nil {
			t.Fatal(err)
		}
		src, err := pmem2.SourceFromFile(f)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	src := file()
	for range 10 {
		runtime.GC()
	}
	if n, err := src.Size(); n != page || err != nil {
		t.Errorf("after a collection: Size %d, %v", n, err)
	}
	runtime.KeepAlive(src)
}

// TestDescriptorRange: a number that the kernel would cut to 32 bits is refused.
func TestDescriptorRange(t *testing.T) {
	s := newStage(t, emuDefault)
	fd := s.file(pageCache, page)
	for _, bad := range []int{-1, math.MinInt, 1 << 31, fd | 1<<32, math.MaxInt} {
		for name, opts := range map[string][]pmem2.Option{"emulated": {s.on()}, "host": nil} {
			if src, err := pmem2.SourceFromFD(bad, opts...); src != nil || !errors.Is(err, pmem2.ErrInvalidFileHandle) {
				t.Errorf("%s: SourceFromFD(%d): %v, %v", name, bad, src, err)
			}
		}
	}
}

// TestSourceFromFile: the file stays the caller's.
func TestSourceFromFile(t *testing.T) {
	f := sharedMemoryFile(t, page)
	src, err := pmem2.SourceFromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := src.Size(); n != page || err != nil {
		t.Errorf("Size: %d, %v", n, err)
	}
	src.Delete()
	if _, err := f.Stat(); err != nil {
		t.Errorf("after the source's Delete: %v", err)
	}

	// Another file that is given the number of a closed one isn't taken for it.
	if src, err = pmem2.SourceFromFile(f); err != nil {
		t.Fatal(err)
	}
	fd, _ := src.FD()
	f.Close()
	if err := unix.Dup3(int(os.Stderr.Fd()), fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := src.Size(); !errors.Is(err, pmem2.ErrInvalidFileHandle) {
		t.Errorf("Size of a closed file: %v", err)
	}
	if _, err := src.Alignment(); !errors.Is(err, unix.EBADF) {
		t.Errorf("Alignment of a closed file: %v", err)
	}
	if _, err := pmem2.NewMap(config(pmem2.GranularityPage), src); !errors.Is(err, pmem2.ErrInvalidFileHandle) {
		t.Errorf("NewMap of a closed file: %v", err)
	}
	if _, err := pmem2.NewMap(pmem2.NewConfig(), src); !errors.Is(err, pmem2.ErrGranularityNotSet) {
		t.Errorf("NewMap of a closed file, granularity not set: %v", err)
	}
	for name, f := range map[string]*os.File{"nil": nil, "closed": f, "empty": new(os.File)} {
		if _, err := pmem2.SourceFromFile(f); !errors.Is(err, pmem2.ErrInvalidFileHandle) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
