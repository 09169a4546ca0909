package pmemset

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

// TestCodes: the values of the C library, from -200000 down, and a name for each.
func TestCodes(t *testing.T) {
	const never = -200034
	symbols, texts := map[string]Code{}, map[string]Code{}
	for c := ErrUnknown; c >= ErrBadBlockNoSupp; c-- {
		d, ok := codes[c]
		if ok == (c == never) {
			t.Errorf("code %d: known %t", int(c), ok)
		}
		if !ok {
			continue
		}
		if !strings.HasPrefix(d.symbol, "PMEMSET_E_") || symbols[d.symbol] != 0 {
			t.Errorf("code %d has the symbol %q, as has %d", int(c), d.symbol, int(symbols[d.symbol]))
		}
		if d.text == "" || texts[d.text] != 0 {
			t.Errorf("code %d has the text %q, as has %d", int(c), d.text, int(texts[d.text]))
		}
		symbols[d.symbol], texts[d.text] = c, c
	}
	if len(codes) != 38 {
		t.Errorf("%d codes, want 38", len(codes))
	}
	for _, tc := range []struct {
		code   Code
		value  int
		symbol string
	}{
		{ErrUnknown, -200000, "PMEMSET_E_UNKNOWN"},
		{ErrInvalidPmem2Map, -200008, "PMEMSET_E_INVALID_PMEM2_MAP"},
		{ErrPartNotFound, -200016, "PMEMSET_E_PART_NOT_FOUND"},
		{ErrCannotGrowSourceFile, -200021, "PMEMSET_E_CANNOT_GROW_SOURCE_FILE"},
		{ErrCannotTruncateSourceFile, -200021, "PMEMSET_E_CANNOT_GROW_SOURCE_FILE"},
		{ErrOffsetOutOfRange, -200024, "PMEMSET_E_OFFSET_OUT_OF_RANGE"},
		{ErrLengthOutOfRange, -200033, "PMEMSET_E_LENGTH_OUT_OF_RANGE"},
		{ErrInvalidAlignmentValue, -200035, "PMEMSET_E_INVALID_ALIGNMENT_VALUE"},
		{ErrBadBlockNoSupp, -200038, "PMEMSET_E_BADBLOCK_NOSUPP"},
		{never, never, "PMEMSET_E_-200034"},
	} {
		if int(tc.code) != tc.value || tc.code.Symbol() != tc.symbol {
			t.Errorf("got %d %s, want %d %s", int(tc.code), tc.code.Symbol(), tc.value, tc.symbol)
		}
	}
	if got := Code(-5).Error(); got != "unknown code -5" {
		t.Errorf("an unknown code says %q", got)
	}
}

// realPMem2Error is one of pmem2's with that errno or code.
func realPMem2Error(t *testing.T) (code, errno error) {
	t.Helper()
	_, code = pmem2.SourceFromFD(-1)
	_, errno = (*pmem2.Source)(nil).Size()
	if !errors.Is(code, pmem2.ErrInvalidFileHandle) || !errors.Is(errno, syscall.EINVAL) {
		t.Fatalf("pmem2 says %v and %v", code, errno)
	}
	return code, errno
}

