//go:build libpmem2

/*
 * The system calls of libpmem2, on their way to the machine that a case has put under
 * it. The dynamic linker finds these definitions before those of the C library. Go's
 * runtime and every other library get what they'd have got from the C library.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "calls.h"

/* machine is that of the call that this thread is in; 0 outside of one. */
static __thread volatile uintptr_t machine;

/* The code of libpmem2, as it is mapped. */
static uintptr_t code_start, code_end;

static int find_code(struct dl_phdr_info *info, size_t size, void *inside) {
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + h->p_vaddr;
		if (h->p_type == PT_LOAD && (h->p_flags & PF_X) &&
		    (uintptr_t)inside >= start && (uintptr_t)inside < start + h->p_memsz) {
			code_start = start;
			code_end = start + h->p_memsz;
			return 1;
		}
	}
	return 0;
}

/* A symbol's address may be that of a stub in the program: dlsym's isn't. */
__attribute__((constructor)) static void find_library(void) {
	void *f = dlsym(RTLD_DEFAULT, "pmem2_map_new");
	if (f != NULL)
		dl_iterate_phdr(find_code, f);
}

void libpmem2_enter(uintptr_t m) { machine = m; }
void libpmem2_leave(void) { machine = 0; }

/* ask is the machine to be asked, or 0. Until answered the thread is in Go. */
#define ask() asked((uintptr_t)__builtin_return_address(0))
static uintptr_t asked(uintptr_t caller) {
	uintptr_t m = machine;
	if (m == 0 || caller < code_start || caller >= code_end)
		return 0;
	machine = 0;
	return m;
}

static intptr_t answered(uintptr_t m, intptr_t result, int err) {
	machine = m;
	if (err != 0) {
		errno = err;
		return -1;
	}
	return result;
}

void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t off) {
	uintptr_t m = ask();
	if (m == 0)
		return (void *)syscall(SYS_mmap, addr, n, prot, flags, fd, off);
	int err = 0;
	uintptr_t got = libpmem2Mmap(m, (uintptr_t)addr, n, prot, flags, fd, off, &err);
	return (void *)answered(m, (intptr_t)got, err);
}

int munmap(void *addr, size_t n) {
	uintptr_t m = ask();
	if (m == 0)
		return (int)syscall(SYS_munmap, addr, n);
	int err = libpmem2Munmap(m, (uintptr_t)addr, n);
	return (int)answered(m, 0, err);
}

int msync(void *addr, size_t n, int flags) {
	uintptr_t m = ask();
	if (m == 0)
		return (int)syscall(SYS_msync, addr, n, flags);
	int err = libpmem2Msync(m, (uintptr_t)addr, n, flags);
	return (int)answered(m, 0, err);
}

/* A buffer that is none is the kernel's to refuse. */
ssize_t pread(int fd, void *buf, size_t n, off_t off) {
	uintptr_t m = buf != NULL && n <= SIZE_MAX / 2 ? ask() : 0;
	if (m == 0)
		return syscall(SYS_pread64, fd, buf, n, off);
	int err = 0;
	intptr_t got = libpmem2Pread(m, fd, (uintptr_t)buf, n, off, &err);
	return answered(m, got, err);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off) {
	uintptr_t m = buf != NULL && n <= SIZE_MAX / 2 ? ask() : 0;
	if (m == 0)
		return syscall(SYS_pwrite64, fd, buf, n, off);
	int err = 0;
	intptr_t got = libpmem2Pwrite(m, fd, (uintptr_t)buf, n, off, &err);
	return answered(m, got, err);
}

int fallocate(int fd, int mode, off_t off, off_t n) {
	uintptr_t m = ask();
	if (m == 0)
		return (int)syscall(SYS_fallocate, fd, mode, off, n);
	int err = libpmem2Fallocate(m, fd, mode, off, n);
	return (int)answered(m, 0, err);
}

/* Of its commands libpmem2 uses the one without an argument. */
int fcntl(int fd, int command, ...) {
	va_list args;
	va_start(args, command);
	long arg = va_arg(args, long);
	va_end(args);
	uintptr_t m = command == F_GETFL ? ask() : 0;
	if (m == 0)
		return (int)syscall(SYS_fcntl, fd, command, arg);
	int err = 0;
	int flags = libpmem2GetFL(m, fd, &err);
	return (int)answered(m, flags, err);
}

/* If the machine has nothing against it the kernel fills in what there is. */
int fstat(int fd, struct stat *st) {
	uintptr_t m = ask();
	if (m != 0) {
		int err = libpmem2Fstat(m, fd);
		if (answered(m, 0, err) != 0)
			return -1;
	}
	return (int)syscall(SYS_fstat, fd, st);
}

/* What Go does about these signals. */
static struct sigaction of_go[NSIG];

static void on_signal(int sig, siginfo_t *info, void *context) {
	if (machine != 0)
		signal(sig, SIG_DFL); /* and once more, for good */
	else if (of_go[sig].sa_flags & SA_SIGINFO)
		of_go[sig].sa_sigaction(sig, info, context);
	else
		signal(sig, SIG_DFL);
}

void libpmem2_catch_signals(void) {
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		struct sigaction a;
		if (sigaction(fatal[i], NULL, &of_go[fatal[i]]) != 0)
			continue;
		a = of_go[fatal[i]];
		a.sa_flags |= SA_SIGINFO | SA_ONSTACK;
		a.sa_sigaction = on_signal;
		sigaction(fatal[i], &a, NULL);
	}
}
