/*
 * What was cut off a reservation isn't given back
 * rows: pmem2_vm_reservation_shrink/releases-range
 * why: Address space goes back in steps of 2 MiB (1 GiB for large ones): the page says that the range is released.
 * prints: 64 KiB cut off at the end: 0, free: no
 */
char *at = room(16 * MIB);
struct pmem2_vm_reservation *r = reserve(at, 8 * MIB);
int e = pmem2_vm_reservation_shrink(r, 8 * MIB - 16 * PAGE, 16 * PAGE);
printf("64 KiB cut off at the end: %s, free: %s\n", name(e), is_free(at + 8 * MIB - 16 * PAGE, 16 * PAGE) ? "yes" : "no");