func TestErrors(t *testing.T) {
	code, errno := realPMem2Error(t)
	for _, tc := range []struct {
		name  string
		err   error
		text  string
		is    []error
		isNot []error
		errno syscall.Errno
	}{
		{"nil", nil, "<nil>", nil, nil, 0},
		{"code", fail("Op", ErrPartExists, nil, "part %d", 5),
			"pmemset: Op: part 5: part exists already (PMEMSET_E_PART_EXISTS)",
			[]error{ErrPartExists}, []error{ErrPartNotFound, syscall.EINVAL}, syscall.EINVAL},
		{"code without a detail", fail("Op", ErrNoSupp, nil, ""),
			"pmemset: Op: not supported (PMEMSET_E_NOSUPP)", []error{ErrNoSupp}, nil, syscall.ENOTSUP},
		{"code because of pmem2", fail("Op", ErrInvalidPmem2Map, code, "no"),
			"pmemset: Op: no: mapping cannot be made (PMEMSET_E_INVALID_PMEM2_MAP): " + code.Error(),
			[]error{ErrInvalidPmem2Map, pmem2.ErrInvalidFileHandle, code}, nil, syscall.EINVAL},
		{"code because of an errno", fail("Op", ErrCannotCreateTempFile, syscall.ENOSPC, "no"),
			"pmemset: Op: no: temporary file cannot be created (PMEMSET_E_CANNOT_CREATE_TEMP_FILE): no space left on device",
			[]error{ErrCannotCreateTempFile, syscall.ENOSPC}, nil, syscall.EINVAL},
		{"NOSUPP because of an errno", fail("Op", ErrNoSupp, syscall.ENOSPC, "no"),
			"pmemset: Op: no: not supported (PMEMSET_E_NOSUPP): no space left on device", []error{ErrNoSupp, syscall.ENOSPC}, nil, syscall.ENOTSUP},
		{"errno", failErrno("Op", syscall.EACCES, "opening %q", "f"),
			`pmemset: Op: opening "f": permission denied`, []error{syscall.EACCES}, []error{syscall.EPERM}, syscall.EACCES},
		{"wrapped errno", failErrno("Op", errno, "no"),
			"pmemset: Op: no: " + errno.Error(), []error{syscall.EINVAL, errno}, nil, syscall.EINVAL},
		{"no errno", failErrno("Op", io.ErrUnexpectedEOF, "no"),
			"pmemset: Op: no: unexpected EOF", []error{syscall.EIO, io.ErrUnexpectedEOF}, nil, syscall.EIO},
		{"invalid", invalid("Op", "it is nil"), "pmemset: Op: it is nil: invalid argument", []error{syscall.EINVAL}, nil, syscall.EINVAL},
		{"pmem2's code", failPMem2("Op", code, "no %s", "good"), "pmemset: Op: no good: " + code.Error(),
			[]error{pmem2.ErrInvalidFileHandle}, []error{ErrInvalidPmem2Map}, syscall.EINVAL},
		{"pmem2's errno", failPMem2("Op", errno, "no"), "pmemset: Op: no: " + errno.Error(), []error{syscall.EINVAL}, nil, syscall.EINVAL},
		{"pmem2's NOSUPP", failPMem2("Op", pmem2.ErrNoSupp, "no"), "pmemset: Op: no: not supported", []error{pmem2.ErrNoSupp}, []error{ErrNoSupp}, syscall.ENOTSUP},
		{"a bare code", ErrNoSupp, "not supported", []error{ErrNoSupp}, nil, syscall.ENOTSUP},
		{"a bare errno", syscall.EXDEV, "invalid cross-device link", nil, nil, syscall.EXDEV},
		{"pmem2's own", code, code.Error(), nil, nil, syscall.EINVAL},
		{"wrapped by the program", fmt.Errorf("mine: %w", failErrno("Op", syscall.EROFS, "no")),
			"mine: pmemset: Op: no: read-only file system", []error{syscall.EROFS}, nil, syscall.EROFS},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := fmt.Sprint(tc.err); got != tc.text {
				t.Errorf("text:\n got %s\nwant %s", got, tc.text)
			}
			for _, target := range tc.is {
				if !errors.Is(tc.err, target) {
					t.Errorf("%v is not %v", tc.err, target)
				}
			}
			for _, target := range tc.isNot {
				if errors.Is(tc.err, target) {
					t.Errorf("%v is %v", tc.err, target)
				}
			}
			if got := Errno(tc.err); got != tc.errno {
				t.Errorf("Errno: got %v, want %v", got, tc.errno)
			}
		})
	}
}

func TestLeaves(t *testing.T) {
	cause := syscall.EIO
	before := fail("Op", ErrCannotCreateTempFile, cause, "no")
	left := leaves(before, "the file %q", "f")
	var e *Error
	if !errors.As(left, &e) || e.Code != ErrCannotCreateTempFile || e.Op != "Op" || !errors.Is(left, cause) {
		t.Errorf("leaves lost what the error was: %#v", left)
	}
	if want := `no; left behind: the file "f"`; e.Detail() != want {
		t.Errorf("detail %q, want %q", e.Detail(), want)
	}
	if before.Detail() != "no" {
		t.Errorf("the error of the caller has changed to %q", before.Detail())
	}
	foreign := errors.Join(before)
	if got := leaves(foreign, "the file"); got != foreign { //nolint:errorlint // it is the same or isn't
		t.Errorf("a callback's error came back as %v", got)
	}
}

func TestPerror(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	Perror(ErrPartExists, "file %d of %s", 3, "set")
	os.Stderr = stderr
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if want := "file 3 of set: part exists already\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// TestUnwrap: own code or errno first, then the cause; nothing nil.
func TestUnwrap(t *testing.T) {
	for _, tc := range []struct {
		err  *Error
		want []error
	}{
		{fail("", ErrIOFail, nil, ""), []error{ErrIOFail}},
		{fail("", ErrIOFail, io.EOF, ""), []error{ErrIOFail, io.EOF}},
		{failErrno("", syscall.EIO, ""), []error{syscall.EIO, syscall.EIO}},
		{failPMem2("", io.EOF, ""), []error{io.EOF}},
		{invalid("", ""), []error{syscall.EINVAL}},
	} {
		if got := tc.err.Unwrap(); !slices.Equal(got, tc.want) {
			t.Errorf("%v: got %v, want %v", tc.err, got, tc.want)
		}
	}
}
