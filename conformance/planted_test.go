package conformance

import (
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// planted is the Go library with a fault.
type planted struct {
	name string
	on   func(lib Library, machine platform.Platform) Library
}

func (p planted) Name() string { return p.name }
func (p planted) On(machine platform.Platform) Library {
	return p.on(Go.On(machine), machine)
}

// miscoding returns another code instead of PMEM2_E_MAP_RANGE.
type miscoding struct{ Library }

func (l miscoding) Outcome(err error) string {
	if got := l.Library.Outcome(err); got != "PMEM2_E_MAP_RANGE" {
		return got
	}
	return "PMEM2_E_LENGTH_OUT_OF_RANGE"
}

// PlantedInChildren is the fault that child processes of the tests know too.
var PlantedInChildren = planted{"miscoding", func(l Library, _ platform.Platform) Library { return miscoding{l} }}

// leaking maps a page at each successful NewMap and forgets it.
type leaking struct {
	Library
	machine platform.Platform
}

func (l leaking) NewMap(cfg PMem2Config, src Source) (Map, error) {
	m, err := l.Library.NewMap(cfg, src)
	if err == nil {
		_, _ = l.machine.Mmap(0, l.machine.PageSize(), platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	}
	return m, err
}

// handsOut returns a map from NewMap also when it fails.
type handsOut struct{ Library }

func (l handsOut) NewMap(cfg PMem2Config, src Source) (Map, error) {
	m, err := l.Library.NewMap(cfg, src)
	if err != nil {
		return goMap{&pmem2.Map{}}, err
	}
	return m, nil
}

// TestPlantedFaultsAreFound has a case for each fault that finds it and two that
// don't see it: exactly the rows of the one fail, and what they fail with is the
// fault.
func TestPlantedFaultsAreFound(t *testing.T) {
	const (
		codeRow = "pmem2_map_new/PMEM2_E_MAP_RANGE#1"
		mapRow  = "pmem2_config_set_offset/default-zero"
		noRow   = "pmem2_map_new/PMEM2_E_GRANULARITY_NOT_SET#1"
	)
	cases := []Case{
		{Name: "x/code", Rows: []string{codeRow}, Run: func(c *T) {
			cfg := c.Config()
			c.Must(cfg.SetLength(1<<20), "SetLength(1 MiB)")
			_, err := c.Lib.NewMap(cfg, c.FileSource(4096))
			c.Expect("PMEM2_E_MAP_RANGE", err, "NewMap()")
		}},
		{Name: "x/map", Rows: []string{mapRow}, Run: func(c *T) { c.Map(c.Config(), c.FileSource(4096)) }},
		{Name: "x/no map", Rows: []string{noRow}, Run: func(c *T) {
			cfg, err := c.Lib.NewConfig()
			c.Must(err, "NewConfig()")
			c.NoMap("PMEM2_E_GRANULARITY_NOT_SET", cfg, c.FileSource(4096), "")
		}},
	}
	for _, row := range []struct {
		name, fails, reason string
		on                  func(Library, platform.Platform) Library
	}{
		{"nothing", "", "", func(l Library, _ platform.Platform) Library { return l }},
		{"miscoding", codeRow, "got PMEM2_E_LENGTH_OUT_OF_RANGE", PlantedInChildren.on},
		{"leaking", mapRow, "left behind: mapping of", func(l Library, m platform.Platform) Library { return leaking{l, m} }},
		{"handing out", noRow, "returns a map all the same", func(l Library, _ platform.Platform) Library { return handsOut{l} }},
	} {
		for _, target := range []Target{Emulated(), Files(FilesConfig{})} {
			t.Run(row.name+" on "+target.Name(), func(t *testing.T) {
				run := runCases(t, planted{row.name, row.on}, target, cases...)
				for _, id := range []string{codeRow, mapRow, noRow} {
					if id == row.fails {
						wantRow(t, run, id, report.Fail, row.reason)
					} else {
						wantRow(t, run, id, report.Pass, "")
					}
				}
				if wrong := suiteErrors(run); wrong != nil {
					t.Errorf("suite errors %q, want none", wrong)
				}
			})
		}
	}
}

// TestPlantedFaultInTheWholeContract plants the wrong code under every case there
// is. The rows that must fail are those with a case that saw the right code.
func TestPlantedFaultInTheWholeContract(t *testing.T) {
	needsLinux(t)
	if testing.Short() {
		t.Skip("runs every case twice")
	}
	sees := func(r report.Row) bool {
		return slices.ContainsFunc(r.Cases, func(c report.Case) bool {
			return slices.ContainsFunc(c.Calls, func(c Call) bool { return c.Outcome == "PMEM2_E_MAP_RANGE" })
		})
	}
	// Sets have faults of their own: TestFaultsOfSetsAreFound.
	cases := slices.DeleteFunc(Cases(), func(c Case) bool { return strings.Contains(c.Rows[0], "pmemset") })
	healthy := Check(Go, Emulated(), cases, nil)
	wrong := Check(PlantedInChildren, Emulated(), cases, nil)
	found := 0
	for i, r := range healthy.Rows {
		want := r.Status
		if sees(r) {
			want = report.Fail
			found++
		}
		if got := wrong.Rows[i]; got.ID != r.ID || got.Status != want {
			t.Errorf("%s: %s (%s), want %s", got.ID, got.Status, got.Reason, want)
		}
	}
	if found == 0 {
		t.Error("no case sees PMEM2_E_MAP_RANGE")
	}
}
