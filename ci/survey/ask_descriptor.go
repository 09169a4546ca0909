package survey

import (
	"fmt"

	"pmemlab/pmem2/platform"
)

// Constants of Linux that platform has no names for.
const (
	lockShared, lockExclusive, lockUnlock, lockNonblock = 1, 2, 8, 4 // flock
	readLock, writeLock, noLock                         = 0, 1, 2    // F_RDLCK, F_WRLCK, F_UNLCK

	seekData, seekHole = 3, 4

	fallocKeepSize  = 1
	fallocPunchHole = 2
)

func (s *session) askDescriptors() {
	s.each(func(o *object) {
		for _, mode := range openModes {
			if o.kind == block && mode.flags&platform.OAccmode != platform.ORdonly {
				continue // of a mounted file system
			}
			s.with(o, mode, func(fd int) {
				s.askStat(o, fd, mode.name)
				s.askSeek(o, fd, mode.name)
				s.askSync(fd, mode.name)
				s.askLocks(fd, mode.name)
				s.askTransfer(o, fd, mode.name)
				s.askFiemap(o, fd, mode.name)
				if o.name != "nmem" { // which takes their numbers for commands of a DIMM, with longer answers
					s.askBusCalls(fd, mode.name)
				}
				if o.kind != block {
					s.askResize(o, fd, mode.name)
				}
			})
		}
		s.with(o, readOnly, func(fd int) { s.askConflicts(o, fd) })
	}, deviceDAX, file, directory, block, character)
	s.object = "no descriptor"
	s.askSync(-1, "fd -1")
	s.askLocks(-1, "fd -1")
	_, err := s.k.Mmap(0, page, protRW, platform.MapShared, -1, 0)
	s.ask("mmap", "fd -1", errnoText(err))
}

func (s *session) askStat(o *object, fd int, how string) {
	st, err := s.k.Fstat(fd)
	s.ask("fstat", how, errnoText(err))
	if err == nil {
		s.ask("fstat mode", how, fmt.Sprintf("%#o", st.Mode))
		s.ask("fstat blksize", how, fmt.Sprint(st.BlockSize))
		if o.kind != directory { // whose size is the file system's affair
			s.ask("fstat size", how, fmt.Sprint(st.Size))
		}
		rdev := "0"
		if st.Rdev != 0 {
			rdev = "a device"
		}
		s.ask("fstat rdev", how, rdev)
	}
	stx, err := s.k.Statx(fd)
	if err != nil {
		s.ask("statx", how, errnoText(err))
	} else {
		const kept = platform.StatxAttrDAX | platform.StatxAttrAppend | platform.StatxAttrImmutable
		s.ask("statx attributes", how, hexText(stx.Attributes&kept))
		s.ask("statx attributes_mask", how, hexText(stx.AttributesMask))
	}
	kind, blockSize, err := s.k.Fstatfs(fd)
	if err != nil {
		s.ask("fstatfs", how, errnoText(err))
	} else {
		s.ask("fstatfs type", how, hexText(uint64(kind)))
		s.ask("fstatfs bsize", how, fmt.Sprint(blockSize))
	}
}

func (s *session) askSeek(o *object, fd int, how string) {
	type seek struct {
		rule   string
		off    int64
		whence int
	}
	seeks := []seek{
		{"0 SET", 0, 0}, {"4096 SET", page, 0}, {"-1 SET", -1, 0}, {"0 CUR", 0, 1}, {"-1 CUR", -1, 1}, {"0 whence 5", 0, 5},
	}
	if o.kind != directory { // whose offsets are the file system's affair
		size := int64(o.size)
		seeks = append(seeks, seek{"1 CUR", 1, 1}, seek{"0 END", 0, 2}, seek{"1 END", 1, 2}, seek{"-size-1 END", -size - 1, 2},
			seek{"0 DATA", 0, seekData}, seek{"0 HOLE", 0, seekHole}, seek{"size-1 DATA", size - 1, seekData},
			seek{"size DATA", size, seekData}, seek{"size-1 HOLE", size - 1, seekHole}, seek{"size HOLE", size, seekHole},
			seek{"-1 DATA", -1, seekData}, seek{"-1 HOLE", -1, seekHole}, seek{"2^62 SET", 1 << 62, 0},
			seek{"2^44-4096 SET", 1<<44 - page, 0}, seek{"2^44-4095 SET", 1<<44 - page + 1, 0})
	}
	for _, c := range seeks {
		at, err := s.k.Lseek(fd, c.off, c.whence)
		s.ask("lseek", how+" "+c.rule, numberText(at, err))
	}
}

