//go:build !nosuite

package fuzz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// validReport is the text of a report with a run that is whole and one in two parts.
func validReport() []byte {
	row := func(id string, status report.Status) report.Row {
		return report.Row{
			ID: id, Library: "pmem2", Page: "pmem2_map_new", Editions: []string{"1.12.1"}, Status: status, Reason: "why",
			Cases: []report.Case{{Name: id + "/a", Variant: "dax", Status: status, Calls: []report.Call{{Call: "NewMap", Outcome: "0"}}}},
		}
	}
	run := func(target, shard string, rows ...report.Row) report.Run {
		return report.Run{
			Subject: "go", Target: target, Shard: shard, Capabilities: []string{"file"},
			Facts: []report.Fact{{Name: "kernel", Has: true, Value: "6.18.5", Why: "uname"}}, Rows: rows, Summary: report.Summarize(rows),
		}
	}
	var b bytes.Buffer
	err := report.New(
		run("emulated", "", row("x/1", report.Pass), row("x/2", report.Fail)),
		run("files", "1/2", row("x/1", report.NotSupported)), run("files", "2/2", row("x/2", report.KnownDivergence)),
	).WriteJSON(&b)
	if err != nil {
		panic(err) // it is valid
	}
	return b.Bytes()
}

// readReport reads a report, and holds that it is the same when it is written and read again,
// and no other than itself. Of one whose parts go together it makes one that can be read.
func readReport(text []byte) (rep *report.Report, merges bool, err error) {
	read, err := report.Read(bytes.NewReader(text))
	if err != nil {
		return nil, false, nil
	}
	var b bytes.Buffer
	if err := read.WriteJSON(&b); err != nil {
		return nil, false, fmt.Errorf("what was read can't be written: %w", err)
	}
	again, err := report.Read(bytes.NewReader(b.Bytes()))
	if err != nil || !reflect.DeepEqual(again, read) {
		return nil, false, fmt.Errorf("%w: got %+v, %w, want %+v", errDiffers, again, err, read)
	}
	changes := report.Diff(read, again)
	b.Reset()
	if err := report.WriteChanges(&b, changes); err != nil || len(changes) > 0 {
		return nil, false, fmt.Errorf("it isn't like itself: %s, %w", b.Bytes(), err)
	}
	merged, err := conformance.Merge(read)
	if err != nil {
		return &read, false, nil
	}
	b.Reset()
	if err := merged.WriteJSON(&b); err != nil {
		return nil, false, fmt.Errorf("what was merged can't be written: %w", err)
	}
	if _, err := report.Read(&b); err != nil {
		return nil, false, fmt.Errorf("what was merged can't be read: %w", err)
	}
	return &read, true, nil
}

// runReport edits a report anywhere.
func (i *filesInstance) runReport(input []byte) (bool, error) {
	b := i.edited(i.report, input)
	rep, _, err := readReport(b)
	if err == nil && rep != nil && !json.Valid(b) {
		err = errors.New("what isn't JSON is accepted")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", b, err)
	}
	return rep != nil, err
}

// reportInputSize is how many bytes runRows looks at.
const reportInputSize = 2 + mostRuns*(3+2*mostRows)

const mostRuns, mostRows = 3, 3

// reportShards are what runs say of their part, and which it is.
var reportShards = [...]struct {
	text         string
	index, count int // 0: none at all
}{{"", 1, 1}, {"1/2", 1, 2}, {"2/2", 2, 2}, {"1+1/2", 2, 2}, {"1/1", 1, 1}, {"2/3", 2, 3}, {"0/2", 0, 0}, {"3/2", 0, 0}}

// runRows makes a report of runs and rows, and knows whether it is one, and whether its
// parts go together.
func (i *filesInstance) runRows(input []byte) (bool, error) {
	next := func() (b byte) {
		if len(input) > 0 {
			b, input = input[0], input[1:]
		}
		return b
	}
	statuses := report.Statuses()
	valid, merges := true, true
	rep := report.Report{Schema: report.Schema, Runs: []report.Run{}}
	if next() >= 250 {
		rep.Schema, valid = "pmemlab.conformance/v2", false
	}
	type part struct{ target, shard string }
	parts := map[part]bool{}
	rowsOf := map[[2]string]bool{} // of a target, in whatever part
	shards := map[string][]int{}   // of a target
	for range next() % (mostRuns + 1) {
		shard := reportShards[next()%byte(len(reportShards))]
		run := report.Run{Subject: "go", Target: string('a' + rune(next()%4/3)), Shard: shard.text, Capabilities: []string{}}
		p := part{run.Target, shard.text}
		valid = valid && !parts[p]
		parts[p] = true
		shards[run.Target] = append(shards[run.Target], shard.index<<8|shard.count)
		head := next()
		ids := map[string]bool{}
		for range head % (mostRows + 1) {
			id, status := strconv.Itoa(int(next()%8)), next()
			s := statuses[status%6]
			if status >= 250 {
				s, valid = "other", false
			}
			run.Rows = append(run.Rows, report.Row{ID: id, Page: "p", Status: s})
			valid = valid && !ids[id]
			merges = merges && !rowsOf[[2]string{run.Target, id}]
			ids[id], rowsOf[[2]string{run.Target, id}] = true, true
		}
		run.Summary = report.Summarize(run.Rows)
		if head >= 248 {
			run.Summary.Pass, run.Summary.Fail = run.Summary.Pass+1, run.Summary.Fail-int(head%2)
			valid = false
		}
		rep.Runs = append(rep.Runs, run)
	}
	for _, of := range shards {
		merges = merges && complete(of)
	}
	var b bytes.Buffer
	if err := rep.WriteJSON(&b); err != nil {
		return false, err
	}
	got, merged, err := readReport(b.Bytes())
	switch {
	case err != nil:
	case (got != nil) != valid:
		err = fmt.Errorf("got a report: %t, want one: %t", got != nil, valid)
	case valid && merged != merges:
		err = fmt.Errorf("its parts go together: %t, want %t", merged, merges)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", b.Bytes(), err)
	}
	return got != nil, err
}

