//go:build !linux

package platform

// The same names as on Linux, with the numbers that Linux has on amd64: no
// machine on this operating system gives them a meaning, but what is built on
// the seam compiles.
const (
	ORdonly            = 0x0
	OWronly            = 0x1
	ORdwr              = 0x2
	OAccmode           = 0x3
	OCreat             = 0x40
	OExcl              = 0x80
	OTrunc             = 0x200
	OAppend            = 0x400
	OCloexec           = 0x80000
	ODirectory         = 0x10000
	OPath              = 0x200000
	OTmpfile           = 0x410000
	ProtNone           = 0x0
	ProtRead           = 0x1
	ProtWrite          = 0x2
	ProtExec           = 0x4
	MapShared          = 0x1
	MapPrivate         = 0x2
	MapSharedValidate  = 0x3
	MapType            = 0xf
	MapFixed           = 0x10
	MapFixedNoreplace  = 0x100000
	MapAnonymous       = 0x20
	MapNoreserve       = 0x4000
	MapPopulate        = 0x8000
	MapHugetlb         = 0x40000
	MapSync            = 0x80000
	MremapMaymove      = 0x1
	MremapFixed        = 0x2
	MsAsync            = 0x1
	MsInvalidate       = 0x2
	MsSync             = 0x4
	SIFMT              = 0xf000
	SIFREG             = 0x8000
	SIFDIR             = 0x4000
	SIFCHR             = 0x2000
	SIFBLK             = 0x6000
	SIFIFO             = 0x1000
	SIFSOCK            = 0xc000
	SIFLNK             = 0xa000
	StatxAttrAppend    = 0x20
	StatxAttrImmutable = 0x10
	StatxAttrDAX       = 0x200000
	FallocKeepSize     = 0x1
	FallocPunchHole    = 0x2
)
