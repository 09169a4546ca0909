/*
 * What the two C workers have in common: they map the file "data", read commands from
 * the standard input and answer each with one line.
 *
 *   variants OP SIZE SHIFT                     names of the ways to do it, by semicolons
 *   run OP SIZE SHIFT VARIANT WARM COUNT       nanoseconds of COUNT calls after WARM more
 *
 * A line that starts with "error " says what went wrong.
 */
#ifndef WORKER_H
#define WORKER_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILL 0x5a        /* what a set stores */
#define SOURCE_AT 0x800  /* of a copy's source in its file: see rows.go */
#define SOURCE_GAP ((uintptr_t)1 << 30) /* from the mapping of data to that of source */

enum op { PERSIST, MEMCPY, MEMSET, MAP, MAP_OFFSET, MAP_GRANULARITY, NO_OP };

static const char *const op_names[] = {"persist", "memcpy", "memset", "map", "map-offset", "map-granularity"};

struct command {
	enum op op;
	size_t size, shift;
	unsigned variant;
};

static char *data;         /* the mapping under test */
static size_t data_size;
static const char *source; /* of copies, SOURCE_AT included */
static int map_small, map_large; /* files of 4 KiB and 64 MiB that are only mapped */

/* What each worker defines. map_data sets data; run makes n calls. */
static void map_data(int fd, void *at);
static const char *variants(const struct command *c);
static int run(const struct command *c, long n);

static void die(const char *what)
{
	printf("error %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_file(const char *name, size_t *size)
{
	struct stat st;
	int fd = open(name, O_RDWR);
	if (fd < 0 || fstat(fd, &st) != 0)
		die(name);
	*size = (size_t)st.st_size;
	return fd;
}

static int map_file(size_t size) { return size == 4096 ? map_small : map_large; }

static void prepare(const char *dir, uintptr_t at)
{
	size_t ignored, source_size;
	if (chdir(dir) != 0)
		die(dir);
	int data_fd = open_file("data", &data_size), source_fd = open_file("source", &source_size);
	map_small = open_file("map-4096", &ignored);
	map_large = open_file("map-67108864", &ignored);

	map_data(data_fd, (void *)at);
	void *s = mmap((void *)(at + SOURCE_GAP), source_size, PROT_READ | PROT_WRITE, MAP_SHARED, source_fd, 0);
	if (s == MAP_FAILED)
		die("mmap of source");
	source = (const char *)s + SOURCE_AT;
	for (size_t i = 0; i < data_size; i += 4096)
		((volatile char *)data)[i] = data[i];
	for (size_t i = 0; i < source_size; i += 4096)
		((volatile char *)s)[i] = ((volatile char *)s)[i];
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int obey(const char *line)
{
	char verb[16], op[32];
	struct command c = {NO_OP, 0, 0, 0};
	long warm = 0, count = 0;
	int n = sscanf(line, "%15s %31s %zu %zu %u %ld %ld", verb, op, &c.size, &c.shift, &c.variant, &warm, &count);
	if (n >= 2)
		for (c.op = PERSIST; c.op != NO_OP && strcmp(op, op_names[c.op]) != 0; c.op++)
			;
	if (n < 4 || c.op == NO_OP || c.size > data_size || c.shift > data_size - c.size) {
		printf("error not a command: %s", line);
		return -1;
	}
	if (n == 4 && strcmp(verb, "variants") == 0)
		return printf("%s\n", variants(&c));
	if (n != 7 || strcmp(verb, "run") != 0 || count < 1 || warm < 0) {
		printf("error not a command: %s", line);
		return -1;
	}
	if (warm && run(&c, warm) != 0)
		return -1;
	double start = now();
	if (run(&c, count) != 0)
		return -1;
	return printf("%.0f\n", now() - start);
}

int main(int argc, char **argv)
{
	char line[256];
	if (argc != 3) {
		fprintf(stderr, "usage: %s directory address\n", argv[0]);
		return 2;
	}
	prepare(argv[1], (uintptr_t)strtoull(argv[2], NULL, 16));
	printf("ready %p %p\n", (void *)data, (const void *)source);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (obey(line) < 0)
			return 1;
		fflush(stdout);
	}
	return 0;
}

#endif
