package fault

import "pmemlab/pmem2/platform"

// Open is platform.Files.Open.
func (p *Platform) Open(path string, flags int, mode uint32) (int, error) {
	entry, err := p.begin(Call{Op: OpOpen, Path: path, Flags: flags})
	if err != nil {
		return -1, err
	}
	got, err := p.Platform.Open(path, flags, mode)
	p.end(entry, err)
	return got, err
}

// Close is platform.Files.Close.
func (p *Platform) Close(fd int) error {
	entry, err := p.begin(Call{Op: OpClose, FD: fd})
	if err != nil {
		return err
	}
	err = p.Platform.Close(fd)
	p.end(entry, err)
	return err
}

// Unlink is platform.Files.Unlink.
func (p *Platform) Unlink(path string) error {
	entry, err := p.begin(Call{Op: OpUnlink, Path: path})
	if err != nil {
		return err
	}
	err = p.Platform.Unlink(path)
	p.end(entry, err)
	return err
}

// Ftruncate is platform.Files.Ftruncate.
func (p *Platform) Ftruncate(fd int, size int64) error {
	entry, err := p.begin(Call{Op: OpFtruncate, FD: fd, Length: uint64(size)})
	if err != nil {
		return err
	}
	err = p.Platform.Ftruncate(fd, size)
	p.end(entry, err)
	return err
}

// Fstat is platform.Files.Fstat.
func (p *Platform) Fstat(fd int) (platform.Stat, error) {
	entry, err := p.begin(Call{Op: OpFstat, FD: fd})
	if err != nil {
		return platform.Stat{}, err
	}
	got, err := p.Platform.Fstat(fd)
	p.end(entry, err)
	return got, err
}

// Statx is platform.Files.Statx.
func (p *Platform) Statx(fd int) (platform.Statx, error) {
	entry, err := p.begin(Call{Op: OpStatx, FD: fd})
	if err != nil {
		return platform.Statx{}, err
	}
	got, err := p.Platform.Statx(fd)
	p.end(entry, err)
	return got, err
}

// GetFL is platform.Files.GetFL.
func (p *Platform) GetFL(fd int) (int, error) {
	entry, err := p.begin(Call{Op: OpGetFL, FD: fd})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.GetFL(fd)
	p.end(entry, err)
	return got, err
}

// Pread is platform.Files.Pread.
func (p *Platform) Pread(fd int, b []byte, off int64) (int, error) {
	entry, err := p.begin(Call{Op: OpPread, FD: fd, Length: uint64(len(b)), Offset: off})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.Pread(fd, b, off)
	p.end(entry, err)
	return got, err
}

// Pwrite is platform.Files.Pwrite.
func (p *Platform) Pwrite(fd int, b []byte, off int64) (int, error) {
	entry, err := p.begin(Call{Op: OpPwrite, FD: fd, Length: uint64(len(b)), Offset: off})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.Pwrite(fd, b, off)
	p.end(entry, err)
	return got, err
}

// Fallocate is platform.Files.Fallocate.
func (p *Platform) Fallocate(fd int, mode uint32, off, length int64) error {
	entry, err := p.begin(Call{Op: OpFallocate, FD: fd, Flags: int(mode), Offset: off, Length: uint64(length)})
	if err != nil {
		return err
	}
	err = p.Platform.Fallocate(fd, mode, off, length)
	p.end(entry, err)
	return err
}

// Fiemap is platform.Files.Fiemap.
func (p *Platform) Fiemap(fd int, start, length uint64, flags uint32, extents []platform.FiemapExtent) (int, error) {
	entry, err := p.begin(Call{Op: OpFiemap, FD: fd, Offset: int64(start), Length: length, Flags: int(flags)})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.Fiemap(fd, start, length, flags, extents)
	p.end(entry, err)
	return got, err
}

// Fsync is platform.Files.Fsync.
func (p *Platform) Fsync(fd int) error {
	entry, err := p.begin(Call{Op: OpFsync, FD: fd})
	if err != nil {
		return err
	}
	err = p.Platform.Fsync(fd)
	p.end(entry, err)
	return err
}

// ARSCapabilities is platform.Files.ARSCapabilities.
func (p *Platform) ARSCapabilities(fd int, addr, length uint64) (platform.ARSCap, error) {
	entry, err := p.begin(Call{Op: OpARSCapabilities, FD: fd, Addr: uintptr(addr), Length: length})
	if err != nil {
		return platform.ARSCap{}, err
	}
	got, err := p.Platform.ARSCapabilities(fd, addr, length)
	p.end(entry, err)
	return got, err
}

// ClearError is platform.Files.ClearError.
func (p *Platform) ClearError(fd int, addr, length uint64) (uint64, error) {
	entry, err := p.begin(Call{Op: OpClearError, FD: fd, Addr: uintptr(addr), Length: length})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.ClearError(fd, addr, length)
	p.end(entry, err)
	return got, err
}

// Mmap is platform.Memory.Mmap.
func (p *Platform) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	entry, err := p.begin(Call{Op: OpMmap, Addr: addr, Length: length, Prot: prot, Flags: flags, FD: fd, Offset: off})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.Mmap(addr, length, prot, flags, fd, off)
	p.end(entry, err)
	return got, err
}

// Munmap is platform.Memory.Munmap.
func (p *Platform) Munmap(addr uintptr, length uint64) error {
	entry, err := p.begin(Call{Op: OpMunmap, Addr: addr, Length: length})
	if err != nil {
		return err
	}
	err = p.Platform.Munmap(addr, length)
	p.end(entry, err)
	return err
}

// Mremap is platform.Memory.Mremap.
func (p *Platform) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	entry, err := p.begin(Call{Op: OpMremap, Addr: addr, Length: length, NewLength: newLength, Flags: flags, NewAddr: newAddr})
	if err != nil {
		return 0, err
	}
	got, err := p.Platform.Mremap(addr, length, newLength, flags, newAddr)
	p.end(entry, err)
	return got, err
}

// Msync is platform.Memory.Msync.
func (p *Platform) Msync(addr uintptr, length uint64, flags int) error {
	entry, err := p.begin(Call{Op: OpMsync, Addr: addr, Length: length, Flags: flags})
	if err != nil {
		return err
	}
	err = p.Platform.Msync(addr, length, flags)
	p.end(entry, err)
	return err
}

// ReadAttr is platform.Sysfs.ReadAttr.
func (p *Platform) ReadAttr(path string) (string, error) {
	entry, err := p.begin(Call{Op: OpReadAttr, Path: path})
	if err != nil {
		return "", err
	}
	got, err := p.Platform.ReadAttr(path)
	p.end(entry, err)
	return got, err
}

// WriteAttr is platform.Sysfs.WriteAttr.
func (p *Platform) WriteAttr(path, text string) error {
	entry, err := p.begin(Call{Op: OpWriteAttr, Path: path, Text: text})
	if err != nil {
		return err
	}
	err = p.Platform.WriteAttr(path, text)
	p.end(entry, err)
	return err
}

// Readlink is platform.Sysfs.Readlink.
func (p *Platform) Readlink(path string) (string, error) {
	entry, err := p.begin(Call{Op: OpReadlink, Path: path})
	if err != nil {
		return "", err
	}
	got, err := p.Platform.Readlink(path)
	p.end(entry, err)
	return got, err
}

// List is platform.Sysfs.List.
func (p *Platform) List(path string) ([]string, error) {
	entry, err := p.begin(Call{Op: OpList, Path: path})
	if err != nil {
		return nil, err
	}
	got, err := p.Platform.List(path)
	p.end(entry, err)
	return got, err
}
