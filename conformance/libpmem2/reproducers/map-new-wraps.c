/*
 * A mapping replaces memory below its reservation
 * rows: pmem2_map_new/0#1
 * why: The sum of offset and length wraps: memory of somebody else's in the same process is silently replaced by the file.
 * prints: pmem2_map_new: 0; the page below the reservation was 'mine', is ''
 */
char *at = room(8 * MIB);
char *mine = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
strcpy(mine, "mine");
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_vm_reservation(cfg, reserve(at + PAGE, 2 * PAGE), -PAGE);
int r = pmem2_map_new(&m, cfg, source(file(2 * PAGE)));
printf("pmem2_map_new: %s; the page below the reservation was 'mine', is '%s'\n", name(r), mine);
