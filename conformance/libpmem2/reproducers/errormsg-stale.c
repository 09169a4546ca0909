/*
 * pmem2_errormsg tells of another failure
 * rows: pmem2_errormsg/message-after-error
 * why: The message that is printed beside the code sends the reader to the wrong place.
 * prints: source_from_fd(-7): PMEM2_E_INVALID_FILE_HANDLE, "unknown granularity value 777"
 */
struct pmem2_source *src;
pmem2_config_set_required_store_granularity(config(), 777);
int r = pmem2_source_from_fd(&src, -7);
printf("source_from_fd(-7): %s, \"%s\"\n", name(r), pmem2_errormsg());
