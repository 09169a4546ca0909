/*
 * Extending makes a reservation smaller
 * rows: pmem2_vm_reservation_extend/0#1
 * why: The sum wraps: success, and the end of the reservation isn't the caller's any more.
 * prints: extended by 2^64-4096: 0, 1048576 bytes are 1044480
 */
struct pmem2_vm_reservation *r = reserve(NULL, MIB);
int e = pmem2_vm_reservation_extend(r, -PAGE);
printf("extended by 2^64-4096: %s, 1048576 bytes are %zu\n", name(e), pmem2_vm_reservation_get_size(r));
