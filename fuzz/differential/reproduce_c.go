//go:build libpmem2

package main

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// preludeC is what the programs in C begin with.
const preludeC = `#define _GNU_SOURCE
#include <fcntl.h>
#include <libpmem2.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A file of n bytes on tmpfs, open as flags say. */
static int file(unsigned long n, int flags, int append_only) {
	char path[64];
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600), append = FS_APPEND_FL;
	if (fd < 0 || ftruncate(fd, n) != 0 || (append_only && ioctl(fd, FS_IOC_SETFLAGS, &append) != 0)) {
		perror("the file");
		exit(2);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return append_only ? fd : open(path, flags);
}

static int tell(const char *what, int r) {
	printf("%s: %d %s\n", what, r, r == 0 ? "" : pmem2_errormsg());
	return r;
}

static void tell_map(struct pmem2_map *m) {
	if (m != NULL)
		printf("  map at %p, %#zx bytes, granularity %d\n", pmem2_map_get_address(m), pmem2_map_get_size(m), pmem2_map_get_store_granularity(m));
}

static void tell_reservation(struct pmem2_vm_reservation *r) {
	if (r != NULL)
		printf("  reservation at %p, %#zx bytes\n", pmem2_vm_reservation_get_address(r), pmem2_vm_reservation_get_size(r));
}

/* Everything is deleted that is there; then this is still mapped where reservations were. */
static void delete_all(struct pmem2_map **maps, int m, struct pmem2_vm_reservation **reservations, int r) {
	char line[256];
	for (int i = 0; i < m; i++)
		if (maps[i] != NULL)
			tell("pmem2_map_delete", pmem2_map_delete(&maps[i]));
	for (int i = 0; i < r; i++)
		if (reservations[i] != NULL)
			tell("pmem2_vm_reservation_delete", pmem2_vm_reservation_delete(&reservations[i]));
	FILE *f = fopen("/proc/self/maps", "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strtoul(line, NULL, 16) >> 44 == %#xUL >> 44)
			printf("  %%s", line);
}

`

// slots is how many of each kind of object a program has.
func (p program) slots() (sources, maps, reservations int) {
	for i := range p {
		switch n := p[i].slot + 1; p[i].op {
		case opSource:
			sources = max(sources, n)
		case opMap, opExisting:
			maps = max(maps, n)
		case opReserve:
			reservations = max(reservations, n)
		}
	}
	return max(sources, 1), max(maps, 1), max(reservations, 1)
}

// ended is the program with the deletion of everything at its end.
func (p program) ended() program {
	if p[len(p)-1].op == opKept {
		return p
	}
	return append(p[:len(p):len(p)], call{op: opKept})
}

// inC is the program in C. The text is a comment at its beginning.
func (p program) inC(text string) string {
	var b strings.Builder
	sources, maps, reservations := p.slots()
	fmt.Fprintf(&b, "/*\n * %s\n *\n * cc this.c -lpmem2 && ./a.out\n */\n", strings.ReplaceAll(text, "\n", "\n * "))
	head, tail, _ := strings.Cut(preludeC, "%#x")
	b.WriteString(head)
	fmt.Fprintf(&b, "%#x%s", uint64(room), strings.ReplaceAll(tail, "%%", "%"))
	b.WriteString("int main(void) {\n\tsetvbuf(stdout, NULL, _IOLBF, 0);\n")
	fmt.Fprintf(&b, "\tstruct pmem2_source *s[%d] = {NULL};\n\tstruct pmem2_map *m[%d] = {NULL}, *found;\n", sources, maps)
	fmt.Fprintf(&b, "\tstruct pmem2_vm_reservation *r[%d] = {NULL};\n\tsize_t n;\n\t(void)found, (void)n, (void)tell_map, (void)tell_reservation, (void)file;\n\n", reservations)
	for _, c := range p.ended() {
		b.WriteString("\t")
		b.WriteString(strings.ReplaceAll(strings.TrimSpace(c.inC(maps, reservations)), "\n", "\n\t"))
		b.WriteString("\n")
	}
	b.WriteString("\treturn 0;\n}\n")
	return b.String()
}

var openNamesC = [...]string{model.ReadWrite: "O_RDWR", model.ReadOnly: "O_RDONLY", model.WriteOnly: "O_WRONLY", model.PathOnly: "O_PATH"}

