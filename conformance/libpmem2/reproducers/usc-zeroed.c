/*
 * A failing pmem2_source_device_usc stores 0
 * rows: pmem2_source_device_usc/PMEM2_E_NOSUPP#1, pmem2_source_device_usc/unmodified-on-failure
 * why: A caller that keeps the last known count in the variable loses it, and 0 is a count like any other.
 * prints: PMEM2_E_NOSUPP, *usc was 123 and is 0
 */
uint64_t usc = 123;
int r = pmem2_source_device_usc(source(file(PAGE)), &usc);
printf("%s, *usc was 123 and is %lu\n", name(r), usc);
