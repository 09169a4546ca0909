/*
 * A region that wraps is said to lie in the middle
 * rows: pmem2_vm_reservation_shrink/PMEM2_E_LENGTH_OUT_OF_RANGE#2
 * why: The page's code for a region past the end is PMEM2_E_LENGTH_OUT_OF_RANGE; the sum wraps before it is compared.
 * prints: shrink by 2^64-4096 at 4096: PMEM2_E_NOSUPP
 */
printf("shrink by 2^64-4096 at 4096: %s\n", name(pmem2_vm_reservation_shrink(reserve(NULL, MIB), PAGE, -PAGE)));
