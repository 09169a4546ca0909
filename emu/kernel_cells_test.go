package emu_test

import (
	"fmt"
	"slices"
)

// What mmap answered on Linux 6.1, as measured on each object, and where a later
// kernel was seen to answer otherwise. The emulated machine answers as 6.1 did.

// kernelVersion is a kernel's major and minor version.
type kernelVersion [2]int

func (v kernelVersion) before(w kernelVersion) bool { return slices.Compare(v[:], w[:]) < 0 }

func (v kernelVersion) String() string { return fmt.Sprintf("Linux %d.%d", v[0], v[1]) }

// measuredOn is the kernel of the tables below.
var measuredOn = kernelVersion{6, 1}

// measuredKernels are those whose answers are known. When an answer changed between two
// of them nobody knows.
var measuredKernels = []kernelVersion{measuredOn, {6, 18}}

// unmeasured says why nothing is expected of a host with the kernel v; "" if its answers
// are known.
func (v kernelVersion) unmeasured() string {
	if slices.Contains(measuredKernels, v) {
		return ""
	}
	return "unmeasured: " + v.String()
}

// mmapColumns are the flags of each column of mmapCells.
var mmapColumns = []string{
	"SHARED", "PRIVATE", "V", "V+S", "SHARED+S", "PRIVATE+S", "V+bogus",
	"SHARED+bogus", "0", "SHARED+POPULATE", "SHARED+HUGETLB",
}

