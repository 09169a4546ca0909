package fault

import (
	"fmt"
	"syscall"
)

// Call is one call on a Platform. Which of the arguments count is a matter of
// the method; the others are zero.
type Call struct {
	// Op is the kind, one.
	Op Op
	// Seq counts all calls, Index those of this kind, both from 0 since the
	// last Reset.
	Seq, Index int

	Path      string  // of the file or below sysfs, where the method has one
	Text      string  // what is written to an attribute
	FD        int     // the descriptor; -1 for an anonymous mapping
	Addr      uintptr // of memory; of ARSCapabilities and ClearError physical
	Length    uint64  // in bytes; the new size for Ftruncate
	NewAddr   uintptr // of Mremap
	NewLength uint64  // of Mremap
	Prot      int     // of Mmap
	Flags     int     // of Open, Fiemap, Mmap, Mremap and Msync; the mode of Fallocate
	Offset    int64   // in the file

	// Err is what the call returned, nil also while it is under way; Injected
	// says that a plan made it up.
	Err      error
	Injected bool
}

// String names the call as strace(1) does, in one line:
// "7 mmap#2(0x0, 4096, 0x3, MAP_SHARED, 5, 0) = EIO (injected)".
func (c Call) String() string {
	return fmt.Sprintf("%d %v#%d(%s) = %s", c.Seq, c.Op, c.Index, c.args(), c.result())
}

func (c Call) args() string {
	switch c.Op {
	case OpOpen:
		return fmt.Sprintf("%q, %s", c.Path, flagNames(c.Op, c.Flags))
	case OpUnlink, OpReadAttr, OpReadlink, OpList:
		return fmt.Sprintf("%q", c.Path)
	case OpWriteAttr:
		return fmt.Sprintf("%q, %q", c.Path, c.Text)
	case OpFtruncate:
		return fmt.Sprintf("%d, %d", c.FD, int64(c.Length))
	case OpPread, OpPwrite:
		return fmt.Sprintf("%d, %d bytes, %d", c.FD, c.Length, c.Offset)
	case OpFallocate:
		return fmt.Sprintf("%d, %s, %d, %d", c.FD, flagNames(c.Op, c.Flags), c.Offset, c.Length)
	case OpFiemap:
		return fmt.Sprintf("%d, %d, %d, %#x", c.FD, c.Offset, c.Length, c.Flags)
	case OpARSCapabilities, OpClearError:
		return fmt.Sprintf("%d, %#x, %d", c.FD, c.Addr, c.Length)
	case OpMmap:
		return fmt.Sprintf("%#x, %d, %#x, %s, %d, %d", c.Addr, c.Length, c.Prot, flagNames(c.Op, c.Flags), c.FD, c.Offset)
	case OpMunmap:
		return fmt.Sprintf("%#x, %d", c.Addr, c.Length)
	case OpMremap:
		return fmt.Sprintf("%#x, %d, %d, %s, %#x", c.Addr, c.Length, c.NewLength, flagNames(c.Op, c.Flags), c.NewAddr)
	case OpMsync:
		return fmt.Sprintf("%#x, %d, %s", c.Addr, c.Length, flagNames(c.Op, c.Flags))
	}
	return fmt.Sprint(c.FD)
}

func (c Call) result() string {
	result := "ok"
	if errno, ok := c.Err.(syscall.Errno); ok {
		result = errnoName(errno)
	} else if c.Err != nil {
		result = c.Err.Error()
	}
	if c.Injected {
		result += " (injected)"
	}
	return result
}
