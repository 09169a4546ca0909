// Package libpmem2 is the C library libpmem2, as it is installed on this machine, as a
// subject of the conformance suite. Subject needs the build tag libpmem2, cgo, and what
// Debian calls libpmem2-dev. What is known of the library is here without them too:
// Divergences, and the reproducers in C, which Reproduce compiles and WriteDivergences
// makes a report of.
//
// # What is C's and what is the binding's
//
// Every call goes to the library, with these exceptions. What C leaves undefined and a
// case asks for all the same, a call with an object that was deleted, isn't made: the
// binding looks at the variable, which the pages say is NULL by then, and answers
// -EINVAL. If it isn't NULL the call is made. The functions for bad blocks, of which the
// contract knows what they do with NULL, do get NULL.
//
// A variable for an object holds, before a call whose page promises NULL in it on
// failure, something that isn't NULL; any other variable holds what is looked for after
// a failure. What a failing call stores all the same is told by its error's method
// Stored.
//
// # System calls
//
// The program defines mmap, munmap, msync, pread, pwrite, fallocate, fcntl and fstat
// itself, in interpose.c. They pass to the kernel, except when libpmem2 calls them within a call of
// the subject: then the machine that the case has put under the library is asked, which
// counts what is held, and fails what a case wants to fail. Everything else that the
// library asks of the kernel it gets from the kernel: it is of use only on a target of
// real files. Its cache flushes nobody sees.
//
// # Threads and signals
//
// A case runs in a process and on a thread of its own, since the library's message is
// the thread's. A signal that kills the library kills that process, and is the outcome
// of the call; in Go code of the same process faults are panics, as ever.
package libpmem2
