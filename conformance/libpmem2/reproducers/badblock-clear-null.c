/*
 * pmem2_badblock_clear crashes without a context
 * rows: pmem2_badblock_clear/PMEM2_E_NOSUPP#1
 * why: As for pmem2_badblock_next: the code that the page names is never seen, the process dies.
 * prints: (dies of SIGSEGV)
 */
struct pmem2_badblock bb = {0, 4096};
printf("%s\n", name(pmem2_badblock_clear(NULL, &bb)));
