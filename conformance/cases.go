package conformance

import "slices"

// Cases returns every case, for any subject and target.
func Cases() []Case {
	return slices.Concat(mapCases(), configCases(), sourceCases(), reservationCases(),
		persistCases(), memoryCases(), errorCases(), libraryCases(),
		deepFlushCases(), deviceCases(), mcsafeCases(), badBlockCases(), unsafeShutdownCases(),
		powerCases(), setCases(), setPowerCases())
}
