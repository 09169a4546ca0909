package pmemset

import "strconv"

// Code is an error of libpmemset, with the value that the C library has for it.
type Code int

// The codes of libpmemset, in the order of their values. -200034 was never given.
const (
	ErrUnknown                         Code = -200000
	ErrNoSupp                          Code = -200001
	ErrInvalidPmem2Source              Code = -200002
	ErrInvalidSourcePath               Code = -200003
	ErrInvalidSourceType               Code = -200004
	ErrCannotAllocateInternalStructure Code = -200005
	ErrInvalidOffsetValue              Code = -200006
	ErrGranularityNotSupported         Code = -200007
	ErrInvalidPmem2Map                 Code = -200008
	ErrPartExists                      Code = -200009
	ErrGranularityNotSet               Code = -200010
	ErrGranularityMismatch             Code = -200011
	ErrNoPartMapped                    Code = -200012
	ErrCannotFindPartMap               Code = -200013
	ErrCannotCoalesceParts             Code = -200014
	ErrLengthUnaligned                 Code = -200015
	ErrPartNotFound                    Code = -200016
	ErrInvalidCoalescingValue          Code = -200017
	ErrDeepFlushFail                   Code = -200018
	ErrInvalidSourceFileCreateFlags    Code = -200019
	ErrCannotCreateTempFile            Code = -200020
	ErrCannotGrowSourceFile            Code = -200021
	ErrPartMapPossibleUseAfterDrop     Code = -200022
	ErrCannotFitPartMap                Code = -200023
	ErrOffsetOutOfRange                Code = -200024
	ErrInvalidPartStates               Code = -200025
	ErrUndesirablePartState            Code = -200026
	ErrSDSAlreadySet                   Code = -200027
	ErrSDSNoSupp                       Code = -200028
	ErrSDSDeviceIDLenTooBig            Code = -200029
	ErrMapLengthUnset                  Code = -200030
	ErrSourceFileIsTooSmall            Code = -200031
	ErrIOFail                          Code = -200032
	ErrLengthOutOfRange                Code = -200033
	ErrInvalidAlignmentValue           Code = -200035
	ErrDaxRegionNotFound               Code = -200036
	ErrCannotReadBounds                Code = -200037
	ErrBadBlockNoSupp                  Code = -200038

	// ErrCannotTruncateSourceFile is what ErrCannotGrowSourceFile was called before
	// libpmemset 1.12.
	ErrCannotTruncateSourceFile = ErrCannotGrowSourceFile
)

