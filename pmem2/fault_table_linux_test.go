package pmem2_test

import (
	"strings"
	"testing"
)

// faultTable says for each operation, platform call and errno what must come.
// Below the operation, a line for each kind of call, or for the n-th call of a kind, "#n",
// which comes first:
//
//	EBADF EIO = PMEM2_E_NOSUPP    reported as that; "errno" is the errno itself
//	EINVAL ~ PAGE                 tolerated, with that result
//	EINVAL rollback               the call takes something back after a failure:
//	                              the first error is reported, the call is tried
//	                              once more, and if that fails the error names
//	                              what is left
//	EIO left                      the errno itself, and the error names what is left
//
// In the first two cases nothing is left behind and the objects can be used
// again.
const faultTable = `
SourceFromFD, file
	get-fl: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO = errno
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno

SourceFromFD, device DAX
	get-fl: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO = errno
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno

SourceFromFile
	get-fl: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO = errno
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno

Size, file
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno

Size, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr size: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno

Alignment, file
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno

Alignment, device DAX
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr align: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno

NewMap, page cache
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno

NewMap, DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	list: EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR ~ CACHE_LINE
	read-attr persistence_domain: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO ~ CACHE_LINE

NewMap, eADR
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	list: EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR ~ CACHE_LINE
	read-attr persistence_domain: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO ~ CACHE_LINE

NewMap, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr align: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	read-attr size: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	list: EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR ~ CACHE_LINE
	read-attr persistence_domain: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO ~ CACHE_LINE

NewMap, private
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno

NewMap, anonymous
	mmap of anonymous memory: EAGAIN EINVAL ENFILE ENOMEM EPERM = errno

NewMap, append-only
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EACCES EINVAL EOPNOTSUPP = EACCES; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	get-fl: EBADF EIO = PMEM2_E_NO_ACCESS
	statx: EACCES EBADF EINVAL EIO ENOMEM ENOSYS = PMEM2_E_NO_ACCESS

NewMap, too coarse
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP = PMEM2_E_GRANULARITY_NOT_SUPPORTED; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	munmap: EINVAL ENOMEM rollback

NewMap, reservation
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

NewMap, reservation, DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	list: EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR ~ CACHE_LINE
	read-attr persistence_domain: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO ~ CACHE_LINE
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

NewMap, reservation, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr align: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	read-attr size: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ PAGE; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	list: EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR ~ CACHE_LINE
	read-attr persistence_domain: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO ~ CACHE_LINE
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

NewMap, reservation, private
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

NewMap, reservation, anonymous
	mmap of anonymous memory: EAGAIN EINVAL ENFILE ENOMEM EPERM = errno
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

NewMap, reservation, too coarse
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP = PMEM2_E_GRANULARITY_NOT_SUPPORTED; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	munmap: EINVAL ENOMEM rollback

NewMap, reservation, mremap fails
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP = ENOMEM; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	mmap: EACCES = PMEM2_E_NO_ACCESS; EOPNOTSUPP = PMEM2_E_NOSUPP; EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	munmap: EINVAL ENOMEM rollback
	mmap of a placeholder, fixed: EEXIST = ENOMEM; EAGAIN EINVAL ENOMEM EPERM rollback

Map.Delete
	munmap: EINVAL ENOMEM = errno

Map.Delete, reservation
	mmap of a placeholder: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

Map.Delete, reservation, mremap fails
	mmap of a placeholder: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	munmap: EINVAL ENOMEM rollback
	mmap of a placeholder, fixed: EEXIST = EAGAIN; EAGAIN EINVAL ENOMEM EPERM rollback

Map.Delete, reservation, no mapping left
	mmap of a placeholder over maps: EAGAIN EINVAL ENOMEM EPERM = errno

Map.Delete, reservation, few mappings left
	mmap of a placeholder#1: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	mmap of a placeholder#2: ENOMEM ~ done; EAGAIN EINVAL EPERM = ENOMEM
	munmap: EINVAL ENOMEM ~ done
	mmap of a placeholder over maps: EAGAIN EINVAL ENOMEM EPERM = errno

PrepareDelete, Cancel
	mmap of a placeholder: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	munmap: EINVAL ENOMEM ~ done

PrepareDelete, Commit
	mmap of a placeholder: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

PrepareDelete, Commit, three maps
	mmap of a placeholder: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	mremap: EAGAIN EFAULT EINVAL ENOMEM = errno

PrepareDelete, Commit, mremap fails
	mmap of a placeholder: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	munmap: EINVAL ENOMEM rollback
	mmap of a placeholder, fixed: EEXIST = EAGAIN; EAGAIN EINVAL ENOMEM EPERM rollback

PrepareDelete, Commit, no mapping left
	mmap of a placeholder over maps: EAGAIN EINVAL ENOMEM EPERM = errno

PrepareDelete, Commit, few mappings left
	mmap of a placeholder#1: ENOMEM ~ done; EAGAIN EINVAL EPERM = errno
	mmap of a placeholder#2: ENOMEM ~ done; EAGAIN EINVAL EPERM = ENOMEM
	munmap: EINVAL ENOMEM ~ done
	mmap of a placeholder over maps: EAGAIN EINVAL ENOMEM EPERM = errno

Persist, page cache
	msync: EBUSY EINVAL EIO ENOMEM = errno

Persist, two maps
	msync: EBUSY EINVAL EIO ENOMEM = errno

Flush, page cache
	msync: EBUSY EINVAL EIO ENOMEM = errno

Memcpy, page cache
	msync: EBUSY EINVAL EIO ENOMEM = errno

Memset, page cache
	msync: EBUSY EINVAL EIO ENOMEM = errno

Memmove, page cache
	msync: EBUSY EINVAL EIO ENOMEM = errno

NewVMReservation
	mmap of a placeholder: EAGAIN EINVAL ENOMEM EPERM = errno
	munmap: EINVAL ENOMEM = errno

NewVMReservation, trimming fails
	mmap of a placeholder: EAGAIN EINVAL ENOMEM EPERM = errno
	munmap: EINVAL ENOMEM rollback

NewVMReservation, address
	mmap of a placeholder, fixed: EEXIST = PMEM2_E_MAPPING_EXISTS; EAGAIN EINVAL ENOMEM EPERM = errno

VMReservation.Delete
	munmap: EINVAL ENOMEM = errno

Extend
	mmap of a placeholder, fixed: EEXIST = PMEM2_E_MAPPING_EXISTS; EAGAIN EINVAL ENOMEM EPERM = errno

Shrink
	munmap: EINVAL ENOMEM = errno
`

