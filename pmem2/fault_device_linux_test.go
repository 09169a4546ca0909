package pmem2_test

import (
	"fmt"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// onDevice is a situation in which a source is asked something.
func onDevice(open func(s *stage) int, ask func(src *pmem2.Source) (any, error)) func(s *stage) func() (string, error) {
	return func(s *stage) func() (string, error) {
		src := s.source(open(s))
		return func() (string, error) {
			v, err := ask(src)
			return fmt.Sprint(v), err
		}
	}
}

func plainFile(s *stage) int { return s.file(pageCache, page) }
func daxFile(s *stage) int   { return s.file(daxFS, page) }

// badDevDax is a device DAX with a bad block, badFile a file with one.
func badDevDax(s *stage) int {
	d := s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage})
	if err := d.AddBadBlock(devPage, 512); err != nil {
		s.t.Fatal(err)
	}
	return s.open(d.Path(), platform.ORdwr)
}

func badFile(s *stage) int {
	fs := s.m.AddFS(daxFS)
	f, err := fs.Create("f", 4*page)
	if err == nil {
		_, err = s.m.Pwrite(f.FD(), make([]byte, 4*page), 0)
		f.Close()
	}
	if err == nil {
		err = fs.AddBadBlock("f", page, 512)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.open(fs.Path("f"), platform.ORdwr)
}

func askID(src *pmem2.Source) (any, error)    { return src.DeviceID() }
func askUSC(src *pmem2.Source) (any, error)   { return src.DeviceUSC() }
func askNode(src *pmem2.Source) (any, error)  { return src.NUMANode() }
func askPread(src *pmem2.Source) (any, error) { return "done", src.PreadMCSafe(make([]byte, 100), 50) }
func askPwrite(src *pmem2.Source) (any, error) {
	return "done", src.PwriteMCSafe(make([]byte, 100), 50)
}
func askContext(src *pmem2.Source) (any, error) {
	c, err := pmem2.NewBadBlockContext(src)
	return count(c), err
}

// count is how many bad blocks are left in a context.
func count(c *pmem2.BadBlockContext) (n int) {
	for {
		if _, err := c.Next(); err != nil {
			return n
		}
		n++
	}
}

func clearing(open func(s *stage) int, b pmem2.BadBlock) func(s *stage) func() (string, error) {
	return func(s *stage) func() (string, error) {
		c, err := pmem2.NewBadBlockContext(s.source(open(s)))
		if err != nil {
			s.t.Fatal(err)
		}
		return func() (string, error) { return done(c.Clear(b)) }
	}
}

func deepFlushing(open func(s *stage) int) func(s *stage) func() (string, error) {
	return func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(open(s)))
		return func() (string, error) { return done(m.DeepFlush(m.Bytes())) }
	}
}

// deviceOperations go on from operations with what asks the devices.
var deviceOperations = []operation{
	{name: "DeviceID, no region", setup: onDevice(func(s *stage) int { return s.file(emu.FS{Size: 1 << 30, Type: emu.Tmpfs}, page) }, askID)},
	{name: "DeviceID, file", setup: onDevice(daxFile, askID)},
	{name: "DeviceID, device DAX", setup: onDevice(devDax, askID)},
	{name: "DeviceUSC, file", setup: onDevice(daxFile, askUSC)},
	{name: "NUMANode, file", setup: onDevice(daxFile, askNode)},
	{name: "NUMANode, device DAX", setup: onDevice(devDax, askNode)},
	{name: "PreadMCSafe, file", setup: onDevice(plainFile, askPread)},
	{name: "PreadMCSafe, device DAX", setup: onDevice(devDax, askPread)},
	{name: "PwriteMCSafe, file", setup: onDevice(plainFile, askPwrite)},
	{name: "PwriteMCSafe, device DAX", setup: onDevice(devDax, askPwrite)},
	{name: "DeepFlush, page cache", setup: deepFlushing(plainFile)},
	{name: "DeepFlush, DAX", setup: deepFlushing(daxFile)},
	{name: "DeepFlush, device DAX", setup: deepFlushing(devDax)},
	{name: "NewBadBlockContext, no region", setup: onDevice(func(s *stage) int { return s.file(emu.FS{Size: 1 << 30, Type: emu.Tmpfs}, page) }, askContext)},
	{name: "NewBadBlockContext, file", setup: onDevice(badFile, askContext)},
	{name: "NewBadBlockContext, device DAX", setup: onDevice(badDevDax, askContext)},
	{name: "Clear, file", setup: clearing(badFile, pmem2.BadBlock{Offset: page, Length: page})},
	{name: "Clear, device DAX", setup: clearing(badDevDax, pmem2.BadBlock{Offset: devPage, Length: 512})},
}