func (s *session) askSync(fd int, how string) {
	s.ask("fsync", how, errnoText(s.k.Fsync(fd)))
	s.ask("fdatasync", how, errnoText(s.k.Fdatasync(fd)))
	s.ask("syncfs", how, errnoText(s.k.Syncfs(fd)))
	for _, c := range []struct {
		rule        string
		off, length int64
		flags       int
	}{
		{"0 0 WAIT_BEFORE|WRITE|WAIT_AFTER", 0, 0, 7}, {"0 4096 WRITE", 0, page, 2}, {"0 4096 0", 0, page, 0},
		{"0 4096 8", 0, page, 8}, {"-1 4096 WRITE", -1, page, 2}, {"0 -1 WRITE", 0, -1, 2}, {"2^62 2^62 WRITE", 1 << 62, 1 << 62, 2},
	} {
		s.ask("sync_file_range", how+" "+c.rule, errnoText(s.k.SyncFileRange(fd, c.off, c.length, c.flags)))
	}
}

func (s *session) askLocks(fd int, how string) {
	for _, c := range []struct {
		rule string
		how  int
	}{
		{"SH|NB", lockShared | lockNonblock}, {"EX|NB", lockExclusive | lockNonblock}, {"UN", lockUnlock},
		{"0", 0}, {"SH|EX|NB", lockShared | lockExclusive | lockNonblock},
	} {
		s.ask("flock", how+" "+c.rule, errnoText(s.k.Flock(fd, c.how)))
	}
	_ = s.k.Flock(fd, lockUnlock)
	for _, c := range []struct {
		rule string
		kind int16
	}{{"RDLCK", readLock}, {"WRLCK", writeLock}, {"UNLCK", noLock}, {"9", 9}} {
		s.ask("fcntl F_OFD_SETLK", how+" "+c.rule, errnoText(s.k.LockOFD(fd, c.kind)))
	}
}

// askConflicts asks for locks that another open descriptor holds.
func (s *session) askConflicts(o *object, fd int) {
	other, err := s.k.Open(o.path, platform.ORdonly, 0)
	if err != nil {
		return
	}
	for _, c := range []struct {
		rule        string
		first, then int
	}{
		{"SH over SH", lockShared, lockShared}, {"EX over SH", lockShared, lockExclusive},
		{"SH over EX", lockExclusive, lockShared}, {"EX over EX", lockExclusive, lockExclusive},
	} {
		first := s.k.Flock(fd, c.first|lockNonblock)
		s.ask("flock of another", c.rule, errnoText(first)+", "+errnoText(s.k.Flock(other, c.then|lockNonblock)))
		_ = s.k.Flock(other, lockUnlock)
		_ = s.k.Flock(fd, lockUnlock)
	}
	if err := s.k.Close(other); err != nil {
		s.fail("closing: %w", err)
	}
}

func (s *session) askTransfer(o *object, fd int, how string) {
	size := int64(o.size)
	for _, c := range []struct {
		rule string
		n    int
		off  int64
	}{
		{"0 at 0", 0, 0}, {"1 at 0", 1, 0}, {"4096 at 0", page, 0}, {"5000 at 100", 5000, 100},
		{"16 at size-8", 16, size - 8}, {"16 at size", 16, size}, {"16 at size+1M", 16, size + 1<<20},
		{"16 at -1", 16, -1}, {"16 at 2^62", 16, 1 << 62}, {"16 at 2^63-8", 16, 1<<63 - 8}, {"0 at -1", 0, -1},
		{"16 at 2^44-4097", 16, 1<<44 - page - 1}, {"16 at 2^44-4096", 16, 1<<44 - page},
	} {
		n, err := s.k.Pread(fd, make([]byte, c.n), c.off)
		s.ask("pread", how+" "+c.rule, numberText(n, err))
	}
	if o.kind == block {
		return
	}
	for _, c := range []struct {
		rule string
		n    int
		off  int64
	}{
		{"0 at 0", 0, 0}, {"16 at 0", 16, 0}, {"4096 at 4096", page, page}, {"16 at -1", 16, -1}, {"0 at -1", 0, -1},
		{"16 at 2^63-8", 16, 1<<63 - 8}, {"0 at 2^62", 0, 1 << 62},
		{"16 at 2^44-4104", 16, 1<<44 - page - 8}, {"16 at 2^44-4096", 16, 1<<44 - page},
	} {
		n, err := s.k.Pwrite(fd, make([]byte, c.n), c.off)
		s.ask("pwrite", how+" "+c.rule, numberText(n, err))
		s.restore(o, fd)
	}
}

