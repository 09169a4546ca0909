//go:build !libpmem2

package suite

import "pmemlab/conformance"

// cSubject is the C library; nil where the program was built without it.
func cSubject() conformance.Subject { return nil }