// deviceFaultTable goes on from faultTable.
const deviceFaultTable = `
DeviceID, no region
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink device: ENOENT = PMEM2_E_NOSUPP; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno

DeviceID, file
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink device: ENOENT = PMEM2_E_NOSUPP; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_NOSUPP; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr mappings: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr mapping0: ENOENT = EINVAL; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr id: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

DeviceID, device DAX
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	readlink device: ENOENT = PMEM2_E_NOSUPP; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_NOSUPP; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr mappings: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr mapping0: ENOENT = EINVAL; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr id: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

DeviceUSC, file
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink device: ENOENT = PMEM2_E_NOSUPP; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_NOSUPP; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr mappings: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr mapping0: ENOENT = EINVAL; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr dirty_shutdown: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

NUMANode, file
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink device: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr numa_node: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

NUMANode, device DAX
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	readlink device: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr numa_node: ENOENT = PMEM2_E_NOSUPP; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

PreadMCSafe, file
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	pread: EIO = PMEM2_E_IO_FAIL; EAGAIN EBADF EFAULT EINVAL EISDIR ENXIO = errno

PreadMCSafe, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr align: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	read-attr size: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ done; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	munmap: EINVAL ENOMEM ~ done

PwriteMCSafe, file
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	get-fl: EBADF EIO = errno
	pwrite: EFAULT EIO = PMEM2_E_IO_FAIL; EAGAIN EBADF EDQUOT EFBIG EINVAL ENOSPC EPERM = errno

PwriteMCSafe, device DAX
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr align: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	read-attr size: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ done; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	munmap: EINVAL ENOMEM ~ done

DeepFlush, page cache
	msync: EBUSY EINVAL EIO ENOMEM = errno

DeepFlush, DAX
	msync: EBUSY EINVAL EIO ENOMEM = errno

DeepFlush, device DAX
	readlink device: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr deep_flush: ENOENT ~ done; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	write-attr deep_flush: EACCES EPERM EROFS ~ done; EINTR EINVAL EIO EMFILE ENFILE ENODEV ENOENT ENOMEM = errno

NewBadBlockContext, no region
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink device: ENOENT ~ 0; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_NOSUPP; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR ~ 0

NewBadBlockContext, file
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink device: ENOENT ~ 0; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT ~ 0; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	fiemap: EBADF EFAULT EINTR EINVAL EIO ENOMEM ENOTTY EOPNOTSUPP = errno
	read-attr partition of the device: ENOENT ~ 1; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno
	read-attr badblocks of the device: ENOENT ~ 0; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

NewBadBlockContext, device DAX
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	readlink device: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	list: ENOENT = PMEM2_E_DAX_REGION_NOT_FOUND; EACCES EIO EMFILE ENFILE ENOMEM ENOTDIR = errno
	read-attr resource: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	read-attr resource of the device: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = PMEM2_E_CANNOT_READ_BOUNDS
	read-attr size of the device: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = PMEM2_E_CANNOT_READ_BOUNDS
	read-attr badblocks: ENOENT ~ 0; EACCES EINTR EIO EMFILE ENFILE ENODEV ENOMEM ENXIO = errno

Clear, file
	fstat: EBADF EIO ENOMEM EOVERFLOW ESTALE = errno
	fallocate punching a hole: EBADF EFBIG EINTR EINVAL EIO ENODEV EOPNOTSUPP EPERM ETXTBSY = errno
	fallocate: EBADF EFBIG EINTR EINVAL EIO ENODEV ENOSPC EOPNOTSUPP EPERM ETXTBSY left

Clear, device DAX
	list: EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR = errno
	open: EACCES EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO EPERM = errno
	ars-capabilities: EBADF EFAULT EINVAL EIO ENOMEM ENOTTY ENXIO = errno
	clear-error: EBADF EFAULT EINVAL EIO ENOMEM ENOTTY ENXIO EOPNOTSUPP = errno
	close: EINTR EIO left
	get-fl: EBADF EIO = errno
	fstat: EBADF = PMEM2_E_INVALID_FILE_HANDLE; EIO ENOMEM EOVERFLOW ESTALE = errno
	readlink subsystem: ENOENT = PMEM2_E_INVALID_FILE_TYPE; EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOMEM ENOTDIR = errno
	read-attr align: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	read-attr size: EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO = errno
	mmap with MAP_SYNC: EINVAL EOPNOTSUPP ~ done; EACCES = PMEM2_E_NO_ACCESS; EAGAIN EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY = errno
	munmap: EINVAL ENOMEM ~ done
`
