package selftest

import (
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
)

// withoutFault are pages that no fault breaks, and why.
var withoutFault = map[string]string{}

// notImitated are rows of which C does something that stands behind no call.
var notImitated = map[string]string{
	"pmem2_map_from_existing/api-usable-without-map-new": "a persist that doesn't return: the case would break, not fail",
	"pmem2_source_numa_node/needs-libndctl":              "which libraries are loaded is no call's",
	"pmemset_map_config_set_length/(text)#1":             "a name that doesn't exist",
	"pmemset_map_config_set_offset/(text)#1":             "a name that doesn't exist",
	"pmemset_source_set_sds/(text)#1":                    "values of constants, which are package pmemset's in all subjects",
}

func TestBankIsInOrder(t *testing.T) {
	names := map[string]bool{}
	for _, b := range Bank() {
		if names[b.Name] {
			t.Errorf("two broken subjects are named %q", b.Name)
		}
		names[b.Name] = true
		row, known := conformance.RowByID(b.Row)
		if !known || row.NotApplicable() || row.Page != b.Page {
			t.Errorf("%s: row %s isn't one that can be broken", b.Name, b.Row)
		}
		if strings.Contains(b.Subject().Name(), "\n") || b.Name == "" {
			t.Errorf("%q is no name", b.Name)
		}
	}
	if len(names) < 110 {
		t.Errorf("the bank has %d broken subjects", len(names))
	}
}

// TestEveryPageIsBroken: each page with a row that can be checked has a fault, or a reason
// why not.
func TestEveryPageIsBroken(t *testing.T) {
	broken := map[string]bool{}
	for _, b := range Bank() {
		broken[b.Page] = true
	}
	rows := slices.DeleteFunc(conformance.Rows(), conformance.Row.NotApplicable)
	for _, page := range conformance.Pages(rows) {
		if why, excused := withoutFault[page]; excused == broken[page] {
			t.Errorf("%s: is broken by a fault: %v; excused: %v (%s)", page, broken[page], excused, why)
		}
		delete(broken, page)
	}
	for page := range broken {
		t.Errorf("%s: has a fault, and no row that can be checked", page)
	}
}

// TestFaultsOfC: where C does otherwise than the ruling, or has an effect that the ruling
// doesn't know, a subject of the bank does as C.
func TestFaultsOfC(t *testing.T) {
	imitated := map[string]bool{}
	for _, b := range Bank() {
		imitated[b.Row] = imitated[b.Row] || b.OfC
	}
	for _, row := range conformance.Rows() {
		ref := row.Reference
		differs := !row.NotApplicable() && (ref.Expect != "" && ref.Expect != row.Expect || ref.Effect != "")
		why, excused := notImitated[row.ID]
		switch {
		case differs && imitated[row.ID] == excused:
			t.Errorf("%s: C's %s %s is imitated: %v; excused: %v (%s)", row.ID, ref.Expect, ref.Effect, imitated[row.ID], excused, why)
		case !differs && imitated[row.ID]:
			t.Errorf("%s: has a fault of C, which C doesn't have", row.ID)
		case !differs && excused:
			t.Errorf("%s: is excused, and C has no fault there", row.ID)
		}
	}
}