// restore gives a file its size again.
func (s *session) restore(o *object, fd int) {
	if o.kind != file || o.closed {
		return
	}
	if st, err := s.k.Fstat(fd); err != nil || st.Size == int64(o.size) {
		return
	}
	again, err := s.k.Open(o.path, platform.ORdwr, 0)
	if err == nil {
		err = s.k.Ftruncate(again, int64(o.size))
		_ = s.k.Close(again)
	}
	if err != nil {
		s.fail("giving it its size again: %w", err)
	}
}

func (s *session) askResize(o *object, fd int, how string) {
	size := int64(o.size)
	truncate := func(rule string, to int64) {
		s.ask("ftruncate", how+" "+rule, errnoText(s.k.Ftruncate(fd, to)))
		if st, err := s.k.Fstat(fd); err == nil && o.kind != directory {
			s.ask("size after ftruncate", how+" "+rule, fmt.Sprint(st.Size))
		}
		s.restore(o, fd)
	}
	truncate("size", size)
	truncate("-1", -1)
	truncate("size+1", size+1)
	truncate("size+1M", size+1<<20)
	truncate("2^63-1", 1<<63-1)
	truncate("2^44-4096", 1<<44-page)
	truncate("2^44-4095", 1<<44-page+1)
	for _, c := range []struct {
		rule        string
		mode        uint32
		off, length int64
	}{
		{"0, 0 4096", 0, 0, page}, {"0, size 4096", 0, size, page}, {"0, size-1 1", 0, size - 1, 1},
		{"KEEP_SIZE, size 4096", fallocKeepSize, size, page}, {"0, 0 0", 0, 0, 0}, {"0, 0 -1", 0, 0, -1}, {"0, -1 4096", 0, -1, page},
		{"0, 2^62 2^62", 0, 1 << 62, 1 << 62}, {"PUNCH_HOLE, 0 4096", fallocPunchHole, 0, page},
		{"KEEP_SIZE, 2^44-4095 1", fallocKeepSize, 1<<44 - page, 1},
		{"PUNCH_HOLE|KEEP_SIZE, 0 0", fallocPunchHole | fallocKeepSize, 0, 0},
		{"PUNCH_HOLE|KEEP_SIZE, size+4096 4096", fallocPunchHole | fallocKeepSize, size + page, page},
		{"0x80, 0 4096", 0x80, 0, page}, {"0x4, 0 4096", 0x4, 0, page},
	} {
		s.ask("fallocate", how+" "+c.rule, errnoText(s.k.Fallocate(fd, c.mode, c.off, c.length)))
		if st, err := s.k.Fstat(fd); err == nil && o.kind != directory {
			s.ask("size after fallocate", how+" "+c.rule, fmt.Sprint(st.Size))
		}
		s.restore(o, fd)
	}
}

func (s *session) askFiemap(o *object, fd int, how string) {
	for _, c := range []struct {
		rule          string
		start, length uint64
		flags         uint32
	}{
		{"0 size SYNC", 0, max(o.size, page), platform.FiemapFlagSync}, {"0 0", 0, 0, 0}, {"0 4096", 0, page, 0},
		{"size 4096 SYNC", (o.size + page - 1) &^ (page - 1), page, platform.FiemapFlagSync}, {"2^63 4096", 1 << 63, page, 0},
		{"0 4096 0x80000000", 0, page, 0x80000000}, {"0 -1", 0, 1<<64 - 1, 0},
	} {
		if o.kind == directory && c.length == max(o.size, page) {
			continue
		}
		var extents [16]platform.FiemapExtent
		n, err := s.k.Fiemap(fd, c.start, c.length, c.flags, extents[:])
		answer := errnoText(err)
		if err == nil { // how many extents there are is the file system's affair
			answer = "some"
			if n == 0 {
				answer = "none"
			}
		}
		s.ask("ioctl FIEMAP", how+" "+c.rule, answer)
	}
}

// askBusCalls asks for the commands of the nvdimm bus where they don't belong.
func (s *session) askBusCalls(fd int, how string) {
	_, err := s.k.ARSCapabilities(fd, 4<<30, page)
	s.ask("ioctl ARS_CAP", how, errnoText(err))
	_, err = s.k.ClearError(fd, 4<<30, page)
	s.ask("ioctl CLEAR_ERROR", how, errnoText(err))
}
