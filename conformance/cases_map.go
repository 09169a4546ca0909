package conformance

import "slices"

// mapCases checks the pages about maps: pmem2_map_new(3), pmem2_map_delete(3),
// pmem2_map_from_existing(3), pmem2_map_get_address(3), pmem2_map_get_size(3) and
// pmem2_map_get_store_granularity(3).
func mapCases() []Case {
	return slices.Concat(
		mapNewCases(),
		mapNewRangeCases(),
		mapNewDeviceCases(),
		mapNewReservationCases(),
		mapNewErrnoCases(),
		mapDeleteCases(),
		mapFromExistingCases(),
		mapGetterCases(),
	)
}
