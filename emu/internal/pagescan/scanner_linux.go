//go:build amd64 || arm64

package pagescan

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Scanner scans armed ranges. It may be used by any number of goroutines at once. Each
// of its methods fails with os.ErrClosed after Close.
//
// Ranges are of whole pages: an address and a length in bytes that aren't are refused. An
// empty range does nothing.
type Scanner struct {
	// mu is held for writing by Close alone.
	mu      sync.RWMutex
	uffd    int // -1: closed
	pagemap int
}

// New makes a Scanner, which takes two descriptors. It fails with ErrUnsupported.
func New() (*Scanner, error) {
	uffd, err := userfaultfd()
	if err != nil {
		return nil, openError("userfaultfd with asynchronous write protection", err)
	}
	pagemap, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(uffd)
		return nil, openError("/proc/self/pagemap", err)
	}
	s := &Scanner{uffd: uffd, pagemap: pagemap}
	// A page that nothing is mapped at will do to see whether the kernel knows the ioctl.
	if err := s.Present(0, uint64(os.Getpagesize()), func(uintptr, uint64) {}); err != nil {
		_ = s.Close()
		return nil, openError("PAGEMAP_SCAN", err)
	}
	return s, nil
}

// openError tells what the system can't do from what went wrong.
func openError(what string, err error) error {
	for _, refusal := range []error{
		syscall.ENOSYS, syscall.EPERM, syscall.EACCES, syscall.EINVAL, syscall.ENOTTY, syscall.ENOENT,
	} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("pagescan: %s: %w: %w", what, ErrUnsupported, err)
		}
	}
	return fmt.Errorf("pagescan: %s: %w", what, err)
}

// Close disarms everything that is armed and frees the descriptors. It waits for the
// calls under way. A second call does nothing.
func (s *Scanner) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uffd < 0 {
		return nil
	}
	err := errors.Join(unix.Close(s.uffd), unix.Close(s.pagemap))
	s.uffd, s.pagemap = -1, -1
	return err
}

// Arm makes the range one that Scan looks at: all the mappings in it, of which there has to
// be one at least. They have to be shared mappings of memfds, opened for writing (EPERM
// else), and not armed by another Scanner or another userfaultfd (EBUSY). Every present
// page counts as written until a Scan protects it, also in a range that was armed
// before. A range that is refused stays as it was.
//
// It makes the range one without huge pages, which Disarm and Close don't undo.
func (s *Scanner) Arm(addr uintptr, n uint64) error {
	return s.with("arm", addr, n, func() error {
		start := uint64(addr)
		if err := register(s.uffd, start, n); err != nil {
			return err
		}
		// What isn't mapped is ENOMEM, a kernel without huge pages EINVAL.
		err := madvise(start, n, unix.MADV_NOHUGEPAGE)
		if err != nil && err != syscall.ENOMEM && err != syscall.EINVAL {
			return err
		}
		// Some kernels keep write protection through mremap, but don't heed it afterwards.
		if err := unprotect(s.uffd, start, n); err != nil {
			return err
		}
		return s.splitHugePages(start, n)
	})
}

// splitHugePages maps the huge pages of an armed range anew, as small ones.
func (s *Scanner) splitHugePages(start, n uint64) error {
	var failed error
	err := scan(s.pagemap, start, start+n, scanArg{
		categoryMask: pageIsWPAllowed | pageIsHuge,
		returned:     pageIsHuge,
	}, func(addr uintptr, n uint64) {
		if err := madvise(uint64(addr), n, unix.MADV_DONTNEED_LOCKED); err != nil {
			failed = err
		}
		// Where it may not be read, Absent has it.
		_ = madvise(uint64(addr), n, unix.MADV_POPULATE_READ)
	})
	return errors.Join(err, failed)
}