// complete says whether shards, each an index and a count, are all of one run, each once.
func complete(shards []int) bool {
	count := shards[0] & 0xff
	var seen int
	for _, s := range shards {
		if s&0xff != count || count == 0 || seen>>(s>>8)&1 != 0 {
			return false
		}
		seen |= 1 << (s >> 8)
	}
	return len(shards) == count
}

// partPieces are what the bytes from 0x80 on stand for in the texts of parts and declarations.
var partPieces = [...]string{
	"1/2", "2/3", "+1", "/", "9223372036854775807", "9223372036854775808", "-1", "0", "!", "=", "kernel", "mapsync", "eadr", "devdax.align", "6.18.5", "6.18",
	"6.1", "6", "4096", "2097152", ",", ".", "-", "devdax", "nothing",
}

func (i *filesInstance) expand(input []byte) string {
	i.text = i.text[:0]
	for _, b := range input {
		if b < 0x80 {
			i.text = append(i.text, b)
		} else {
			i.text = append(i.text, partPieces[int(b-0x80)%len(partPieces)]...)
		}
	}
	return string(i.text)
}

// runShard reads which part of a run is meant.
func (i *filesInstance) runShard(input []byte) (bool, error) {
	text := i.expand(input)
	s, err := conformance.ParseShard(text)
	if err != nil {
		return false, nil
	}
	again, err := conformance.ParseShard(s.String())
	switch {
	case err != nil || again != s:
		return false, fmt.Errorf("%q: %w: got %v, %w, want %v", text, errDiffers, again, err, s)
	case (text == "") != (s == conformance.Shard{}) || text != "" && (s.Index < 1 || s.Index > s.Count):
		return false, fmt.Errorf("%q: got %v, which is no part", text, s)
	case text != "" && !strings.ContainsAny(text, "/"):
		return false, fmt.Errorf("%q: got %v without a number of parts", text, s)
	}
	return true, nil
}

// declaredTarget is a target that has these facts.
type declaredTarget struct{}

var declaredFacts = []report.Fact{
	{Name: "kernel", Has: true, Value: "6.18.5"}, {Name: "mapsync", Has: true}, {Name: "cpu", Why: "nobody knows"},
	{Name: "devdax.align", Has: true, Value: "4096,2097152"},
}

// Name is conformance.Target.Name, and so on.
func (declaredTarget) Name() string                     { return "declared" }
func (declaredTarget) Capabilities() []conformance.Need { return nil }
func (declaredTarget) Lacks(conformance.Need) string    { return "it has nothing" }
func (declaredTarget) Variants() []string               { return []string{""} }
func (declaredTarget) NewEnv(string) (conformance.Env, error) {
	return nil, errors.New("it has no place")
}
func (declaredTarget) Facts() []report.Fact { return declaredFacts }

// runDeclaration compares what is said of a target with what is there.
func (i *filesInstance) runDeclaration(input []byte) (bool, error) {
	text := i.expand(input)
	wrong := conformance.CheckDeclared(declaredTarget{}, []string{text})
	want, known := isSo(text)
	if known && (len(wrong) == 0) != want {
		return false, fmt.Errorf("%q: got %q, want that it is so: %t", text, wrong, want)
	}
	lacking := conformance.CheckRequired(declaredTarget{}, []string{text})
	if strings.HasPrefix(text, "!") != (len(lacking) > 0 && len(wrong) == 0) && len(wrong) == 0 || len(wrong) > 0 && len(lacking) == 0 {
		return false, fmt.Errorf("%q: as declared %q, as required %q", text, wrong, lacking)
	}
	return len(wrong) == 0, nil
}

// isSo says whether a declaration is so, if it is of one of the facts.
func isSo(text string) (so, known bool) {
	negated := text != "" && text[0] == '!'
	if negated {
		text = text[1:]
	}
	name, value, told := strings.Cut(text, "=")
	for _, f := range declaredFacts {
		if f.Name != name {
			continue
		}
		switch {
		case negated:
			return !f.Has && !told, true
		case !f.Has || !told:
			return f.Has, true
		}
		for v := range strings.SplitSeq(f.Value, ",") {
			if value != "" && (v == value || strings.HasPrefix(v, value+".") || strings.HasPrefix(v, value+"-")) {
				return true, true
			}
		}
		return false, true
	}
	return false, false
}
