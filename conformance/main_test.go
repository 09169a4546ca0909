package conformance

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	RunChild(PlantedInChildren)
	os.Exit(m.Run())
}
