package powercut

import (
	"fmt"
	"slices"
	"strings"
)

// Summarize tells of the results of many power cuts, place by place, and whether they hold:
// of what was persisted nothing is missing, and the control of each place of page
// granularity lost something at least once. No results, or a place without control, don't
// hold.
func Summarize(results []Result) (text string, holds bool) {
	var b strings.Builder
	var places []string
	for _, r := range results {
		if !slices.Contains(places, r.Place) {
			places = append(places, r.Place)
		}
	}
	holds = len(places) > 0
	runs, missing := 0, 0
	for _, place := range places {
		var persisted, control tally
		granularity := ""
		for _, r := range results {
			if r.Place != place {
				continue
			}
			granularity = r.Granularity
			if r.Persisted {
				persisted.add(r)
			} else {
				control.add(r)
			}
		}
		runs, missing = max(runs, persisted.runs), missing+persisted.missing
		if persisted.runs == 0 || persisted.missing > 0 || control.runs == 0 {
			holds = false
		}
		fmt.Fprintf(&b, "%s (%s): %d power cuts, %d records persisted, %d missing%s\n",
			place, granularity, persisted.runs, persisted.records, persisted.missing, persisted.where())
		fmt.Fprintf(&b, "  without Persist: ")
		switch {
		case control.runs == 0:
			b.WriteString("not run\n")
		case control.losses > 0:
			fmt.Fprintf(&b, "%d of %d power cuts lost something, %d of %d records\n", control.losses, control.runs, control.missing, control.records)
		case finest(granularity):
			fmt.Fprintf(&b, "not shown: nothing was lost in %d power cuts, this machine keeps what was never flushed\n", control.runs)
		default:
			fmt.Fprintf(&b, "nothing was lost in %d power cuts: they show nothing\n", control.runs)
			holds = false
		}
	}
	fmt.Fprintf(&b, "power cuts: %d runs, %d places, %d persisted records missing\n", runs, len(places), missing)
	return b.String(), holds
}

// tally adds up the results of a place.
type tally struct {
	runs, losses, records, missing int
	first                          *Result // with something missing
}

func (t *tally) add(r Result) {
	t.runs++
	t.records += r.Acknowledged
	t.missing += r.Missing
	if r.Missing > 0 {
		if t.losses++; t.first == nil {
			t.first = &r
		}
	}
}

func (t *tally) where() string {
	if t.first == nil {
		return ""
	}
	return fmt.Sprintf(", first in the run of seed %d: records %v", t.first.Seed, t.first.FirstMissing)
}