// inC is the call in C.
func (c *call) inC(maps, reservations int) string {
	name, slot := opNames[c.op], c.slot
	told := func(guard, format string, args ...any) string {
		return fmt.Sprintf("if (%s)\n\ttell(%q, %s(%s));\n", guard, name, name, fmt.Sprintf(format, args...))
	}
	onMap := fmt.Sprintf("m[%d] != NULL", slot)
	onReservation := fmt.Sprintf("r[%d] != NULL", slot)
	reservation := func(format string, args ...any) string {
		return told(onReservation, format, args...) + fmt.Sprintf("tell_reservation(r[%d]);\n", slot)
	}
	find := func(format string, args ...any) string {
		return fmt.Sprintf("found = NULL;\n%stell_map(found);\n", told(onReservation, format, args...))
	}
	switch c.op {
	case opSource:
		q := c.request.Source
		if q.Kind == model.Anonymous {
			return fmt.Sprintf("tell(\"pmem2_source_from_anon\", pmem2_source_from_anon(&s[%d], %#xUL));", slot, q.Size)
		}
		appends := 0
		if q.AppendOnly {
			appends = 1
		}
		return fmt.Sprintf("tell(%q, %s(&s[%d], file(%#xUL, %s, %d)));", name, name, slot, q.Size, openNamesC[q.Access], appends)
	case opSize, opAlignment:
		return told(fmt.Sprintf("s[%d] != NULL", slot), "s[%d], &n", slot)
	case opMap:
		return c.mapInC()
	case opExisting:
		return told(fmt.Sprintf("s[%d] != NULL", c.source), "&m[%d], s[%d], (void *)%#xUL, %#xUL, %d", slot, c.source, c.addr, c.length, c.fine) +
			fmt.Sprintf("tell_map(m[%d]);", slot)
	case opUnmap:
		return told(onMap, "&m[%d]", slot)
	case opReserve:
		return fmt.Sprintf("tell(%q, %s(&r[%d], (void *)%#xUL, %#xUL));\ntell_reservation(r[%d]);", name, name, slot, c.addr, c.length, slot)
	case opExtend:
		return reservation("r[%d], %#xUL", slot, c.length)
	case opShrink:
		return reservation("r[%d], %#xUL, %#xUL", slot, c.offset, c.length)
	case opUnreserve:
		return told(onReservation, "&r[%d]", slot)
	case opFind:
		return find("r[%d], %#xUL, %#xUL, &found", slot, c.offset, c.length)
	case opFindFirst, opFindLast:
		return find("r[%d], &found", slot)
	case opFindNext, opFindPrev:
		return find("r[%d], m[%d], &found", slot, c.from)
	case opDeepFlush:
		return told(onMap, "m[%d], (char *)pmem2_map_get_address(m[%d]) + %#xUL, %#xUL", slot, slot, c.offset, c.length)
	case opKept:
		return fmt.Sprintf("delete_all(m, %d, r, %d);", maps, reservations)
	}
	return c.memoryInC(onMap)
}

func (c *call) mapInC() string {
	var b strings.Builder
	q := &c.request
	guard := fmt.Sprintf("s[%d] != NULL", c.source)
	if c.in != none {
		guard += fmt.Sprintf(" && r[%d] != NULL", c.in)
	}
	fmt.Fprintf(&b, "if (%s) {\n\tstruct pmem2_config *cfg;\n\tpmem2_config_new(&cfg);\n", guard)
	set := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "\tpmem2_config_set_%s(cfg, %s);\n", what, fmt.Sprintf(format, args...))
	}
	if q.GranularitySet {
		set("required_store_granularity", "%d /* %v */", q.Granularity, q.Granularity)
	}
	if q.Offset != 0 {
		set("offset", "%#xUL", q.Offset)
	}
	if q.Length != 0 {
		set("length", "%#xUL", q.Length)
	}
	if q.Sharing == pmem2.Private {
		set("sharing", "PMEM2_PRIVATE")
	}
	if q.Prot != pmem2.ProtRead|pmem2.ProtWrite {
		set("protection", "%#xU", uint32(q.Prot))
	}
	if c.in != none {
		set("vm_reservation", "r[%d], %#xUL", c.in, q.Reservation.Offset)
	}
	fmt.Fprintf(&b, "\ttell(\"pmem2_map_new\", pmem2_map_new(&m[%d], cfg, s[%d]));\n\ttell_map(m[%d]);\n\tpmem2_config_delete(&cfg);\n}", c.slot, c.source, c.slot)
	return b.String()
}

// memoryInC is a call of what a getter of a map returns.
func (c *call) memoryInC(guard string) string {
	f := map[op]string{opCopy: "memmove", opSet: "memset", opPersist: "persist", opFlush: "flush"}[c.op]
	if f == "" {
		return ""
	}
	args := fmt.Sprintf("%#xUL", c.length)
	switch c.op {
	case opCopy:
		args = fmt.Sprintf("at + %#xUL, %#xUL, %#x", c.with, c.length, uint32(c.flags))
	case opSet:
		args = fmt.Sprintf("%d, %#xUL, %#x", c.value, c.length, uint32(c.flags))
	}
	return fmt.Sprintf("if (%s) {\n\tchar *at = pmem2_map_get_address(m[%d]);\n\tpmem2_get_%s_fn(m[%d])(at + %#xUL, %s);\n\tprintf(\"%s returns\\n\");\n}", guard, c.slot, f, c.slot, c.offset, args, f)
}
