package pmemset

// SourceFlags is what XSourceFromFile does about the file besides opening it: the
// flags of pmemset_xsource_from_file(3) joined by "or", and a mode.
type SourceFlags uint64

// The flags. SourceFileTruncateIfNeeded and SourceFileDoNotGrow are one bit, as they
// are in C: what it means depends on who maps the source. [Part.Map] and the
// function [Map] let a file grow only with it, [Set.Map] only without it.
const (
	// SourceFileCreateAlways: the file is made if there is none, else emptied; its
	// mode and owner stay. It outranks SourceFileCreateIfNeeded.
	SourceFileCreateAlways SourceFlags = 1 << 0
	// SourceFileCreateIfNeeded: the file is made if there is none, else left as it is.
	SourceFileCreateIfNeeded SourceFlags = 1 << 1
	// SourceFileTruncateIfNeeded: mapping lets the file grow. It never shrinks.
	SourceFileTruncateIfNeeded SourceFlags = 1 << 2
	// SourceFileDoNotGrow: mapping doesn't let the file grow.
	SourceFileDoNotGrow SourceFlags = 1 << 2
)

// The modes of CreateMode, any of which can be joined by "or".
const (
	SourceFileRWXU uint32 = 0o700
	SourceFileRWU  uint32 = 0o600
	SourceFileRUSR uint32 = 0o400
	SourceFileWUSR uint32 = 0o200
	SourceFileXUSR uint32 = 0o100
	SourceFileRWXG uint32 = 0o070
	SourceFileRWG  uint32 = 0o060
	SourceFileRGRP uint32 = 0o040
	SourceFileWGRP uint32 = 0o020
	SourceFileXGRP uint32 = 0o010
	SourceFileRWXO uint32 = 0o007
	SourceFileRWO  uint32 = 0o006
	SourceFileROTH uint32 = 0o004
	SourceFileWOTH uint32 = 0o002
	SourceFileXOTH uint32 = 0o001
)

const (
	sourceFlagBits = SourceFileCreateAlways | SourceFileCreateIfNeeded | SourceFileDoNotGrow
	modeShift      = 32
	maxMode        = 0o777
	defaultMode    = 0o644
)

// CreateMode is PMEMSET_SOURCE_FILE_CREATE_MODE: the mode, from 0 to 0777, of a file
// that a flag besides it makes, less the umask. 0 is the default, 0644. The file's
// descriptor is open for reading and writing whatever the mode says.
func CreateMode(mode uint32) SourceFlags { return SourceFlags(mode) << modeShift }

// CreateAlwaysMode is PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE: SourceFileCreateAlways
// with CreateMode(mode).
func CreateAlwaysMode(mode uint32) SourceFlags { return SourceFileCreateAlways | CreateMode(mode) }

// creates reports whether a file is to be made if there is none.
func (f SourceFlags) creates() bool {
	return f&(SourceFileCreateAlways|SourceFileCreateIfNeeded) != 0
}

// mode is the mode to make a file with.
func (f SourceFlags) mode() uint32 {
	if m := uint32(f >> modeShift); m != 0 {
		return m
	}
	return defaultMode
}
