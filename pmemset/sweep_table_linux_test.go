package pmemset_test

// sweepTable says for each operation, platform call and errno what must come. Below
// the operations, a line for each kind of call, or for the n-th call of a kind, "#n",
// which comes first; or the names of lines that stand at the start:
//
//	EBADF EIO = GROWN: ENOSPC     an error, of this package, and of pmem2 or the
//	                              system below it; "errno" is the errno itself
//	* = errno, left               any other errno: the error itself, which names
//	                              what is left behind
//	EINVAL ~ 8192 bytes           a success, that says so
//	EINVAL ~ as ever              what comes without the fault, with the same events
//
// "{Part.}Map" are Part.Map and Map. Unless an error names what is left behind, nothing
// is, and the call then works.
const sweepTable = `
[part]
	open with O_PATH: ENOENT = INVALID_SOURCE_PATH: errno; * = errno
	close: * = errno, left

[open]
	get-fl: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno

[size]
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	fstat#2: * = errno

[old size]
	fstat#2: * = INVALID_PMEM2_MAP: errno
	fstat: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

[grow]
	fstat#3: * = CANNOT_GROW_SOURCE_FILE: errno
	fstat#6: * = CANNOT_GROW_SOURCE_FILE: errno
	fstat#7: * = CANNOT_GROW_SOURCE_FILE: errno
	get-fl: * = CANNOT_GROW_SOURCE_FILE: errno

[allocate]
	fallocate: ENOSYS EOPNOTSUPP ~ as ever; * = CANNOT_GROW_SOURCE_FILE: errno

[truncate]
	fstat#8: * = CANNOT_GROW_SOURCE_FILE: errno
	ftruncate: * = CANNOT_GROW_SOURCE_FILE: errno

[SDS]
	fstat: * = errno
	readlink device: ENOENT = SDS_NOSUPP: PMEM2_E_NOSUPP; * = errno
	list: ENOENT = SDS_NOSUPP: PMEM2_E_NOSUPP; * = errno
	read-attr mappings: ENOENT = SDS_NOSUPP: PMEM2_E_NOSUPP; * = errno
	read-attr mapping0: ENOENT = EINVAL; * = errno
	read-attr dirty_shutdown: ENOENT = SDS_NOSUPP: PMEM2_E_NOSUPP; * = errno
	read-attr id: ENOENT = SDS_NOSUPP: PMEM2_E_NOSUPP; * = errno

[bad blocks]
	fstat: * = errno
	readlink device: ENOENT ~ as ever; * = errno
	list: ENOENT ~ as ever; * = errno
	fiemap: * = errno
	read-attr partition of the device: ENOENT ~ as ever; * = errno
	read-attr badblocks of the device: ENOENT ~ as ever; * = errno

[reserve]
	mmap of a placeholder: * = CANNOT_ALLOCATE_INTERNAL_STRUCTURE: errno
	munmap: * = CANNOT_ALLOCATE_INTERNAL_STRUCTURE: errno

[extend]
	mmap of a placeholder, fixed: EEXIST = CANNOT_COALESCE_PARTS: PMEM2_E_MAPPING_EXISTS; * = CANNOT_ALLOCATE_INTERNAL_STRUCTURE: errno

[map]
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ as ever; * = INVALID_PMEM2_MAP: errno
	mmap: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EOPNOTSUPP = INVALID_PMEM2_MAP: PMEM2_E_NOSUPP; * = INVALID_PMEM2_MAP: errno
	mremap: * = INVALID_PMEM2_MAP: errno

[map DAX]
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ as ever; * = INVALID_PMEM2_MAP: errno
	mremap: * = INVALID_PMEM2_MAP: errno
	read-attr persistence_domain: * ~ as ever

Part.Map, *
	[part]

SourceFromFile
	[open]
	open: ENOENT = INVALID_SOURCE_PATH: errno; * = errno

SourceFromFile, device DAX
	[open]
	open: ENOENT = INVALID_SOURCE_PATH: errno; * = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; * = errno

XSourceFromFile, do not grow
	[open]
	open: * = errno

XSourceFromFile, create if needed, there
	[open]
	open with O_CREAT: EEXIST ~ as ever; * = errno
	open: ENOENT ~ as ever; * = errno

XSourceFromFile, create if needed, not there | XSourceFromFile, create always, not there
	[open]
	open with O_CREAT: EEXIST ~ as ever; * = errno

XSourceFromFile, create always, there
	[open]
	open with O_CREAT: EEXIST ~ as ever; * = errno
	open: ENOENT ~ as ever; * = errno
	fstat#2: * = errno
	ftruncate: * = errno

SourceFromTemporary
	[open]
	open with O_TMPFILE: EINVAL EISDIR ENOENT EOPNOTSUPP ~ as ever; * = CANNOT_CREATE_TEMP_FILE: errno

SourceFromTemporary, with a name
	[part] [open]
	open with O_CREAT: EEXIST ~ as ever; * = CANNOT_CREATE_TEMP_FILE: errno
	unlink: * ~ as ever

Source.Delete
	close: * ~ as ever

Alignment, file
	fstat: * = INVALID_ALIGNMENT_VALUE: errno

Alignment, device DAX
	fstat: * = INVALID_ALIGNMENT_VALUE: errno
	readlink subsystem: ENOENT = INVALID_ALIGNMENT_VALUE: PMEM2_E_INVALID_FILE_TYPE; * = INVALID_ALIGNMENT_VALUE: errno
	read-attr align: * = INVALID_ALIGNMENT_VALUE: errno

PreadMCSafe, file
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	pread: EIO = IO_FAIL: PMEM2_E_IO_FAIL; * = errno

PreadMCSafe, device DAX | PwriteMCSafe, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; * = errno
	read-attr size: * = errno
	read-attr align: * = errno
	mmap with MAP_SYNC: EACCES = PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ as ever; * = errno
	munmap: * ~ as ever

PwriteMCSafe, file
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	get-fl: * = errno
	pwrite: EFAULT EIO = IO_FAIL: PMEM2_E_IO_FAIL; * = errno

ClearBadBlock, file
	[bad blocks]
	fallocate punching a hole: * = errno
	fallocate: * = errno, left

ClearBadBlock, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; * = errno
	open: * = errno
	close: * = errno, left
	read-attr size: * = errno
	read-attr align: * = errno
	mmap with MAP_SYNC: EACCES = PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ as ever; * = errno
	munmap: * ~ as ever
	get-fl: * = errno
	fstat#1: * = errno
	readlink device: ENOENT = DAX_REGION_NOT_FOUND: PMEM2_E_DAX_REGION_NOT_FOUND; * = errno
	list#2: * = errno
	list: ENOENT = DAX_REGION_NOT_FOUND: PMEM2_E_DAX_REGION_NOT_FOUND; * = errno
	read-attr resource: * = errno
	read-attr resource of the device: * = CANNOT_READ_BOUNDS: PMEM2_E_CANNOT_READ_BOUNDS
	read-attr size of the device: * = CANNOT_READ_BOUNDS: PMEM2_E_CANNOT_READ_BOUNDS
	read-attr badblocks: ENOENT ~ as ever; * = errno
	ars-capabilities: * = errno
	clear-error: * = errno

{Part.}Map, fresh | {Part.}Map, all of it | {Part.}Map, of pmem2 | Part.Map, made before
	[old size] [reserve] [map]

{Part.}Map, coalescing | {Part.}Map, coalescing, much
	[old size] [extend] [map]

{Part.}Map, opportunistic
	[old size]
	fstat#3: * ~ 8192 bytes
	mmap of a placeholder, fixed: * ~ 8192 bytes
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ as ever; * ~ 8192 bytes
	mmap: * ~ 8192 bytes
	mremap: * ~ 8192 bytes

{Part.}Map, opportunistic, no room
	[old size] [reserve] [map]
	mmap of a placeholder, fixed: * ~ as ever

{Part.}Map, coalescing, no room
	[old size]
	mmap of a placeholder, fixed: EEXIST ~ as ever; * = CANNOT_ALLOCATE_INTERNAL_STRUCTURE: errno

{Part.}Map, configured reservation | {Part.}Map, configured reservation, coalescing
	[old size] [map]

{Part.}Map, growing, by ftruncate
	[old size] [grow] [truncate] [reserve] [map]
	fstat#5: * = INVALID_PMEM2_MAP: errno

{Part.}Map, growing | {Part.}Map, temporary
	[old size] [grow] [allocate] [reserve] [map]
	fstat#5: * = INVALID_PMEM2_MAP: errno

{Part.}Map, growing, coalescing
	[old size] [grow] [allocate] [extend] [map]
	fstat#5: * = INVALID_PMEM2_MAP: errno

{Part.}Map, device DAX
	[old size] [reserve] [map DAX]
	readlink subsystem: ENOENT = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_TYPE; * = INVALID_PMEM2_MAP: errno
	read-attr size: * = INVALID_PMEM2_MAP: errno
	read-attr align: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever

{Part.}Map, DAX
	[old size] [reserve] [map DAX]
	list: * ~ as ever

{Part.}Map, SDS
	[SDS] [reserve] [map DAX]
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	fstat#4: * = INVALID_PMEM2_MAP: errno
	fstat#5: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	list#3: * ~ as ever

{Part.}Map, bad block
	[reserve] [map DAX]
	fstat: * = errno
	fiemap: * = errno
	read-attr partition of the device: ENOENT ~ as ever; * = errno
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	fstat#4: * = INVALID_PMEM2_MAP: errno
	fstat#5: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	list#3: * ~ as ever
	readlink device#2: ENOENT ~ as ever; * = errno
	readlink device: ENOENT ~ 8192 bytes, 0 bad blocks; * = errno
	list#2: ENOENT ~ as ever; * = errno
	list: ENOENT ~ 8192 bytes, 0 bad blocks; * = errno
	read-attr badblocks of the device#2: ENOENT ~ as ever; * = errno
	read-attr badblocks of the device: ENOENT ~ 8192 bytes, 0 bad blocks; * = errno

{Part.}Map, mismatch
	[old size] [extend]
	munmap: * ~ as ever
	mremap: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever
	read-attr persistence_domain: * ~ as ever
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ joined to 12288 bytes; * = INVALID_PMEM2_MAP: errno
	mremap#2: * ~ as ever
	mmap of a placeholder: * ~ as ever

Set.Map, fresh | Set.Map, all of it | Set.Map, of pmem2
	[size] [reserve] [map]
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, coalescing | Set.Map, configured reservation | Set.Map, configured reservation, coalescing | Set.Map, configured reservation, opportunistic, taken
	[size] [map]
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, coalescing, much
	[size] [map]
	mmap of a placeholder, fixed: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, opportunistic
	[size]
	fstat#3: * ~ 8192 bytes
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ as ever; * ~ 8192 bytes
	mmap: * ~ 8192 bytes
	mremap: * ~ 8192 bytes

Set.Map, opportunistic, no room
	[size] [reserve] [map]
	mmap of a placeholder, fixed: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, coalescing, no room
	[size]
	mmap of a placeholder, fixed: * ~ as ever
	mmap of a placeholder, fixed#2: EEXIST ~ as ever; * = CANNOT_ALLOCATE_INTERNAL_STRUCTURE: errno

Set.Map, growing, by ftruncate
	[size] [grow] [truncate] [reserve] [map]
	fstat#5: * = errno
	fstat#9: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, growing | Set.Map, temporary
	[size] [grow] [allocate] [reserve] [map]
	fstat#5: * = errno
	fstat#8: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, growing, coalescing
	[size] [grow] [allocate] [map]
	fstat#5: * = errno
	fstat#8: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, device DAX
	[size] [reserve] [map DAX]
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; * = errno
	read-attr size: * = errno
	read-attr align: * = errno
	list: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	readlink subsystem#3: ENOENT = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_TYPE; * = INVALID_PMEM2_MAP: errno
	read-attr size#2: * = INVALID_PMEM2_MAP: errno
	read-attr align#2: * = INVALID_PMEM2_MAP: errno

Set.Map, DAX
	[size] [reserve] [map DAX]
	list: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno

Set.Map, SDS
	[SDS] [reserve] [map DAX]
	fstat#5: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	list#3: * ~ as ever
	fstat#3: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno

Set.Map, bad block
	[reserve] [map DAX]
	fstat: * = errno
	fiemap: * = errno
	read-attr partition of the device: ENOENT ~ as ever; * = errno
	fstat#5: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	list#3: * ~ as ever
	readlink device#2: ENOENT ~ as ever; * = errno
	readlink device: ENOENT ~ 8192 bytes, 0 bad blocks; * = errno
	list#2: ENOENT ~ as ever; * = errno
	list: ENOENT ~ 8192 bytes, 0 bad blocks; * = errno
	read-attr badblocks of the device#2: ENOENT ~ as ever; * = errno
	read-attr badblocks of the device: ENOENT ~ 8192 bytes, 0 bad blocks; * = errno
	fstat#3: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno

Set.Map, mismatch
	[size]
	mremap: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever
	read-attr persistence_domain: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ joined to 12288 bytes; * = INVALID_PMEM2_MAP: errno
	mremap#2: * ~ as ever
	mmap of a placeholder: * ~ as ever

Set.Map, mismatch, growing
	[size] [grow] [allocate] [reserve]
	mremap: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever
	read-attr persistence_domain: * ~ as ever
	mremap#2: * ~ as ever
	fstat#5: * = errno
	fstat#8: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	fstat#9: * ~ as ever
	mmap of a placeholder#2: * ~ as ever
	munmap#3: * ~ as ever
	ftruncate: * ~ as ever
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ done; * = INVALID_PMEM2_MAP: errno

Set.Map, mismatch, growing, by ftruncate
	[size] [grow] [truncate] [reserve]
	mremap: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever
	read-attr persistence_domain: * ~ as ever
	mremap#2: * ~ as ever
	fstat#5: * = errno
	fstat#9: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	fstat#10: * ~ as ever
	mmap of a placeholder#2: * ~ as ever
	munmap#3: * ~ as ever
	ftruncate#2: * ~ as ever
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ done; * = INVALID_PMEM2_MAP: errno

Set.Map, mismatch, configured reservation
	[size]
	mremap: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever
	read-attr persistence_domain: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	mremap#2: * ~ as ever
	mmap of a placeholder: * ~ as ever
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP ~ done; * = INVALID_PMEM2_MAP: errno

Set.Map, coalescing, device DAX
	[size] [extend]
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; * = errno
	read-attr size: * = errno
	read-attr align: * = errno
	mremap: * = INVALID_PMEM2_MAP: errno
	list: * ~ as ever
	read-attr persistence_domain: * ~ as ever
	fstat#3: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	readlink subsystem#3: ENOENT = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_TYPE; * = INVALID_PMEM2_MAP: errno
	read-attr size#2: * = INVALID_PMEM2_MAP: errno
	read-attr align#2: * = INVALID_PMEM2_MAP: errno
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP = GRANULARITY_MISMATCH; * = INVALID_PMEM2_MAP: errno

Set.Map, SDS, coalescing
	[SDS]
	mremap: * = INVALID_PMEM2_MAP: errno
	read-attr persistence_domain: * ~ as ever
	fstat#5: EBADF = INVALID_PMEM2_MAP: PMEM2_E_INVALID_FILE_HANDLE; * = INVALID_PMEM2_MAP: errno
	list#3: * ~ as ever
	fstat#3: EBADF = PMEM2_E_INVALID_FILE_HANDLE; * = errno
	mmap with MAP_SYNC: EACCES = INVALID_PMEM2_MAP: PMEM2_E_NO_ACCESS; EINVAL EOPNOTSUPP = GRANULARITY_MISMATCH; * = INVALID_PMEM2_MAP: errno

NewPart
	[part]

RemovePartMap | RemovePartMap, coalesced | RemovePartMap, SDS | RemovePartMap, of a Part | RemovePartMap, the only one | RemoveRange, whole | RemoveRange, head | RemoveRange, two part maps
	munmap: * ~ as ever
	msync: * ~ as ever
	mmap of a placeholder: ENOMEM ~ as ever; * = errno
	mremap: * = errno

RemovePartMap, configured reservation | RemoveRange, tail | RemoveRange, middle | RemoveRange, middle, configured reservation | RemoveRange, tail, SDS
	msync: * ~ as ever
	mmap of a placeholder: ENOMEM ~ as ever; * = errno
	mremap: * = errno

Set.Delete | Set.Delete, SDS
	munmap: * ~ as ever
	mmap of a placeholder: * ~ as ever
	mremap: * ~ as ever

Set.Delete, configured reservation
	mmap of a placeholder: * ~ as ever
	mremap: * ~ as ever

RemovePartMap, no mapping left | RemoveRange, whole, no mapping left | RemoveRange, head, no mapping left
	munmap: * ~ as ever
	msync: * ~ as ever
	mmap of a placeholder over maps: * = errno

RemoveRange, middle, no mapping left | RemoveRange, tail, no mapping left
	msync: * ~ as ever
	mmap of a placeholder over maps: * = errno

RemovePartMap, few mappings left | RemoveRange, whole, few mappings left | RemoveRange, head, few mappings left | RemoveRange, middle, few mappings left | RemoveRange, tail, few mappings left
	munmap: * ~ as ever
	msync: * ~ as ever
	mmap of a placeholder: ENOMEM ~ as ever; * = errno
	mmap of a placeholder#2: ENOMEM ~ as ever; * = ENOMEM
	mmap of a placeholder over maps: * = errno

Set.Delete, no mapping left
	munmap: * ~ as ever
	mmap of a placeholder over maps: * ~ as ever

Set.Delete, few mappings left
	munmap: * ~ as ever
	mmap of a placeholder: * ~ as ever
	mmap of a placeholder over maps: * ~ as ever

Persist | Flush | Memcpy | Memmove | Memset
	msync: * = errno

DeepFlush | DeepFlush, DAX
	msync: * = DEEP_FLUSH_FAIL: errno

DeepFlush, device DAX
	readlink device: ENOENT = DEEP_FLUSH_FAIL: PMEM2_E_DAX_REGION_NOT_FOUND; * = DEEP_FLUSH_FAIL: errno
	list: ENOENT = DEEP_FLUSH_FAIL: PMEM2_E_DAX_REGION_NOT_FOUND; * = DEEP_FLUSH_FAIL: errno
	read-attr deep_flush: ENOENT ~ as ever; * = DEEP_FLUSH_FAIL: errno
	write-attr deep_flush: EACCES EPERM EROFS ~ as ever; * = DEEP_FLUSH_FAIL: errno
`
