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
// The package needs /proc and Linux; elsewhere it compiles, and whatever is added to
// a machine says that it isn't supported.
package emu
