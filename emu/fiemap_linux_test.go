package emu_test

import (
	"strings"
	"testing"

	"pmemlab/emu"
)

// fiemapColumns are the arguments of each column of fiemapCells; a length that isn't
// there is 4K.
var fiemapColumns = []string{
	"start 0", "flags 1", "flags 2", "flags 4", "flags 8", "len 0", "len 0 flags 8", "len 0 start 2^63",
	"start 2^44-4K", "start 2^44", "start 2^63-1", "start 2^63",
}

// What FS_IOC_FIEMAP answered on Linux 6.1. Flag 1 is FIEMAP_FLAG_SYNC, 2
// FIEMAP_FLAG_XATTR, 4 FIEMAP_FLAG_CACHE, 8 none.
const fiemapCells = `
ext4-dax ext4 ext4-virtio     | RDWR   | ok ok ok ok EBADR EINVAL EINVAL EINVAL EINVAL EFBIG EFBIG EFBIG
ext4-dax-empty ext4-empty     | RDWR   | ok ok ok ok EBADR EINVAL EINVAL EINVAL EINVAL EFBIG EFBIG EFBIG
ext4-dax-dir ext4-dir         | RDONLY | ok ok ok ok EBADR EINVAL EINVAL EINVAL EINVAL EFBIG EFBIG EFBIG
xfs-dax xfs-dax-empty         | RDWR   | ok ok ok EBADR EBADR EINVAL EINVAL EINVAL ok ok EFBIG EFBIG
xfs-dax-dir tmpfs-dir         | RDONLY | EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP
tmpfs dax2M dax4K block       | RDWR   | EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP
null zero nmem                | RDWR   | EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP
ext4-dax ext4 xfs-dax tmpfs   | PATH   | EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF
`

func TestFiemapErrors(t *testing.T) {
	emulated, host := emulatedSubject(t, newMachine(t, emu.Config{})), hostSubject(t)
	for _, s := range []*subject{emulated, host} {
		t.Run(s.name, func(t *testing.T) {
			for _, row := range rows(fiemapCells) {
				for _, name := range strings.Fields(row[0]) {
					if o, ok := s.objects[name]; ok {
						s.checkFiemap(t, name, o, row[1], strings.Fields(row[2]))
					} else {
						s.miss(name, len(fiemapColumns))
					}
				}
			}
			s.report(t)
		})
	}
	sameTotal(t, emulated, host)
}

func (s *subject) checkFiemap(t *testing.T, name string, o cellObject, open string, answers []string) {
	fd, err := s.p.Open(o.path, openFlags[open], 0)
	if err != nil {
		t.Fatalf("%s: open %s: %v", s.name, name, err)
	}
	defer s.p.Close(fd)
	for i, column := range fiemapColumns {
		v := args(t, column, o)
		if !strings.Contains(column, "len") {
			v["len"] = 4096
		}
		s.compared++
		_, err := s.p.Fiemap(fd, v["start"], v["len"], uint32(v["flags"]), nil)
		if got := errnoName(err); got != answers[i] {
			t.Errorf("%s: %s opened %s, %s: got %s, want %s", s.name, name, open, column, got, answers[i])
		}
	}
}
