/*
 * A deleted reservation keeps address space for ever
 * rows: pmem2_vm_reservation_delete/(text)#1, pmem2_vm_reservation_delete/unmaps-region
 * why: The padding is never unmapped: a service that reserves and deletes runs out of address space, and can't have the same range twice.
 * prints: the same 1 MiB again, after delete: PMEM2_E_MAPPING_EXISTS
 */
char *at = room(16 * MIB);
struct pmem2_vm_reservation *r = reserve(at, MIB);
must(pmem2_vm_reservation_delete(&r), "delete");
printf("the same 1 MiB again, after delete: %s\n", name(pmem2_vm_reservation_new(&r, at, MIB)));