type verdictKind int

const (
	reported verdictKind = iota
	tolerated
	rollback
	left
)

type verdict struct {
	kind    verdictKind
	outcome string
}

// faultTableByKey parses such a table; keys are "operation: call: errno".
func faultTableByKey(t *testing.T, text string) map[string]verdict {
	t.Helper()
	table := map[string]verdict{}
	operation := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, "\t") {
			operation = line
			continue
		}
		call, verdicts, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || operation == "" {
			t.Fatalf("faultTable: %q isn't understood", line)
		}
		for clause := range strings.SplitSeq(verdicts, "; ") {
			var v verdict
			var errnos string
			switch {
			case strings.Contains(clause, " = "):
				v.kind = reported
				errnos, v.outcome, _ = strings.Cut(clause, " = ")
			case strings.Contains(clause, " ~ "):
				v.kind = tolerated
				errnos, v.outcome, _ = strings.Cut(clause, " ~ ")
			case strings.HasSuffix(clause, " left"):
				v.kind = left
				errnos = strings.TrimSuffix(clause, " left")
			case strings.HasSuffix(clause, " rollback"):
				v.kind = rollback
				errnos = strings.TrimSuffix(clause, " rollback")
			default:
				t.Fatalf("faultTable: %q isn't understood", clause)
			}
			for errno := range strings.FieldsSeq(errnos) {
				key := operation + ": " + call + ": " + errno
				if _, twice := table[key]; twice {
					t.Fatalf("faultTable has %s twice", key)
				}
				table[key] = v
			}
		}
	}
	return table
}
