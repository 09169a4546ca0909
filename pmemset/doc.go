// Package pmemset is libpmemset in Go, on top of pmem2: it maps any number of files,
// or parts of them, as one set, with one granularity and one set of functions for all
// of it. It follows the manual pages of libpmemset 1.11 to 1.12 down to each error
// code.
//
// # Expected usage
//
//	cfg := pmemset.NewConfig()
//	cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)
//	set, err := pmemset.New(cfg)
//	defer set.Delete()
//	src, err := pmemset.XSourceFromFile("/mnt/pmem/file", pmemset.SourceFileCreateIfNeeded)
//	defer src.Delete()
//	where := pmemset.NewMapConfig(nil)
//	where.SetLength(1 << 20)
//	part, err := set.Map(src, where) // the file grows to 1 MiB if it has less
//	err = set.Memcpy(part.Bytes()[:5], []byte("hello"), 0) // copies and persists
//
// # Generations
//
// libpmemset had three interfaces for mapping, and here are all of them. The newest,
// of 1.12, is [Set.Map]. Before it there were the function [Map], whose [MapConfig] is
// made for a set, and [NewPart] with [Part.Map]. They differ in when a file grows: see
// [SourceFlags].
//
// # Machines
//
// A source lives on the machine that the process runs on, or on the one that [On]
// names: an emulated one, or a wrapper that injects faults. What is mapped is there
// too.
//
// # Errors
//
// Every error is a *[Error], but for that of an event callback, which comes back as
// the callback returned it. It holds a [Code], the PMEMSET_E_… value of the C library,
// or the errno of a system call, or neither where pmem2 has reported an error for
// which this package has no code. What pmem2 or the system said is wrapped. errors.Is
// answers for all: errors.Is(err, pmemset.ErrInvalidPmem2Map),
// errors.Is(err, pmem2.ErrOffsetUnaligned), errors.Is(err, syscall.EACCES).
//
// A failing call changes nothing, unless its text names what it had to leave. What C
// crashes on (a nil object, an object that has been deleted) is EINVAL.
//
// # Environment
//
// PMEMSET_DEBUG=1 at the start of the process stands for the debug build of the C
// library: PMEMSET_LOG_LEVEL then says what is logged, from 1, errors, to 4, details,
// to PMEMSET_LOG_FILE or to standard error. [SetLogger] takes the same to a logger of
// the program's. The environment of pmem2 counts as ever.
//
// # Concurrency
//
// Every exported function and method may be called from any goroutine. As in C,
// deleting a set or removing a part while another goroutine uses its memory is the
// program's error.
package pmemset
