/*
 * A reservation of no bytes is made, and can't be deleted
 * rows: pmem2_vm_reservation_new/0#1
 * why: The object and 2 MiB of address space are lost for the life of the process.
 * prints: pmem2_vm_reservation_new of 0 bytes: 0, delete: -EINVAL
 */
struct pmem2_vm_reservation *r = NULL;
printf("pmem2_vm_reservation_new of 0 bytes: %s, ", name(pmem2_vm_reservation_new(&r, NULL, 0)));
printf("delete: %s\n", name(pmem2_vm_reservation_delete(&r)));
