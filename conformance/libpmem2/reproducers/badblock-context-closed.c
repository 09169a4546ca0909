/*
 * A context of bad blocks is made of a closed descriptor
 * rows: pmem2_badblock_context_new/-errno#3
 * why: No bad blocks is what a caller reads from this, not that nothing was looked at.
 * prints: pmem2_badblock_context_new: 0
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
close(fd);
struct pmem2_badblock_context *bbc;
printf("pmem2_badblock_context_new: %s\n", name(pmem2_badblock_context_new(&bbc, src)));
