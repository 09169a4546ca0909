/*
 * mmap's EACCES becomes PMEM2_E_NO_ACCESS though the open mode allows the protection
 * rows: pmem2_map_new/-EACCES#1
 * why: The two have different remedies: open the file for writing, or take the append-only attribute away.
 * prints: pmem2_map_new: PMEM2_E_NO_ACCESS
 */
char path[] = "/tmp/reproducer-XXXXXX";
int fd = mkstemp(path), flags = 0, append = FS_APPEND_FL;
ftruncate(fd, PAGE);
if (ioctl(fd, FS_IOC_SETFLAGS, &append) != 0) {
	unlink(path);
	exit(77); /* not root, or a file system without attributes */
}
int rw = open(path, O_RDWR | O_APPEND);
struct pmem2_map *m;
printf("pmem2_map_new: %s\n", name(pmem2_map_new(&m, config(), source(rw))));
ioctl(fd, FS_IOC_SETFLAGS, &flags);
unlink(path);
