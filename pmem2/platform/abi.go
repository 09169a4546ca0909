package platform

// Constants of FIEMAP, for which golang.org/x/sys has no names.
const (
	// Fiemap: flush delayed allocations first.
	FiemapFlagSync = 0x1

	// FiemapExtent.Flags: it is the last one; where it lies is not known, not yet
	// decided, or no address of the data alone.
	FiemapExtentLast       = 0x1
	FiemapExtentUnknown    = 0x2
	FiemapExtentDelalloc   = 0x4
	FiemapExtentEncoded    = 0x8
	FiemapExtentDataInline = 0x200
)
