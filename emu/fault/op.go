package fault

import (
	"math/bits"
	"strings"
)

// Op is a set of kinds of calls on a Platform; each constant OpX holds one: the
// method X. The methods that can't fail, PageSize and CacheOps, are no kind.
type Op uint32

const (
	// OpOpen is open(2).
	OpOpen Op = 1 << iota
	// OpClose is close(2). After an injected fault the descriptor is still open.
	OpClose
	// OpUnlink is unlink(2).
	OpUnlink
	// OpFtruncate is ftruncate(2).
	OpFtruncate
	// OpFstat is fstat(2).
	OpFstat
	// OpStatx is statx(2).
	OpStatx
	// OpGetFL is fcntl(F_GETFL).
	OpGetFL
	// OpPread is pread(2).
	OpPread
	// OpPwrite is pwrite(2).
	OpPwrite
	// OpFallocate is fallocate(2).
	OpFallocate
	// OpFiemap is the FS_IOC_FIEMAP ioctl.
	OpFiemap
	// OpFsync is fsync(2).
	OpFsync
	// OpARSCapabilities is the ND_IOCTL_ARS_CAP ioctl.
	OpARSCapabilities
	// OpClearError is the ND_IOCTL_CLEAR_ERROR ioctl.
	OpClearError
	// OpMmap is mmap(2). An injected fault leaves what MAP_FIXED would replace.
	OpMmap
	// OpMunmap is munmap(2). After an injected fault all is still mapped.
	OpMunmap
	// OpMremap is mremap(2).
	OpMremap
	// OpMsync is msync(2).
	OpMsync
	// OpReadAttr reads an attribute of sysfs.
	OpReadAttr
	// OpWriteAttr writes an attribute of sysfs.
	OpWriteAttr
	// OpReadlink reads a symbolic link of sysfs.
	OpReadlink
	// OpList lists a directory of sysfs.
	OpList

	opEnd // one past the last kind
)

// The kinds by the part of the Platform that they belong to.
const (
	Files  = OpMmap - OpOpen
	Memory = OpReadAttr - OpMmap
	Sysfs  = opEnd - OpReadAttr
	All    = Files | Memory | Sysfs
)

// opNames are the names in plans, by bit; opSets those of whole sets.
var (
	opNames = [...]string{
		"open", "close", "unlink", "ftruncate", "fstat", "statx", "get-fl", "pread", "pwrite", "fallocate", "fiemap",
		"fsync", "ars-capabilities", "clear-error",
		"mmap", "munmap", "mremap", "msync",
		"read-attr", "write-attr", "readlink", "list",
	}
	opSets = [...]struct {
		name string
		ops  Op
	}{{"files", Files}, {"memory", Memory}, {"sysfs", Sysfs}}
)

// String returns the names of the kinds as a plan has them, set by set:
// "files mmap read-attr".
func (o Op) String() string {
	var names []string
	for _, set := range opSets {
		if o&set.ops == set.ops {
			names = append(names, set.name)
			continue
		}
		for part := o & set.ops; part != 0; part &= part - 1 {
			names = append(names, opNames[part.bit()])
		}
	}
	return strings.Join(names, " ")
}

// bit is the index of the lowest kind in o.
func (o Op) bit() int { return bits.TrailingZeros32(uint32(o)) }

// opByName is the set that a plan names.
func opByName(name string) (Op, bool) {
	for i, n := range opNames {
		if n == name {
			return 1 << i, true
		}
	}
	for _, set := range opSets {
		if set.name == name {
			return set.ops, true
		}
	}
	return 0, false
}
