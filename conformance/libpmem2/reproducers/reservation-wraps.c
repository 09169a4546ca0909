/*
 * A reservation of nearly 2^64 bytes is made
 * rows: pmem2_vm_reservation_new/0#2
 * why: Behind the size that the getter tells there is a GiB at most: maps at higher offsets replace what is there.
 * prints: 2^64-4096 bytes: 0, size 18446744073709547520
 */
struct pmem2_vm_reservation *r = NULL;
printf("2^64-4096 bytes: %s, ", name(pmem2_vm_reservation_new(&r, NULL, -PAGE)));
printf("size %zu\n", pmem2_vm_reservation_get_size(r));
