package fault

import (
	"strconv"
	"syscall"
)

// errnos are those that have a name in plans: what every operating system has,
// so that a plan parses anywhere. Where two are one number the first names it.
var errnos = [...]struct {
	name  string
	errno syscall.Errno
}{
	{"E2BIG", syscall.E2BIG},
	{"EACCES", syscall.EACCES},
	{"EAGAIN", syscall.EAGAIN},
	{"EBADF", syscall.EBADF},
	{"EBUSY", syscall.EBUSY},
	{"ECANCELED", syscall.ECANCELED},
	{"EDEADLK", syscall.EDEADLK},
	{"EDOM", syscall.EDOM},
	{"EDQUOT", syscall.EDQUOT},
	{"EEXIST", syscall.EEXIST},
	{"EFAULT", syscall.EFAULT},
	{"EFBIG", syscall.EFBIG},
	{"EILSEQ", syscall.EILSEQ},
	{"EINPROGRESS", syscall.EINPROGRESS},
	{"EINTR", syscall.EINTR},
	{"EINVAL", syscall.EINVAL},
	{"EIO", syscall.EIO},
	{"EISDIR", syscall.EISDIR},
	{"ELOOP", syscall.ELOOP},
	{"EMFILE", syscall.EMFILE},
	{"EMLINK", syscall.EMLINK},
	{"ENAMETOOLONG", syscall.ENAMETOOLONG},
	{"ENFILE", syscall.ENFILE},
	{"ENODEV", syscall.ENODEV},
	{"ENOENT", syscall.ENOENT},
	{"ENOLCK", syscall.ENOLCK},
	{"ENOMEM", syscall.ENOMEM},
	{"ENOSPC", syscall.ENOSPC},
	{"ENOSYS", syscall.ENOSYS},
	{"ENOTBLK", syscall.ENOTBLK},
	{"ENOTDIR", syscall.ENOTDIR},
	{"ENOTEMPTY", syscall.ENOTEMPTY},
	{"ENOTTY", syscall.ENOTTY},
	{"ENXIO", syscall.ENXIO},
	{"EOPNOTSUPP", syscall.EOPNOTSUPP},
	{"ENOTSUP", syscall.ENOTSUP},
	{"EOVERFLOW", syscall.EOVERFLOW},
	{"EPERM", syscall.EPERM},
	{"EPIPE", syscall.EPIPE},
	{"ERANGE", syscall.ERANGE},
	{"EROFS", syscall.EROFS},
	{"ESPIPE", syscall.ESPIPE},
	{"ESRCH", syscall.ESRCH},
	{"ESTALE", syscall.ESTALE},
	{"ETIMEDOUT", syscall.ETIMEDOUT},
	{"ETXTBSY", syscall.ETXTBSY},
	{"EXDEV", syscall.EXDEV},
}

// errnoName is the name of an errno, its number where it has none.
func errnoName(errno syscall.Errno) string {
	for _, e := range errnos {
		if e.errno == errno {
			return e.name
		}
	}
	return strconv.FormatUint(uint64(errno), 10)
}

// errnoByName reads a name or a number above 0.
func errnoByName(name string) (syscall.Errno, bool) {
	for _, e := range errnos {
		if e.name == name {
			return e.errno, true
		}
	}
	n, err := strconv.ParseUint(name, 10, 31)
	return syscall.Errno(n), err == nil && n > 0
}
