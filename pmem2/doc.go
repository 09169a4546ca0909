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
// # Concurrency
//
// Every exported function and method may be called from any goroutine. As in C,
// deleting a map while another goroutine uses its memory is the program's error.
package pmem2