// Disarm ends what Arm did, for the mappings in the range that are armed. Stores there
// don't fault any more.
func (s *Scanner) Disarm(addr uintptr, n uint64) error {
	return s.with("disarm", addr, n, func() error {
		// The whole range at once would be refused for one mapping in it of another kind.
		var failed error
		err := scan(s.pagemap, uint64(addr), uint64(addr)+n, scanArg{
			categoryMask: pageIsWPAllowed,
			returned:     pageIsWPAllowed,
		}, func(addr uintptr, n uint64) {
			// EINVAL: unmapped meanwhile, or another userfaultfd's.
			if err := unregister(s.uffd, uint64(addr), n); err != nil && err != syscall.EINVAL {
				failed = err
			}
		})
		return errors.Join(err, failed)
	})
}

// Scan calls visit for each range of pages, in bytes, that were written since they were
// last protected, in the order of their addresses. See the package's comment for what
// counts as written. If protect, it protects exactly these, each in one step with
// finding it written: a store is seen by this scan, or by the next one. So visit
// may copy the pages: what it misses, because it is stored later, the next scan reports.
//
// What isn't mapped or isn't armed is left out. Holes cost nothing: no page tables are
// made for them. While visit runs, stores and mmap go on, but it can't call the Scanner.
func (s *Scanner) Scan(addr uintptr, n uint64, protect bool, visit func(addr uintptr, n uint64)) error {
	q := scanArg{
		// A hole, too, counts as written if that alone is asked for. Then
		// the kernel would protect it, with page tables full of markers.
		categoryMask:      pageIsWPAllowed | pageIsWritten,
		categoryAnyofMask: pageIsPresent | pageIsSwapped,
		returned:          pageIsWritten,
	}
	if protect {
		q.flags = scanWPMatching
	}
	return s.with("scan", addr, n, func() error {
		return scan(s.pagemap, uint64(addr), uint64(addr)+n, q, visit)
	})
}

// Present calls visit for each range of pages, in bytes, that are in the page table, in
// the order of their addresses, in mappings of any kind, armed or not. A swapped-out page
// counts, and so does the marker that an unwritten page left in an armed mapping.
func (s *Scanner) Present(addr uintptr, n uint64, visit func(addr uintptr, n uint64)) error {
	return s.with("look for present pages", addr, n, func() error {
		return scan(s.pagemap, uint64(addr), uint64(addr)+n, scanArg{
			categoryAnyofMask: pageIsPresent | pageIsSwapped,
			returned:          pageIsPresent,
		}, visit)
	})
}

// Absent calls visit for each range, in bytes, of the armed mappings that Scan has nothing
// to say of: no page is in the page table, nor a marker that it was unwritten. Most were
// never touched; the others may have been written before they left the page table. Cost
// and number of the ranges go with the pages that are present.
func (s *Scanner) Absent(addr uintptr, n uint64, visit func(addr uintptr, n uint64)) error {
	return s.with("look for absent pages", addr, n, func() error {
		return scan(s.pagemap, uint64(addr), uint64(addr)+n, scanArg{
			inverted:     pageIsPresent | pageIsSwapped,
			categoryMask: pageIsWPAllowed | pageIsPresent | pageIsSwapped,
			returned:     pageIsWPAllowed,
		}, visit)
	})
}

// with calls do for a range that is in order, while the Scanner is open.
func (s *Scanner) with(op string, addr uintptr, n uint64, do func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := s.check(addr, n)
	if err == nil && n > 0 {
		err = do()
	}
	if err != nil {
		return fmt.Errorf("pagescan: %s %d bytes at %#x: %w", op, n, addr, err)
	}
	return nil
}

func (s *Scanner) check(addr uintptr, n uint64) error {
	page := uint64(os.Getpagesize())
	switch {
	case s.uffd < 0:
		return os.ErrClosed
	case uint64(addr)%page != 0 || n%page != 0:
		return fmt.Errorf("address and length have to be multiples of %d bytes", page)
	case n > math.MaxUint64-uint64(addr):
		return errors.New("the range goes beyond the address space")
	}
	return nil
}
