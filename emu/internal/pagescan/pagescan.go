// Package pagescan finds which pages of shared memfd mappings were written since the
// last look, without slowing down stores: the kernel write-protects the pages at a look,
// and the first store to each page after it faults once, inside the kernel.
//
// It takes Linux 6.7 or newer, for the PAGEMAP_SCAN ioctl and for userfaultfd's
// asynchronous write protection, and no privileges. Elsewhere New says ErrUnsupported.
//
// # What counts as written
//
// The kernel keeps a mark for each page table entry of a mapping, so what is known is
// known of a mapping, not of the memory behind it: a store through another mapping of the
// same memfd, or a pwrite(2) to it, is not seen here. Any way of writing through the
// mapping is: a store, an atomic operation, a system call that writes there.
//
// A page counts as written if an entry for it is there and isn't write-protected. So a page
// that was merely read counts too, the first time. The entry may be a page or, while the
// kernel moves the page, a note of where it went; Scan takes both.
//
// # Pages that left the page table
//
// MADV_DONTNEED and the reclaim of memory take a page out of the page table and leave
// its contents in the memfd. If it was protected, the kernel leaves a marker: the
// page is known to be unwritten, and the next store is seen. If it was written, nothing
// is left, and Scan doesn't report it until it is touched again, if only read. Absent finds
// such pages: a written page is always reported by Scan or lies in a range that Absent
// reports. Reclaim takes pages of memfds only where there is swap space.
//
// Holes punched into the memfd and its truncation change what a mapping shows, but don't
// write through it: no scan tells of them. What was written there is absent afterwards.
//
// A huge page would leave the page table when a part of it is protected. So Arm forbids
// them in the range (MADV_NOHUGEPAGE) and maps those that are there as small ones.
//
// # Mappings that change
//
// munmap, and mmap with MAP_FIXED over an armed range, end what Arm did, for just that part.
// So does mremap, for the whole of what it moves, grows or shrinks elsewhere: it has to be
// armed again, and everything in it counts as written then. What grows in place is armed.
// mprotect changes nothing.
package pagescan

import "errors"

// ErrUnsupported says that the system can't do it: it isn't Linux on amd64 or arm64, the
// kernel is older than 6.7 or was built without userfaultfd, or a sandbox refuses it.
var ErrUnsupported = errors.New("not supported")
