package conformance

import (
	"strings"

	"pmemlab/conformance/report"
	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// Need is something that a row asks of the place where it is checked. The values
// are those of the contract's column "needs".
type Need string

// The needs of the contract.
const (
	NeedNothing        Need = "nothing"
	NeedFile           Need = "file"             // a regular file
	NeedReservation    Need = "reservation"      // a file and address space
	NeedFaultInjection Need = "fault-injection"  // system calls that fail on demand
	NeedDevDax         Need = "devdax"           // a device DAX with an alignment of 2 MiB
	NeedFSDax          Need = "fsdax"            // a file system with DAX, on a block device
	NeedEADR           Need = "eadr"             // CPU caches that a power failure spares
	NeedSysfsEdit      Need = "sysfs-edit"       // a device DAX whose sysfs can be changed
	NeedAppendOnly     Need = "append-only-file" // a file with the append-only attribute
	NeedDIMM           Need = "dimm"             // NVDIMMs to choose, under a file system with DAX and a device DAX
	NeedBadBlock       Need = "badblock"         // media of those that go bad on demand
	NeedCrash          Need = "crash"            // power that fails on demand: the Env is a PowerFailure
)

// Needs returns every need there is.
func Needs() []Need {
	return []Need{
		NeedNothing, NeedFile, NeedReservation, NeedFaultInjection, NeedDevDax,
		NeedFSDax, NeedEADR, NeedSysfsEdit, NeedAppendOnly, NeedDIMM, NeedBadBlock, NeedCrash,
	}
}

// Target is where cases run: emulated devices, files of this machine, hardware.
type Target interface {
	// Name stands in reports: "emulated", "files".
	Name() string
	// Capabilities are the needs that the target can satisfy.
	Capabilities() []Need
	// Lacks says why a need can't be satisfied, or "".
	Lacks(n Need) string
	// Variants are the places in which every case runs: the two directories of
	// the files target. There is one at least.
	Variants() []string
	// NewEnv returns a fresh place for one case.
	NewEnv(variant string) (Env, error)
}

// VariantTarget is a target whose variants differ in what they lack.
type VariantTarget interface {
	Target
	// LacksIn says why a need that the target can satisfy can't be satisfied in
	// this variant, or "".
	LacksIn(variant string, n Need) string
}

// lacks says why a need can't be satisfied in a variant, or "".
func lacks(t Target, variant string, n Need) string {
	if why := t.Lacks(n); why != "" {
		return why
	}
	if v, ok := t.(VariantTarget); ok {
		return v.LacksIn(variant, n)
	}
	return ""
}

// UnavailableError is returned by methods of Env for what is no Need and isn't
// there: a block device that may be opened, a pseudo-terminal. The case counts as
// not supported then.
type UnavailableError struct{ What string }

// Error says what isn't there.
func (e *UnavailableError) Error() string { return e.What }

// LeakError is returned by Env.Close if the case has left something behind, which
// is held against the subject. Any other error of Close is held against the suite.
type LeakError struct{ Held []string }

// Error names what was left.
func (e *LeakError) Error() string { return "left behind: " + strings.Join(e.Held, "; ") }

// Env is a fresh machine, or a fresh corner of this one, for one case. Methods
// that make an object return an error only if the suite or the place is broken;
// for a need that the target lacks only the probes call them, to see that they do
// return one. Sizes are in bytes.
type Env interface {
	// Machine is the platform that the objects live on.
	Machine() platform.Platform
	// File makes a regular file on storage without DAX, DAXFile one with it.
	File(size uint64) (Object, error)
	DAXFile(size uint64) (Object, error)
	// AppendOnlyFile makes a file that has the append-only attribute.
	AppendOnlyFile(size uint64) (Object, error)
	// OrdinaryFile makes a regular file on storage that is no persistent memory.
	OrdinaryFile(size uint64) (Object, error)
	// DevDax is a device DAX of at least that size and exactly that alignment, which may
	// hold anything. Two calls may be given one device.
	DevDax(size, alignment uint64) (Object, error)
	// DAXFileOn and DevDaxOn are DAXFile and DevDax, of alignment 2 MiB, on a region
	// of their own. Need NeedDIMM.
	DAXFileOn(size uint64, r emu.Region) (Object, error)
	DevDaxOn(size uint64, r emu.Region) (Object, error)
	// Storage tells where a DAX file or a device DAX lies. Needs NeedDIMM.
	Storage(o Object) (Storage, error)
	// AddBadBlock makes the media under n bytes of a DAX file or a device DAX bad,
	// with the rest of the sectors of 512 bytes that they are in. The bytes of a file
	// must be allocated. Needs NeedBadBlock.
	AddBadBlock(o Object, offset, n uint64) error
	Directory() (Object, error)
	// BlockDevice is the one under the file system of DAXFile.
	BlockDevice() (Object, error)
	// CharDevice is a character device that isn't DAX; CharDeviceWithoutNode is
	// one that sysfs doesn't know.
	CharDevice() (Object, error)
	CharDeviceWithoutNode() (Object, error)
	// SetEADR switches the persistence domain of every region.
	SetEADR(on bool) error
	// Sysfs changes sysfs; needs NeedSysfsEdit.
	Sysfs() SysfsEditor
	// Close removes everything. A *LeakError names what the case has left open
	// or mapped.
	Close() error
}

// Restricted is an Env that refuses some of what a case may ask of its machine: to store
// to a device whose data isn't to be lost. A case that was refused something counts as
// not supported, whatever came of it then; if it had failed before, it has failed.
type Restricted interface {
	Env
	// Refused says what was refused and why, or "".
	Refused() string
}

// Prober is a target that looked at the place where it is before anything runs.
type Prober interface {
	Target
	// Facts are what it found: alignments, the persistence domain, the CPU's instructions.
	Facts() []report.Fact
}

// Object is something with a path that can be opened.
type Object interface {
	Path() string
	// Open returns a descriptor that the caller closes with the machine's Close.
	Open(flags int) (fd int, err error)
	// SysfsDir is the directory of a device in sysfs, relative to its root.
	SysfsDir() string
}

// Storage is where a file or device lies. Directories are those of sysfs, relative to
// its root.
type Storage struct {
	Device string   // of the block device under the file, or of the device DAX: "dev/block/259:0"
	Region string   // "bus/nd/devices/region0"
	DIMMs  []string // "bus/nd/devices/nmem0", in the order of the region's mappings
	// DeepFlushes is how often the region was told to flush its queues.
	DeepFlushes func() uint64
}

// SysfsEditor changes the sysfs of an emulated machine. Paths are relative to its
// root.
type SysfsEditor interface {
	Set(path, text string) error
	Remove(path string) error
	// Fail makes every access to path and to what lies below it answer errno.
	Fail(path string, errno error) error
}
