/*
 * The alignment of a closed descriptor is told
 * rows: pmem2_source_alignment/-errno#1
 * why: The page promises the errno of fstat: a source that can't be used isn't noticed before pmem2_map_new.
 * prints: pmem2_source_alignment: 0, alignment 4096
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
close(fd);
size_t alignment = 0;
int r = pmem2_source_alignment(src, &alignment);
printf("pmem2_source_alignment: %s, alignment %zu\n", name(r), alignment);
