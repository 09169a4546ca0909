package pmem2

import "strconv"

// Code is an error of libpmem2, with the value that the C library has for it.
type Code int

// The codes of libpmem2, in the order of their values.
const (
	ErrUnknown                 Code = -100000
	ErrNoSupp                  Code = -100001
	ErrFileHandleNotSet        Code = -100003
	ErrInvalidFileHandle       Code = -100004
	ErrInvalidFileType         Code = -100005
	ErrMapRange                Code = -100006
	ErrMappingExists           Code = -100007
	ErrGranularityNotSet       Code = -100008
	ErrGranularityNotSupported Code = -100009
	ErrOffsetOutOfRange        Code = -100010
	ErrOffsetUnaligned         Code = -100011
	ErrInvalidAlignmentFormat  Code = -100012
	ErrInvalidAlignmentValue   Code = -100013
	ErrInvalidSizeFormat       Code = -100014
	ErrLengthUnaligned         Code = -100015
	ErrMappingNotFound         Code = -100016
	ErrBufferTooSmall          Code = -100017
	ErrSourceEmpty             Code = -100018
	ErrInvalidSharingValue     Code = -100019
	ErrSrcDevDaxPrivate        Code = -100020
	ErrInvalidAddressRequest   Code = -100021
	ErrAddressUnaligned        Code = -100022
	ErrAddressNull             Code = -100023
	ErrDeepFlushRange          Code = -100024
	ErrInvalidRegionFormat     Code = -100025
	ErrDaxRegionNotFound       Code = -100026
	ErrInvalidDevFormat        Code = -100027
	ErrCannotReadBounds        Code = -100028
	ErrNoBadBlockFound         Code = -100029
	ErrLengthOutOfRange        Code = -100030
	ErrInvalidProtFlag         Code = -100031
	ErrNoAccess                Code = -100032
	ErrVMReservationNotEmpty   Code = -100033
	ErrMapExists               Code = -100034
	ErrFileDescriptorNotSet    Code = -100035
	ErrSourceTypeNotSupported  Code = -100036
	ErrIOFail                  Code = -100037
)

var codes = map[Code]struct{ symbol, text string }{
	ErrUnknown:                 {"PMEM2_E_UNKNOWN", "unknown error"},
	ErrNoSupp:                  {"PMEM2_E_NOSUPP", "not supported"},
	ErrFileHandleNotSet:        {"PMEM2_E_FILE_HANDLE_NOT_SET", "source has no file handle"},
	ErrInvalidFileHandle:       {"PMEM2_E_INVALID_FILE_HANDLE", "invalid file descriptor"},
	ErrInvalidFileType:         {"PMEM2_E_INVALID_FILE_TYPE", "invalid file type"},
	ErrMapRange:                {"PMEM2_E_MAP_RANGE", "range outside of the source"},
	ErrMappingExists:           {"PMEM2_E_MAPPING_EXISTS", "range is taken by a mapping"},
	ErrGranularityNotSet:       {"PMEM2_E_GRANULARITY_NOT_SET", "granularity not set"},
	ErrGranularityNotSupported: {"PMEM2_E_GRANULARITY_NOT_SUPPORTED", "granularity not supported"},
	ErrOffsetOutOfRange:        {"PMEM2_E_OFFSET_OUT_OF_RANGE", "offset out of range"},
	ErrOffsetUnaligned:         {"PMEM2_E_OFFSET_UNALIGNED", "offset unaligned"},
	ErrInvalidAlignmentFormat:  {"PMEM2_E_INVALID_ALIGNMENT_FORMAT", "alignment has an invalid format"},
	ErrInvalidAlignmentValue:   {"PMEM2_E_INVALID_ALIGNMENT_VALUE", "alignment has an invalid value"},
	ErrInvalidSizeFormat:       {"PMEM2_E_INVALID_SIZE_FORMAT", "size has an invalid format"},
	ErrLengthUnaligned:         {"PMEM2_E_LENGTH_UNALIGNED", "length unaligned"},
	ErrMappingNotFound:         {"PMEM2_E_MAPPING_NOT_FOUND", "mapping not found"},
	ErrBufferTooSmall:          {"PMEM2_E_BUFFER_TOO_SMALL", "buffer too small"},
	ErrSourceEmpty:             {"PMEM2_E_SOURCE_EMPTY", "source is empty"},
	ErrInvalidSharingValue:     {"PMEM2_E_INVALID_SHARING_VALUE", "invalid sharing value"},
	ErrSrcDevDaxPrivate:        {"PMEM2_E_SRC_DEVDAX_PRIVATE", "device DAX cannot be mapped privately"},
	ErrInvalidAddressRequest:   {"PMEM2_E_INVALID_ADDRESS_REQUEST_TYPE", "invalid address request"},
	ErrAddressUnaligned:        {"PMEM2_E_ADDRESS_UNALIGNED", "address unaligned"},
	ErrAddressNull:             {"PMEM2_E_ADDRESS_NULL", "address is NULL"},
	ErrDeepFlushRange:          {"PMEM2_E_DEEP_FLUSH_RANGE", "deep flush range outside of the mapping"},
	ErrInvalidRegionFormat:     {"PMEM2_E_INVALID_REGION_FORMAT", "region id has an invalid format"},
	ErrDaxRegionNotFound:       {"PMEM2_E_DAX_REGION_NOT_FOUND", "DAX region not found"},
	ErrInvalidDevFormat:        {"PMEM2_E_INVALID_DEV_FORMAT", "device has an invalid format"},
	ErrCannotReadBounds:        {"PMEM2_E_CANNOT_READ_BOUNDS", "bounds cannot be read"},
	ErrNoBadBlockFound:         {"PMEM2_E_NO_BAD_BLOCK_FOUND", "no bad block found"},
	ErrLengthOutOfRange:        {"PMEM2_E_LENGTH_OUT_OF_RANGE", "length out of range"},
	ErrInvalidProtFlag:         {"PMEM2_E_INVALID_PROT_FLAG", "invalid protection flag"},
	ErrNoAccess:                {"PMEM2_E_NO_ACCESS", "no access"},
	ErrVMReservationNotEmpty:   {"PMEM2_E_VM_RESERVATION_NOT_EMPTY", "reservation is not empty"},
	ErrMapExists:               {"PMEM2_E_MAP_EXISTS", "map is registered already"},
	ErrFileDescriptorNotSet:    {"PMEM2_E_FILE_DESCRIPTOR_NOT_SET", "source has no file descriptor"},
	ErrSourceTypeNotSupported:  {"PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED", "source type not supported"},
	ErrIOFail:                  {"PMEM2_E_IO_FAIL", "input or output failed"},
}

// Symbol returns the name of the code in C: "PMEM2_E_MAP_RANGE".
func (c Code) Symbol() string {
	if d, ok := codes[c]; ok {
		return d.symbol
	}
	return "PMEM2_E_" + strconv.Itoa(int(c))
}

// Error returns what the code means.
func (c Code) Error() string {
	if d, ok := codes[c]; ok {
		return d.text
	}
	return "unknown code " + strconv.Itoa(int(c))
}
