package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/conformance/report"
)

// Merge makes one report of those of several processes or machines: of the shards of a
// run it makes the run, and it puts runs of different subjects and targets side by side.
// It is an error if a shard is missing or there twice, or a row stands in two of them.
func Merge(parts ...report.Report) (report.Report, error) {
	var names []string
	of := map[string][]report.Run{}
	for _, part := range parts {
		for _, run := range part.Runs {
			if of[run.Name()] == nil {
				names = append(names, run.Name())
			}
			of[run.Name()] = append(of[run.Name()], run)
		}
	}
	var runs []report.Run
	for _, name := range names {
		run, err := mergeShards(of[name])
		if err != nil {
			return report.Report{}, fmt.Errorf("%s: %w", name, err)
		}
		runs = append(runs, run)
	}
	return report.New(runs...), nil
}

// mergeShards makes the run of its shards.
func mergeShards(shards []report.Run) (report.Run, error) {
	parts := make([]Shard, len(shards))
	for i, s := range shards {
		part, err := ParseShard(s.Shard)
		if err != nil {
			return report.Run{}, err
		}
		if part.Count == 0 {
			part = Shard{1, 1}
		}
		parts[i] = part
	}
	count := parts[0].Count
	for i := 1; i <= count; i++ {
		switch n := countFunc(parts, func(p Shard) bool { return p.Index == i }); n {
		case 0:
			return report.Run{}, fmt.Errorf("shard %d/%d is missing", i, count)
		case 1:
		default:
			return report.Run{}, fmt.Errorf("shard %d/%d is there %d times", i, count, n)
		}
	}
	if i := slices.IndexFunc(parts, func(p Shard) bool { return p.Count != count }); i >= 0 {
		return report.Run{}, fmt.Errorf("shard %v isn't one of %d", parts[i], count)
	}

	for _, s := range shards {
		if s.Whole != shards[0].Whole {
			return report.Run{}, fmt.Errorf("shard %s and shard %s are of runs that chose other rows, or have other cases", shards[0].Shard, s.Shard)
		}
	}

	merged := report.Run{Subject: shards[0].Subject, Target: shards[0].Target, Capabilities: []string{}}
	in := map[string]string{} // shard by row
	var suite []string
	for _, s := range shards {
		for _, c := range s.Capabilities {
			if !slices.Contains(merged.Capabilities, c) {
				merged.Capabilities = append(merged.Capabilities, c)
			}
		}
		merged.Facts = mergeFacts(merged.Facts, s.Facts)
		for _, row := range s.Rows {
			if row.Page == suitePage {
				if !slices.Contains(suite, row.Reason) {
					suite = append(suite, row.Reason)
				}
				continue
			}
			if other, ok := in[row.ID]; ok {
				return report.Run{}, fmt.Errorf("row %s is in shard %s and in shard %s", row.ID, other, s.Shard)
			}
			in[row.ID] = s.Shard
			merged.Rows = append(merged.Rows, row)
		}
	}
	place := map[string]int{}
	for i, row := range Rows() {
		place[row.ID] = i + 1
	}
	last := len(place) + 1 // what another version of the contract has
	slices.SortStableFunc(merged.Rows, func(a, b report.Row) int {
		pa, pb := place[a.ID], place[b.ID]
		if pa == 0 {
			pa = last
		}
		if pb == 0 {
			pb = last
		}
		return pa - pb
	})
	for i := range merged.Rows {
		if row, ok := RowByID(merged.Rows[i].ID); ok {
			merged.Rows[i].About = about(row)
		}
	}
	for i, wrong := range suite {
		merged.Rows = append(merged.Rows, suiteRow(i, wrong))
	}
	merged.Summary = report.Summarize(merged.Rows)
	return merged, nil
}

// mergeFacts adds what another machine found out. Where the two differ both are told.
func mergeFacts(facts, more []report.Fact) []report.Fact {
	for _, f := range more {
		i := slices.IndexFunc(facts, func(old report.Fact) bool { return old.Name == f.Name })
		switch {
		case i < 0:
			facts = append(facts, f)
		case facts[i] != f:
			facts[i].Has = facts[i].Has && f.Has
			facts[i].Value = both(facts[i].Value, f.Value)
			facts[i].Why = both(facts[i].Why, f.Why)
		}
	}
	return facts
}

// both are two texts, or the one that they are.
func both(a, b string) string {
	switch {
	case b == "" || slices.Contains(strings.Split(a, " | "), b):
		return a
	case a == "":
		return b
	}
	return a + " | " + b
}

func countFunc[E any](s []E, want func(E) bool) (n int) {
	for _, e := range s {
		if want(e) {
			n++
		}
	}
	return n
}
