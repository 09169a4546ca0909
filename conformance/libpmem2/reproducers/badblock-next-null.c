/*
 * pmem2_badblock_next crashes without a context
 * rows: pmem2_badblock_next/PMEM2_E_NOSUPP#1
 * why: A program that goes on after pmem2_badblock_context_new has said that bad blocks are not supported dies instead of being told so again.
 * prints: (dies of SIGSEGV)
 */
struct pmem2_badblock bb;
printf("%s\n", name(pmem2_badblock_next(NULL, &bb)));
