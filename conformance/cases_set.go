package conformance

import "slices"

// setCases are those of libpmemset.
func setCases() []Case {
	return slices.Concat(setConfigCases(), setNewCases(), setLookupCases(), setRemovePartMapCases(),
		setRemoveRangeCases(), setCoalescingCases(), setSDSCases(), setStatesCases(),
		setShutdownCases(), setErrorCases(), setLibraryCases(), setSourceCases(), setPersistCases(),
		setMemoryCases(), setDeepFlushCases(), setEventCases(), setPartEventCases(), setMapCases())
}
