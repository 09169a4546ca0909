/*
 * A reservation needs 3 MiB more than it is asked for
 * rows: pmem2_vm_reservation_new/PMEM2_E_MAPPING_EXISTS#2
 * why: The page: PMEM2_E_MAPPING_EXISTS if something is mapped in the range. Programs that lay out their address space tightly can't.
 * prints: 1 MiB with a page in use 3 MiB up: PMEM2_E_MAPPING_EXISTS
 */
char *at = room(16 * MIB);
mmap(at + 3 * MIB, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
struct pmem2_vm_reservation *r;
printf("1 MiB with a page in use 3 MiB up: %s\n", name(pmem2_vm_reservation_new(&r, at, MIB)));
