package pmem2_test

import (
	"os"
	"testing"
)

// TestMain takes the library's own variable out of the environment: the tests say
// themselves what it is.
func TestMain(m *testing.M) {
	os.Unsetenv("PMEM2_FORCE_GRANULARITY")
	os.Exit(m.Run())
}
