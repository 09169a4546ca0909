/*
 * The context isn't NULL after a failure
 * rows: pmem2_badblock_context_new/(text)#1, pmem2_badblock_context_new/null-on-failure
 * why: Code that cleans up by pmem2_badblock_context_delete, as the page invites to, frees whatever the variable held before.
 * prints: PMEM2_E_NOSUPP, the variable is left as it was
 */
struct pmem2_source *src;
pmem2_source_from_anon(&src, PAGE);
struct pmem2_badblock_context *bbc = (void *)0x1234;
int r = pmem2_badblock_context_new(&bbc, src);
printf("%s, the variable is %s\n", name(r), bbc == NULL ? "NULL" : "left as it was");
