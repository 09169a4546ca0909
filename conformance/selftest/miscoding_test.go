package selftest

import (
	"slices"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// miscoding is conformance.Go telling another outcome instead of one.
type miscoding struct{ outcome string }

func (m miscoding) Name() string { return "broken: miscoding " + m.outcome }

func (m miscoding) On(p platform.Platform) conformance.Library {
	return miscodingLibrary{conformance.Go.On(p), m.outcome}
}

type miscodingLibrary struct {
	conformance.Library
	outcome string
}

func (l miscodingLibrary) Outcome(err error) string {
	got := l.Library.Outcome(err)
	if got == l.outcome {
		return "-ECHRNG"
	}
	return got
}

// TestEachOutcomeIsSeen: each row that expects an error fails if that error is told as
// another one, whichever row of the bank it is or isn't.
func TestEachOutcomeIsSeen(t *testing.T) {
	if why := conformance.Emulated().Lacks(conformance.NeedNothing); why != "" {
		t.Skip(why)
	}
	// Two names of one number: what is told is the other one.
	const alias, name = "PMEMSET_E_CANNOT_TRUNCATE_SOURCE_FILE", "PMEMSET_E_CANNOT_GROW_SOURCE_FILE"
	expecting := map[string][]string{}
	for _, r := range conformance.Rows() {
		if r.NotApplicable() || r.Expect == "" || r.Expect == "0" {
			continue
		}
		outcome := r.Expect
		if outcome == alias {
			outcome = name
		}
		expecting[outcome] = append(expecting[outcome], r.ID)
	}
	for outcome, ids := range expecting {
		cases := slices.DeleteFunc(conformance.Cases(), func(c conformance.Case) bool {
			return !slices.ContainsFunc(c.Rows, func(id string) bool { return slices.Contains(ids, id) })
		})
		run := rows(conformance.Check(miscoding{outcome}, conformance.Emulated(), cases, nil))
		for _, id := range ids {
			if got := run[id]; got.Status != report.Fail {
				t.Errorf("%s without the outcome %s: %s (%s), want fail", id, outcome, got.Status, got.Reason)
			}
		}
	}
}
