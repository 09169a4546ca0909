//go:build libpmem2

package suite

import (
	"pmemlab/conformance"
	"pmemlab/conformance/libpmem2"
)

// cSubject is the C library.
func cSubject() conformance.Subject { return libpmem2.Subject }
