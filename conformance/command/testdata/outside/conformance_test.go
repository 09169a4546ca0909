// Package outside checks a library of its own with the conformance suite. It is no part
// of the module.
package outside

import (
	"os"
	"testing"

	"pmemlab/conformance"
	"pmemlab/pmem2/platform"
)

// library is yours: here package pmem2 under another name.
type library struct{}

func (library) Name() string                               { return "mine" }
func (library) On(m platform.Platform) conformance.Library { return conformance.Go.On(m) }

func TestMain(m *testing.M) {
	conformance.RunChild(library{})
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) { conformance.Run(t, conformance.Config{Subject: library{}}) }

func TestMapNewInAnyOrder(t *testing.T) {
	rows := func(r conformance.Row) bool { return r.Page == "pmem2_map_new" }
	conformance.Run(t, conformance.Config{Subject: library{}, Rows: rows, Seed: 42})
}
