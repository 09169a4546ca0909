// Package pmem2 is libpmem2 in Go: it maps persistent memory, from device DAX,
// DAX file systems and ordinary files alike, and makes stores to it durable. It
// follows the manual pages of libpmem2 1.12 and 2.x down to each error code.
//
// # Expected usage
//
//	src, err := pmem2.SourceFromFile(f)            // or SourceFromFD, SourceFromAnon
//	cfg := pmem2.NewConfig()
//	cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)
//	m, err := pmem2.NewMap(cfg, src)
//	defer m.Delete()
//	copy(m.Bytes(), "hello")
//	err = m.Persist(m.Bytes()[:5])
//	err = m.Memcpy(m.Bytes()[64:69], []byte("world"), 0) // copies and persists
//
// # Machines
//
// Everything happens on a [platform.Platform]. It is the machine that the
// process runs on, or the one that [On] names: an emulated one, or a wrapper
// that injects faults. A source and a reservation carry theirs; maps take it from
// them.
//
// # Errors
//
// Every error is a *[Error] and holds either a [Code], the PMEM2_E_… value of the
// C library, or the errno of a system call. errors.Is answers for both:
// errors.Is(err, pmem2.ErrMapRange), errors.Is(err, syscall.EACCES).
//
// A failing call changes nothing, unless its text names what it had to leave.
// What C crashes on (a nil object, an object that has been deleted) is EINVAL, or
// [ErrMappingNotFound] for a map.
//
// # Bad media
//
// A [BadBlockContext] lists what can't be read and puts healthy storage in its place;
// [Source.PreadMCSafe] and [Source.PwriteMCSafe] survive it. A load of a bad block
// through [Map.Bytes] is a fault: under debug.SetPanicOnFault a panic that can be
// recovered from, else the end of the program.
//
// # Environment
//
// PMEM2_FORCE_GRANULARITY is read by each NewMap; [Config.ForceGranularity] does the
// same for one config. PMEM_NO_CLWB, PMEM_NO_CLFLUSHOPT, PMEM_NO_MOVNT and
// PMEM_MOVNT_THRESHOLD are read when the process starts: see
// [platform.SettingsFromEnvironment]; [platform.NewHost] does the same for one
// machine. PMEM2_DEBUG=1 does what the debug build of the C library does: arguments of
// the operations on memory are checked (EINVAL), and PMEM2_LOG_LEVEL, from 1, errors, to 4, details,
// says what is logged to PMEM2_LOG_FILE or to standard error.
//
// # Concurrency
//
// Every exported function and method may be called from any goroutine. As in C,
// deleting a map while another goroutine uses its memory is the program's error.
package pmem2