var codes = map[Code]struct{ symbol, text string }{
	ErrUnknown:                         {"PMEMSET_E_UNKNOWN", "unknown error"},
	ErrNoSupp:                          {"PMEMSET_E_NOSUPP", "not supported"},
	ErrInvalidPmem2Source:              {"PMEMSET_E_INVALID_PMEM2_SOURCE", "invalid pmem2 source"},
	ErrInvalidSourcePath:               {"PMEMSET_E_INVALID_SOURCE_PATH", "invalid path of a source"},
	ErrInvalidSourceType:               {"PMEMSET_E_INVALID_SOURCE_TYPE", "invalid type of source"},
	ErrCannotAllocateInternalStructure: {"PMEMSET_E_CANNOT_ALLOCATE_INTERNAL_STRUCTURE", "internal structure cannot be allocated"},
	ErrInvalidOffsetValue:              {"PMEMSET_E_INVALID_OFFSET_VALUE", "invalid offset"},
	ErrGranularityNotSupported:         {"PMEMSET_E_GRANULARITY_NOT_SUPPORTED", "granularity not supported"},
	ErrInvalidPmem2Map:                 {"PMEMSET_E_INVALID_PMEM2_MAP", "mapping cannot be made"},
	ErrPartExists:                      {"PMEMSET_E_PART_EXISTS", "part exists already"},
	ErrGranularityNotSet:               {"PMEMSET_E_GRANULARITY_NOT_SET", "granularity not set"},
	ErrGranularityMismatch:             {"PMEMSET_E_GRANULARITY_MISMATCH", "granularity differs from that of the set"},
	ErrNoPartMapped:                    {"PMEMSET_E_NO_PART_MAPPED", "no part is mapped"},
	ErrCannotFindPartMap:               {"PMEMSET_E_CANNOT_FIND_PART_MAP", "part map not found"},
	ErrCannotCoalesceParts:             {"PMEMSET_E_CANNOT_COALESCE_PARTS", "parts cannot be coalesced"},
	ErrLengthUnaligned:                 {"PMEMSET_E_LENGTH_UNALIGNED", "length unaligned"},
	ErrPartNotFound:                    {"PMEMSET_E_PART_NOT_FOUND", "part not found"},
	ErrInvalidCoalescingValue:          {"PMEMSET_E_INVALID_COALESCING_VALUE", "invalid coalescing value"},
	ErrDeepFlushFail:                   {"PMEMSET_E_DEEP_FLUSH_FAIL", "deep flush failed"},
	ErrInvalidSourceFileCreateFlags:    {"PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS", "invalid flags for the file of a source"},
	ErrCannotCreateTempFile:            {"PMEMSET_E_CANNOT_CREATE_TEMP_FILE", "temporary file cannot be created"},
	ErrCannotGrowSourceFile:            {"PMEMSET_E_CANNOT_GROW_SOURCE_FILE", "file of the source cannot grow"},
	ErrPartMapPossibleUseAfterDrop:     {"PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", "part map is in use elsewhere"},
	ErrCannotFitPartMap:                {"PMEMSET_E_CANNOT_FIT_PART_MAP", "part map does not fit into the reservation"},
	ErrOffsetOutOfRange:                {"PMEMSET_E_OFFSET_OUT_OF_RANGE", "offset out of range"},
	ErrInvalidPartStates:               {"PMEMSET_E_INVALID_PART_STATES", "invalid part states"},
	ErrUndesirablePartState:            {"PMEMSET_E_UNDESIRABLE_PART_STATE", "undesirable part state"},
	ErrSDSAlreadySet:                   {"PMEMSET_E_SDS_ALREADY_SET", "shutdown data state is set already"},
	ErrSDSNoSupp:                       {"PMEMSET_E_SDS_NOSUPP", "shutdown data state not supported"},
	ErrSDSDeviceIDLenTooBig:            {"PMEMSET_E_SDS_DEVICE_ID_LEN_TOO_BIG", "device id too long"},
	ErrMapLengthUnset:                  {"PMEMSET_E_MAP_LENGTH_UNSET", "length of the mapping not set"},
	ErrSourceFileIsTooSmall:            {"PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL", "file of the source is too small"},
	ErrIOFail:                          {"PMEMSET_E_IO_FAIL", "input or output failed"},
	ErrLengthOutOfRange:                {"PMEMSET_E_LENGTH_OUT_OF_RANGE", "length out of range"},
	ErrInvalidAlignmentValue:           {"PMEMSET_E_INVALID_ALIGNMENT_VALUE", "alignment has an invalid value"},
	ErrDaxRegionNotFound:               {"PMEMSET_E_DAX_REGION_NOT_FOUND", "DAX region not found"},
	ErrCannotReadBounds:                {"PMEMSET_E_CANNOT_READ_BOUNDS", "bounds cannot be read"},
	ErrBadBlockNoSupp:                  {"PMEMSET_E_BADBLOCK_NOSUPP", "bad blocks not supported"},
}

// Symbol returns the name of the code in C: "PMEMSET_E_PART_EXISTS".
func (c Code) Symbol() string {
	if d, ok := codes[c]; ok {
		return d.symbol
	}
	return "PMEMSET_E_" + strconv.Itoa(int(c))
}

// Error returns what the code means.
func (c Code) Error() string {
	if d, ok := codes[c]; ok {
		return d.text
	}
	return "unknown code " + strconv.Itoa(int(c))
}
