//go:build !linux

package platform

import (
	"os"
	"syscall"
)

// unsupported answers every call with ENOSYS.
type unsupported struct {
	ops *[GranularityPage + 1]CacheOps
}

func newHost(ops *[GranularityPage + 1]CacheOps) Platform { return unsupported{ops} }

func (unsupported) Open(string, int, uint32) (int, error)          { return -1, syscall.ENOSYS }
func (unsupported) Close(int) error                                { return syscall.ENOSYS }
func (unsupported) Unlink(string) error                            { return syscall.ENOSYS }
func (unsupported) Ftruncate(int, int64) error                     { return syscall.ENOSYS }
func (unsupported) Fstat(int) (Stat, error)                        { return Stat{}, syscall.ENOSYS }
func (unsupported) Statx(int) (Statx, error)                       { return Statx{}, syscall.ENOSYS }
func (unsupported) GetFL(int) (int, error)                         { return 0, syscall.ENOSYS }
func (unsupported) Pread(int, []byte, int64) (int, error)          { return 0, syscall.ENOSYS }
func (unsupported) Pwrite(int, []byte, int64) (int, error)         { return 0, syscall.ENOSYS }
func (unsupported) Fallocate(int, uint32, int64, int64) error      { return syscall.ENOSYS }
func (unsupported) Fsync(int) error                                { return syscall.ENOSYS }
func (unsupported) Munmap(uintptr, uint64) error                   { return syscall.ENOSYS }
func (unsupported) Msync(uintptr, uint64, int) error               { return syscall.ENOSYS }
func (unsupported) PageSize() uint64                               { return uint64(os.Getpagesize()) }
func (unsupported) ReadAttr(string) (string, error)                { return "", syscall.ENOSYS }
func (unsupported) WriteAttr(string, string) error                 { return syscall.ENOSYS }
func (unsupported) Readlink(string) (string, error)                { return "", syscall.ENOSYS }
func (unsupported) List(string) ([]string, error)                  { return nil, syscall.ENOSYS }
func (unsupported) ClearError(int, uint64, uint64) (uint64, error) { return 0, syscall.ENOSYS }
func (unsupported) ARSCapabilities(int, uint64, uint64) (ARSCap, error) {
	return ARSCap{}, syscall.ENOSYS
}
func (unsupported) Fiemap(int, uint64, uint64, uint32, []FiemapExtent) (int, error) {
	return 0, syscall.ENOSYS
}
func (unsupported) Mmap(uintptr, uint64, int, int, int, int64) (uintptr, error) {
	return 0, syscall.ENOSYS
}
func (unsupported) Mremap(uintptr, uint64, uint64, int, uintptr) (uintptr, error) {
	return 0, syscall.ENOSYS
}
func (u unsupported) CacheOps(g Granularity) *CacheOps { return &u.ops[g] }