// mmapCells has a row for objects, how they were opened and protections: r are NONE,
// READ, EXEC and READ|EXEC, w those with WRITE. V is MAP_SHARED_VALIDATE, S is
// MAP_SYNC, bogus an undefined bit, 0 no mapping type. The length is the alignment of
// device DAX (4 KiB for dax2M-4K), 2 MiB for files, else 4 KiB; the offset is 0.
//
// A private mapping of device DAX by a descriptor that may write is EINVAL; a large
// writable one can be ENOMEM first, where memory is short.
const mmapCells = `
dax2M dax4K dax1G | RDONLY | r | ok EINVAL ok ok ok EINVAL EOPNOTSUPP ok EINVAL ok EINVAL
dax2M dax4K dax1G | RDONLY | w | EACCES EINVAL EACCES EACCES EACCES EINVAL EOPNOTSUPP EACCES EINVAL EACCES EINVAL
dax2M dax4K dax1G | RDWR | r w | ok EINVAL ok ok ok EINVAL EOPNOTSUPP ok EINVAL ok EINVAL
dax2M dax4K dax1G | WRONLY | r w | EACCES EACCES EACCES EACCES EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
dax2M-4K | RDWR | r w | EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EOPNOTSUPP EINVAL EINVAL EINVAL EINVAL

ext4-dax xfs-dax | RDONLY | r | ok ok ok ok ok ok EOPNOTSUPP ok EINVAL ok EINVAL
ext4-dax xfs-dax | RDONLY | w | EACCES ok EACCES EACCES EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax xfs-dax | RDWR | r w | ok ok ok ok ok ok EOPNOTSUPP ok EINVAL ok EINVAL
ext4-dax xfs-dax | WRONLY | r w | EACCES EACCES EACCES EACCES EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax xfs-dax | RDWR+APPEND | r w | ok ok ok ok ok ok EOPNOTSUPP ok EINVAL ok EINVAL
ext4-dax-empty xfs-dax-empty | RDWR | r w | ok ok ok ok ok ok EOPNOTSUPP ok EINVAL ok EINVAL
ext4-dax-append xfs-dax-append | RDONLY | r | ok ok ok ok ok ok EOPNOTSUPP ok EINVAL ok EINVAL
ext4-dax-append xfs-dax-append | RDONLY | w | EACCES ok EACCES EACCES EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax-append xfs-dax-append | RDWR WRONLY | r w | open: EPERM
ext4-dax-append xfs-dax-append | RDWR+APPEND | r w | EACCES ok EACCES EACCES EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax-append xfs-dax-append | WRONLY+APPEND | r w | EACCES EACCES EACCES EACCES EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax-immutable xfs-dax-immutable | RDONLY | r | ok ok ok ok ok ok EOPNOTSUPP ok EINVAL ok EINVAL
ext4-dax-immutable xfs-dax-immutable | RDONLY | w | EACCES ok EACCES EACCES EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax-immutable xfs-dax-immutable | RDWR WRONLY | r w | open: EPERM

ext4 | RDONLY | r | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL
ext4 | RDONLY | w | EACCES ok EACCES EACCES EACCES EOPNOTSUPP EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4 | RDWR | r w | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL
ext4 | WRONLY | r w | EACCES EACCES EACCES EACCES EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4 | RDWR+APPEND | r w | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL
ext4-empty | RDWR | r w | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL
ext4-append | RDONLY | r | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL
ext4-append | RDONLY | w | EACCES ok EACCES EACCES EACCES EOPNOTSUPP EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-append | RDWR WRONLY | r w | open: EPERM
ext4-append | RDWR+APPEND | r w | EACCES ok EACCES EACCES EACCES EOPNOTSUPP EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-append | WRONLY+APPEND | r w | EACCES EACCES EACCES EACCES EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-immutable | RDONLY | r | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL
ext4-immutable | RDONLY | w | EACCES ok EACCES EACCES EACCES EOPNOTSUPP EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-immutable | RDWR WRONLY | r w | open: EPERM
ext4-virtio | RDWR | r w | ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ok EINVAL ok EINVAL

tmpfs block | RDONLY | r | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
tmpfs block | RDONLY | w | EACCES ok EACCES EOPNOTSUPP EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
tmpfs block | RDWR | r w | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
tmpfs | WRONLY | r w | EACCES EACCES EACCES EOPNOTSUPP EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
tmpfs | RDWR+APPEND | r w | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
tmpfs-empty | RDWR | r w | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
tmpfs-append | RDONLY | r | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
tmpfs-append | RDONLY | w | EACCES ok EACCES EOPNOTSUPP EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
tmpfs-append | RDWR WRONLY | r w | open: EPERM
tmpfs-append | RDWR+APPEND | r w | EACCES ok EACCES EOPNOTSUPP EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
tmpfs-append | WRONLY+APPEND | r w | EACCES EACCES EACCES EOPNOTSUPP EACCES EACCES EOPNOTSUPP EACCES EINVAL EACCES EINVAL
tmpfs-immutable | RDONLY | r | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
tmpfs-immutable | RDONLY | w | EACCES ok EACCES EOPNOTSUPP EACCES ok EOPNOTSUPP EACCES EINVAL EACCES EINVAL
tmpfs-immutable | RDWR WRONLY | r w | open: EPERM

ext4-dax-dir xfs-dax-dir ext4-dir tmpfs-dir | RDONLY | r | ENODEV ENODEV ENODEV EOPNOTSUPP ENODEV ENODEV EOPNOTSUPP ENODEV EINVAL ENODEV EINVAL
ext4-dax-dir xfs-dax-dir ext4-dir tmpfs-dir | RDONLY | w | EACCES ENODEV EACCES EOPNOTSUPP EACCES ENODEV EOPNOTSUPP EACCES EINVAL EACCES EINVAL
ext4-dax-dir xfs-dax-dir ext4-dir tmpfs-dir | RDWR WRONLY | r w | open: EISDIR
zero | RDWR | r w | ok ok ok EOPNOTSUPP ok ok EOPNOTSUPP ok EINVAL ok EINVAL
null nmem | RDWR | r w | ENODEV ENODEV ENODEV EOPNOTSUPP ENODEV ENODEV EOPNOTSUPP ENODEV EINVAL ENODEV EINVAL
dax2M ext4-dax xfs-dax ext4 tmpfs ext4-dir tmpfs-dir zero null | PATH | r w | EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF

ext4-dax-late xfs-dax-late ext4-late tmpfs-late | RDWR | late | EACCES ok - - - - - - - - -
`

// A row with prot "late" is of a file that became append-only after it was opened, and
// counts for READ and READ|WRITE; "-" was not measured.

// laterCells are answers that a later kernel was seen to give instead. Linux 6.18 was
// asked for every cell of ext4 without DAX, tmpfs, /dev/zero and /dev/null, and gave
// none.
var laterCells []laterCell

// cellID names an answer: the open or the mmap of an object.
type cellID struct{ object, open, prot, column string }

// laterCell is an answer of the kernels of measuredKernels from since on.
type laterCell struct {
	since  kernelVersion
	cell   cellID
	answer string
}

// answerOf is what the kernel v of measuredKernels answers where 6.1 gave measured.
func (v kernelVersion) answerOf(later []laterCell, cell cellID, measured string) string {
	newest := measuredOn
	for _, c := range later {
		if c.cell == cell && !v.before(c.since) && !c.since.before(newest) {
			newest, measured = c.since, c.answer
		}
	}
	return measured
}

