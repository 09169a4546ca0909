/*
 * A short read counts as a whole one
 * rows: pmem2_source_pread_mcsafe/reads-size-bytes-at-offset
 * why: Linux reads 2 GiB - 4 KiB at most at a time: of anything larger the rest of the buffer is left as it was, with 0 returned.
 * prints: pmem2_source_pread_mcsafe of 2 GiB + 4 KiB: 0, the last byte is 'x', in the file it is 0
 */
/* A buffer of 2 GiB + 4 KiB whose pages are the same 2 MiB again and again, and its own last page. */
size_t chunk = 2 * MIB, n = 1024 * chunk;
int chunks = file(chunk);
char *buf = mmap(NULL, n + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
for (size_t at = 0; at < n; at += chunk)
	mmap(buf + at, chunk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, chunks, 0);
buf[n + PAGE - 1] = 'x';
int r = pmem2_source_pread_mcsafe(source(file(n + PAGE)), buf, n + PAGE, 0);
printf("pmem2_source_pread_mcsafe of 2 GiB + 4 KiB: %s, the last byte is '%c', in the file it is 0\n", name(r), buf[n + PAGE - 1]);
