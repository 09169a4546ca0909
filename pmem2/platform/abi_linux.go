package platform

import "golang.org/x/sys/unix"

// The Linux names that callers of the seam need, so that only this package and
// emu import x/sys/unix.
const (
	ORdonly    = unix.O_RDONLY
	OWronly    = unix.O_WRONLY
	ORdwr      = unix.O_RDWR
	OAccmode   = unix.O_ACCMODE
	OCreat     = unix.O_CREAT
	OExcl      = unix.O_EXCL
	OTrunc     = unix.O_TRUNC
	OAppend    = unix.O_APPEND
	OCloexec   = unix.O_CLOEXEC
	ODirectory = unix.O_DIRECTORY
	OPath      = unix.O_PATH
	OTmpfile   = unix.O_TMPFILE

	ProtNone  = unix.PROT_NONE
	ProtRead  = unix.PROT_READ
	ProtWrite = unix.PROT_WRITE
	ProtExec  = unix.PROT_EXEC

	MapShared         = unix.MAP_SHARED
	MapPrivate        = unix.MAP_PRIVATE
	MapSharedValidate = unix.MAP_SHARED_VALIDATE
	MapType           = unix.MAP_TYPE
	MapFixed          = unix.MAP_FIXED
	MapFixedNoreplace = unix.MAP_FIXED_NOREPLACE
	MapAnonymous      = unix.MAP_ANONYMOUS
	MapNoreserve      = unix.MAP_NORESERVE
	MapPopulate       = unix.MAP_POPULATE
	MapHugetlb        = unix.MAP_HUGETLB
	MapSync           = unix.MAP_SYNC

	MremapMaymove = unix.MREMAP_MAYMOVE
	MremapFixed   = unix.MREMAP_FIXED

	MsAsync      = unix.MS_ASYNC
	MsInvalidate = unix.MS_INVALIDATE
	MsSync       = unix.MS_SYNC

	SIFMT   = unix.S_IFMT
	SIFREG  = unix.S_IFREG
	SIFDIR  = unix.S_IFDIR
	SIFCHR  = unix.S_IFCHR
	SIFBLK  = unix.S_IFBLK
	SIFIFO  = unix.S_IFIFO
	SIFSOCK = unix.S_IFSOCK
	SIFLNK  = unix.S_IFLNK

	StatxAttrAppend    = unix.STATX_ATTR_APPEND
	StatxAttrImmutable = unix.STATX_ATTR_IMMUTABLE
	StatxAttrDAX       = unix.STATX_ATTR_DAX

	FallocKeepSize  = unix.FALLOC_FL_KEEP_SIZE
	FallocPunchHole = unix.FALLOC_FL_PUNCH_HOLE
)
