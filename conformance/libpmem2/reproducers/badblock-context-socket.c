/*
 * A context of bad blocks is made of a socket
 * rows: pmem2_badblock_context_new/PMEM2_E_INVALID_FILE_TYPE#1
 * why: The type of the descriptor is looked at when the source is made and never again; a descriptor number that was reused is reported as free of bad blocks.
 * prints: pmem2_badblock_context_new: 0
 */
int fd = file(PAGE), sv[2];
struct pmem2_source *src = source(fd);
socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
become(fd, sv[0]); /* as after close(fd) and socket() */
struct pmem2_badblock_context *bbc;
printf("pmem2_badblock_context_new: %s\n", name(pmem2_badblock_context_new(&bbc, src)));
