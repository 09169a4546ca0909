/*
 * Reading behind the end succeeds, and reads nothing
 * rows: pmem2_source_pread_mcsafe/PMEM2_E_LENGTH_OUT_OF_RANGE#2
 * why: The caller takes what was in the buffer for the content of the medium. On device DAX the same call reads past the mapping.
 * prints: pmem2_source_pread_mcsafe at 8192 of 4096: 0, the buffer holds 'old'
 */
char buf[4] = "old";
int r = pmem2_source_pread_mcsafe(source(file(PAGE)), buf, sizeof(buf), 2 * PAGE);
printf("pmem2_source_pread_mcsafe at 8192 of 4096: %s, the buffer holds '%s'\n", name(r), buf);