// The geometry of mmap with RDWR, READ|WRITE, MAP_SHARED (and V+S on DAX, which is
// the same): A is the alignment, S the size of the device. A file has 0x801388 bytes;
// there A is 2 MiB and S 0x801000, inside its last page. With an empty file A and S
// are 4 KiB. An answer "ok" is followed by what reading the first byte, and reading and
// writing the last byte do: "." works, "B" is SIGBUS.
//
// An address that isn't asked for is A-aligned by luck where "luck" stands: the kernel
// was seen to answer ok and EINVAL.
const geometryCells = `
case            | dax2M dax1G | dax4K  | file      | empty
len 0           | EINVAL      | EINVAL | EINVAL    | EINVAL
len 1           | EINVAL      | ok..   | ok..      | okBB
len 4K          | EINVAL      | ok..   | ok..      | okBB
len 4K-1        | EINVAL      | ok..   | ok..      | okBB
len A/2         | EINVAL      | ok..   | ok..      | okBB
len A-1         | ok..        | ok..   | ok..      | okBB
len A           | ok..        | ok..   | ok..      | okBB
len A+1         | EINVAL      | ok..   | ok..      | okBB
len A+4K        | EINVAL      | ok..   | ok..      | okBB
len 2A          | ok..        | ok..   | ok..      | okBB
len S           | ok..        | ok..   | ok..      | okBB
len S+4K        | EINVAL      | ok.B   | ok..      | okBB
len S+A         | ok.B        | ok.B   | ok.B      | okBB
len 4S          | ok.B        | ok.B   | ok.B      | okBB
len 2^46        | ok.B        | ok.B   | ok.B      | okBB
len 2^47        | ENOMEM      | ENOMEM | ENOMEM    | ENOMEM
len A off 1     | EINVAL      | EINVAL | EINVAL    | EINVAL
len A off 4K    | luck        | ok..   | ok..      | okBB
len A off A/2   | luck        | EINVAL | ok..      | EINVAL
len A off A     | ok..        | ok..   | ok..      | okBB
len A off S-A   | ok..        | ok..   | ok..      | okBB
len A off S-4K  | luck        | ok..   | ok.B      | okBB
len A off S     | okBB        | okBB   | ok.B      | okBB
len A off S+A   | okBB        | okBB   | okBB      | okBB
len 2A off S-A  | ok.B        | ok.B   | ok.B      | okBB
len A off 2^62  | okBB        | okBB   | okBB      | okBB
len A off -A    | EOVERFLOW   | EOVERFLOW | EOVERFLOW | EOVERFLOW
len 4K off A    | EINVAL      | ok..   | ok..      | okBB
`

// The same with MAP_FIXED, delta bytes above an A-aligned address.
const fixedCells = `
case                      | dax2M dax1G | file
delta 0 len A off 0       | ok..        | ok..
delta 4K len A off 0      | EINVAL      | ok..
delta A/2 len A off 0     | EINVAL      | ok..
delta 0 len 4K off 0      | EINVAL      | ok..
delta 0 len A-4K off 0    | EINVAL      | ok..
delta 0 len A-1 off 0     | ok..        | ok..
delta 0 len A+4K off 0    | EINVAL      | ok..
delta 0 len A off 4K      | ok..        | ok..
delta 0 len A off A/2     | ok..        | ok..
delta 4K len A off 4K     | EINVAL      | ok..
delta 0 len 2A off 4K     | ok..        | ok..
delta 0 len A off S-4K    | okBB        | ok.B
delta 0 len A off S       | okBB        | ok.B
delta 0 len S off A       | ok.B        | ok.B
`

// Hints, MAP_FIXED_NOREPLACE: "there" is ok at the address asked for, rounded down to
// a page; "ok" is ok anywhere.
const hintCells = `
case                  | dax2M dax1G | dax4K  | file
hint free A*k         | there       | there  | there
hint free A*k+4K      | EINVAL      | there  | there
hint free A*k+A/2     | EINVAL      | there  | there
hint occupied         | luck        | ok     | ok
noreplace occupied    | EEXIST      | EEXIST | EEXIST
noreplace free        | there       | there  | there
noreplace free V      | EOPNOTSUPP  | EOPNOTSUPP | EOPNOTSUPP
`

// MAP_FIXED_NOREPLACE on a free range, and its being unknown to MAP_SHARED_VALIDATE,
// were measured on the files of Linux 6.18 only; the check is in the part of mmap that
// no file system or driver takes part in, and is as old as the flag.
