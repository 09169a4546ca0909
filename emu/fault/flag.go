package fault

import (
	"fmt"
	"strings"

	"pmemlab/pmem2/platform"
)

// flag is a name for bits of Call.Flags: those of mask have the given value.
type flag struct {
	name        string
	op          Op
	mask, value int
}

var flags = [...]flag{
	{"O_RDONLY", OpOpen, platform.OAccmode, platform.ORdonly},
	{"O_WRONLY", OpOpen, platform.OAccmode, platform.OWronly},
	{"O_RDWR", OpOpen, platform.OAccmode, platform.ORdwr},
	bit("O_CREAT", OpOpen, platform.OCreat),
	bit("O_EXCL", OpOpen, platform.OExcl),
	bit("O_TRUNC", OpOpen, platform.OTrunc),
	bit("O_APPEND", OpOpen, platform.OAppend),
	bit("O_CLOEXEC", OpOpen, platform.OCloexec),
	bit("O_PATH", OpOpen, platform.OPath),
	bit("O_TMPFILE", OpOpen, platform.OTmpfile), // holds O_DIRECTORY
	bit("O_DIRECTORY", OpOpen, platform.ODirectory),
	bit("FALLOC_FL_KEEP_SIZE", OpFallocate, platform.FallocKeepSize),
	bit("FALLOC_FL_PUNCH_HOLE", OpFallocate, platform.FallocPunchHole),
	{"MAP_SHARED", OpMmap, platform.MapType, platform.MapShared},
	{"MAP_PRIVATE", OpMmap, platform.MapType, platform.MapPrivate},
	{"MAP_SHARED_VALIDATE", OpMmap, platform.MapType, platform.MapSharedValidate},
	bit("MAP_FIXED", OpMmap, platform.MapFixed),
	bit("MAP_FIXED_NOREPLACE", OpMmap, platform.MapFixedNoreplace),
	bit("MAP_ANONYMOUS", OpMmap, platform.MapAnonymous),
	bit("MAP_NORESERVE", OpMmap, platform.MapNoreserve),
	bit("MAP_POPULATE", OpMmap, platform.MapPopulate),
	bit("MAP_HUGETLB", OpMmap, platform.MapHugetlb),
	bit("MAP_SYNC", OpMmap, platform.MapSync),
	bit("MREMAP_MAYMOVE", OpMremap, platform.MremapMaymove),
	bit("MREMAP_FIXED", OpMremap, platform.MremapFixed),
	bit("MS_ASYNC", OpMsync, platform.MsAsync),
	bit("MS_INVALIDATE", OpMsync, platform.MsInvalidate),
	bit("MS_SYNC", OpMsync, platform.MsSync),
}

func bit(name string, op Op, bits int) flag { return flag{name, op, bits, bits} }

func flagByName(name string) (flag, bool) {
	for _, f := range flags {
		if f.name == name {
			return f, true
		}
	}
	return flag{}, false
}

// flagNames names the flags of a call: "MAP_PRIVATE|MAP_ANONYMOUS", bits that
// have no name as a number.
func flagNames(op Op, value int) string {
	var names []string
	rest := value
	for _, f := range flags {
		if f.op == op && value&f.mask == f.value && (f.value == 0 || rest&f.value != 0) {
			names = append(names, f.name)
			rest &^= f.mask
		}
	}
	if rest != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return strings.Join(names, "|")
}
