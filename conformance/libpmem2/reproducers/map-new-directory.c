/*
 * A source whose descriptor has become a directory is -ENODEV
 * rows: pmem2_map_new/-ENODEV#2
 * why: What is wrong is the type of the file, for which there is a code; the errno speaks of a device.
 * prints: pmem2_map_new: -ENODEV
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
become(fd, open("/", O_RDONLY | O_DIRECTORY));
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_protection(cfg, PMEM2_PROT_READ);
printf("pmem2_map_new: %s\n", name(pmem2_map_new(&m, cfg, src)));
