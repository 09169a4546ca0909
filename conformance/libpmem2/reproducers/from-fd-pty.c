/*
 * A terminal is -ENOENT, not PMEM2_E_INVALID_FILE_TYPE
 * rows: pmem2_source_from_fd/-ENOENT#1
 * why: The page has a code for files of the wrong type; the errno is that of a path that the caller has never named.
 * prints: pmem2_source_from_fd: -ENOENT
 */
int master = posix_openpt(O_RDWR | O_NOCTTY);
if (master < 0 || unlockpt(master) != 0)
	exit(77); /* no pseudo-terminals here */
struct pmem2_source *src;
int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
printf("pmem2_source_from_fd: %s\n", name(pmem2_source_from_fd(&src, slave)));
