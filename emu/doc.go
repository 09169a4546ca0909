// Package emu is an emulated machine with persistent memory: a kernel, a CPU and
// its devices, behind the same seam ([platform.Platform]) as the real one.
// Device DAX, file systems with and without DAX, block and character devices, and
// the sysfs tree that describes them answer as Linux 6.1 was seen to answer, on any
// Linux and without privileges.
//
// Expected usage:
//
//	m := emu.NewMachine(emu.Config{}) // x86, ADR
//	dax := m.AddDevDax(emu.DevDax{Size: 64 << 20})
//	fs := m.AddFS(emu.FS{Size: 1 << 30, DAX: true})
//	if err := m.Err(); err != nil {
//		return err
//	}
//	f, err := dax.Open(platform.ORdwr)
//	if err != nil {
//		return err
//	}
//	addr, err := m.Mmap(0, 2<<20, platform.ProtRead|platform.ProtWrite,
//		platform.MapSharedValidate|platform.MapSync, f.FD(), 0)
//	if err != nil {
//		return err
//	}
//	platform.Bytes(addr, 2<<20)[0] = 1
//	g, err := fs.Create("pools/a", 8<<20) // also fs.Path("pools/a") in m.Open
//	if err != nil {
//		return err
//	}
//	dax.AddBadBlock(1<<20, 512) // a SIGBUS from now on
//	err = errors.Join(m.Munmap(addr, 2<<20), f.Close(), g.Close())
//	return errors.Join(err, m.Shutdown()) // names what is still open or mapped
//
// # What is real and what is emulated
//
// Each object (device, file, directory) is a memfd, which the machine recognises
// by the device and inode number that the real fstat gives, never by the number of
// a descriptor: duplicates work. A descriptor is a real one, with the access mode and
// status flags that it was opened with, and a mapping is a real mapping: accesses
// past the end of an object, and to a bad block, are a real SIGBUS, and two mappings of one
// range alias.
// An object costs the memory that was touched, however large it is.
//
// Descriptors of FIFOs and sockets are the process's own and go to the host's kernel.
// Any other descriptor that isn't of this machine (a file of the host, or of another
// machine) is EBADF in every call: this machine has no such descriptor. The
// processes of the machine are root: permission bits are kept, not checked.
//
// # Power failures
//
// The machine records each flush, fence, msync and copy that goes through its cache operations,
// and knows of each cache line what is durable for certain and what may be. Stores of a
// program are found by comparing memory, when their line is flushed and at looks.
//
//	err := m.Durable(b)                            // why b could be lost, if it could
//	err = m.CommitPoint("balance", b)              // a finding if b isn't durable here
//	for _, f := range m.Findings() { … }           // what the program does wrong: see package check
//	booted, err := m.Crash(emu.CrashConfig{})      // a machine with what was durable
//	states, err := m.CrashStates(emu.CrashOptions{})
//	for image, err := range states.All() { … }     // all that a failure now could leave
//	x, err := emu.Explore(workload, recovery, check, emu.ExploreOptions{Setup: setup, Test: t.Name()})
//	for _, f := range x.Findings {
//		t.Error(f)                             // what was lost, and the missing flush or fence
//		files, err := f.SaveTo(dir)            // image, trace, page: Load boots from the image
//	}
//	err = m.Trace().WriteHTML(w, "all of it")      // also WriteJSON, WritePmemcheck
//
// Package [pmemlab/emu/match] has matchers for Gomega, and [pmemlab/emu/examples] whole programs
// with their crash tests.
//
// States and findings are proven or possible. Proven ones follow from an order that was seen; possible
// ones need one that nobody saw, and have to be asked for: [Machine.CrashStates] has the table. Exact mode
// sees each compiled store in its order, and so proves more. It is a build of the same
// program: see [pmemlab/emu/exact].
//
// Recoveries of [Explore] run in processes of their own, for which the test binary is executed
// again for the one test: what the test does before the call, its seeds too, must be the same
// each time, and in these processes an Explore that isn't the one they are for returns at once
// and without findings. So a test that wants some is to have one Explore. With InProcess there are
// none of these demands, and nothing that protects from a recovery that hangs or exits.
//
// What the model leaves out:
//
//   - Stores through mappings that weren't made by the machine (a descriptor that was
//     given to somebody else's mmap), and system calls on a descriptor: looks adopt what they changed
//     where the host tells that something did, in an unknown order.
//   - A page that was written to and given back with MADV_DONTNEED between two looks, which the
//     kernel doesn't tell. What it swaps out by itself is compared.
//   - Locked instructions and atomics aren't fences here, though they order CLWB on x86: there are
//     more images than the processor leaves, never fewer.
//   - CLFLUSH is Intel's. AMD's older manuals order it by MFENCE alone.
//   - At a line's flush only that line is compared: the order of stores to others since the last
//     look isn't known, except in exact mode.
//   - The trace holds the newest events, [Config.TraceEvents] of them, and says how many it dropped.
//
// # Where it runs
//
// The package needs /proc and Linux; elsewhere it compiles, and whatever is added to
// a machine says that it isn't supported.
package emu
