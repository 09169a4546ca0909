package pmemset_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sweepVerdict is what must come of a fault.
type sweepVerdict struct {
	outcome  string // "as ever": what comes without the fault
	succeeds bool   // in spite of the fault
	left     bool   // the error names something that is left behind
	use      string // in sweepTable.used
}

// sweepTableOf is a parsed table: verdicts by operation, call and errno.
type sweepTableOf struct {
	verdicts map[string]*sweepVerdict
	used     map[string]bool
}

// parseSweepTable reads the text at sweepTable.
func parseSweepTable(t *testing.T, text string) *sweepTableOf {
	t.Helper()
	table := &sweepTableOf{map[string]*sweepVerdict{}, map[string]bool{}}
	bundles := map[string][]string{}
	var header string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		entry, indented := strings.CutPrefix(line, "\t")
		switch {
		case line == "":
		case !indented:
			header = line
		case strings.HasPrefix(header, "["):
			bundles[header] = append(bundles[header], entry)
		case strings.HasPrefix(entry, "["):
			for name := range strings.SplitSeq(strings.ReplaceAll(entry, "] [", "]\n["), "\n") {
				if bundles[name] == nil {
					t.Fatalf("sweepTable: there is no %s", name)
				}
				for _, line := range bundles[name] {
					table.add(t, header, line)
				}
			}
		default:
			table.add(t, header, entry)
		}
	}
	return table
}

// add enters a line for the operations of a header.
func (table *sweepTableOf) add(t *testing.T, header, line string) {
	t.Helper()
	call, clauses, ok := strings.Cut(line, ": ")
	kind, _, _ := strings.Cut(call, "#")
	all := strings.Fields(sweepErrnos(kind))
	if !ok || len(all) == 0 {
		t.Fatalf("sweepTable: %q isn't understood", line)
	}
	var seen []string
	for clause := range strings.SplitSeq(clauses, "; ") {
		v := sweepVerdict{}
		errnos, outcome, ok := strings.Cut(clause, " = ")
		if !ok {
			errnos, outcome, ok = strings.Cut(clause, " ~ ")
			v.succeeds = true
		}
		if !ok {
			t.Fatalf("sweepTable: %q isn't understood", clause)
		}
		v.outcome, v.left = strings.CutSuffix(outcome, ", left")
		list := strings.Fields(errnos)
		if errnos == "*" {
			list = slices.DeleteFunc(slices.Clone(all), func(e string) bool { return slices.Contains(seen, e) })
		}
		for _, errno := range list {
			if !slices.Contains(all, errno) || slices.Contains(seen, errno) {
				t.Errorf("sweepTable: %s: %s: %s can't be, or is there already", header, line, errno)
			}
			seen = append(seen, errno)
			for _, op := range sweepNames(header) {
				w, key := v, op+": "+call+": "+errno
				w.use = key
				if strings.HasSuffix(header, "*") {
					w.use = header + ": " + call + ": " + errno // one of them suffices
				}
				if table.verdicts[key] != nil {
					t.Errorf("sweepTable has %s twice", key)
				}
				table.verdicts[key] = &w
			}
		}
	}
}

// sweepNames are the operations that a header is of.
func sweepNames(header string) (names []string) {
	if prefix, ok := strings.CutSuffix(header, "*"); ok {
		for _, op := range sweepOperations() {
			if strings.HasPrefix(op.name, prefix) {
				names = append(names, op.name)
			}
		}
		return names
	}
	for name := range strings.SplitSeq(header, " | ") {
		if short, ok := strings.CutPrefix(name, "{Part.}"); ok {
			names = append(names, "Part."+short)
			name = short
		}
		names = append(names, name)
	}
	return names
}

// verdict is that for the n-th call of a kind, from 1; a line for it by number comes
// before one for all of the kind.
func (table *sweepTableOf) verdict(op, kind string, n int, errno string) *sweepVerdict {
	for _, call := range []string{kind + "#" + strconv.Itoa(n), kind} {
		if v := table.verdicts[op+": "+call+": "+errno]; v != nil {
			table.used[v.use] = true
			return v
		}
	}
	return nil
}

// unused complains about what no operation reaches.
func (table *sweepTableOf) unused(t *testing.T) {
	t.Helper()
	for _, v := range table.verdicts {
		if !table.used[v.use] {
			t.Errorf("sweepTable has %s, which no operation reaches", v.use)
		}
	}
}
