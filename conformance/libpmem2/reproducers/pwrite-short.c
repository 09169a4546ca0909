/*
 * A short write counts as a whole one
 * rows: pmem2_source_pwrite_mcsafe/writes-size-bytes-at-offset
 * why: What a full disk, a quota or a limit cuts off is lost, with 0 returned.
 * prints: pmem2_source_pwrite_mcsafe of 8 bytes: 0, written were 4
 */
char path[] = "/tmp/reproducer-XXXXXX", buf[8] = "";
int fd = mkstemp(path);
unlink(path);
ftruncate(fd, 2 * PAGE);
struct pmem2_source *src = source(fd);
struct rlimit limit = {PAGE, PAGE};
signal(SIGXFSZ, SIG_IGN);
setrlimit(RLIMIT_FSIZE, &limit); /* the write ends at 4096 */
int r = pmem2_source_pwrite_mcsafe(src, "12345678", 8, PAGE - 4);
pread(fd, buf, 8, PAGE - 4);
printf("pmem2_source_pwrite_mcsafe of 8 bytes: %s, written were %zu\n", name(r), strnlen(buf, 8));
