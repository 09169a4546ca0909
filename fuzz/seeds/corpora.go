package seeds

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"pmemlab/conformance"
	"pmemlab/fuzz"
	"pmemlab/fuzz/corpus"
)

// Corpora are the inputs that the contract gives, and which row has which.
type Corpora struct {
	// Inputs are those of each target, by the name of their file.
	Inputs map[string]map[string][]byte
	// Rows are all rows of the contract, by their ids.
	Rows map[string]Row
}

// Row is what a row of the contract has: inputs, or a reason why there is none.
type Row struct {
	// Seeds are files below testdata/fuzz: "FuzzMap/pmem2_map_new-E_MAP_RANGE-1".
	Seeds []string `json:"seeds,omitempty"`
	// Reason is by the row's function.
	Reason string `json:"reason,omitempty"`
}

// makers make the inputs of a trace.
var makers = []func(Trace) ([]seed, error){
	mapSeeds, reservationSeeds, existingSeeds, flushSeeds, memorySeeds, sysfsSeeds, setSeeds, planSeeds, crashSeeds, mediaSeeds,
}

// What there may be at most.
const (
	mostOfTarget = 210 // unless each case gives but one
	mostAtAll    = 250
	mostOfCase   = 6 // of one target; fewer if the target would have too many
)

// caseSeeds are what a case gives.
type caseSeeds struct {
	c         conformance.Case
	seeds     map[string][][]byte // distinct, by target
	elsewhere bool
}

// Make runs all cases and returns what they give. Each input has been run: the error is what
// one has shown. Before each case it calls progress.
func Make(progress func(done, total int, name string)) (*Corpora, error) {
	var all []caseSeeds
	cases := conformance.Cases()
	var errs []error
	for n, c := range cases {
		progress(n, len(cases), c.Name)
		of, err := seedsOf(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("case %s: %w", c.Name, err))
		}
		all = append(all, of)
	}
	for _, t := range fuzz.Targets() {
		errs = append(errs, try(t, all))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return assemble(all), nil
}

// seedsOf runs a case, and what comes of it.
func seedsOf(c conformance.Case) (caseSeeds, error) {
	cs := caseSeeds{c: c, seeds: map[string][][]byte{}}
	t, err := Record(c)
	if err != nil {
		return cs, err
	}
	cs.elsewhere = t.Elsewhere
	var wanted []string
	for _, id := range c.Rows {
		row, _ := conformance.RowByID(id)
		targets, _ := targetsOf(row.Function)
		wanted = append(wanted, targets...)
	}
	var errs []error
	threads := slices.ContainsFunc(c.Rows, func(id string) bool {
		row, _ := conformance.RowByID(id)
		return row.Kind == "thread-safety"
	})
	for _, of := range append([]Trace{t}, t.Children...) {
		var seeds []seed
		for _, maker := range makers {
			some, err := maker(of)
			seeds, errs = append(seeds, some...), append(errs, err)
		}
		for _, s := range seeds {
			known := cs.seeds[s.target]
			if slices.Contains(wanted, s.target) && !slices.ContainsFunc(known, func(b []byte) bool { return string(b) == string(s.input) }) {
				cs.seeds[s.target] = append(known, s.input)
			}
		}
	}
	for _, inputs := range cs.seeds {
		if threads { // which call came first is luck
			slices.SortFunc(inputs, bytes.Compare)
		}
	}
	return cs, errors.Join(errs...)
}

// try runs all inputs of a target. Targets that are about the same addresses can't be there at
// the same time: so it is done for one after the other.
func try(t fuzz.Target, all []caseSeeds) error {
	i, err := t.New()
	if err != nil {
		return err
	}
	var errs []error
	for _, of := range all {
		for _, input := range of.seeds[t.Name] {
			if _, err := i.Run(input); err != nil {
				errs = append(errs, fmt.Errorf("case %s: %w\n%s", of.c.Name, err, fuzz.Reproducer(t.Name, input)))
			}
		}
	}
	return errors.Join(append(errs, i.Close())...)
}

// assemble gives inputs names, and rows their inputs.
func assemble(all []caseSeeds) *Corpora {
	made := &Corpora{Inputs: map[string]map[string][]byte{}, Rows: map[string]Row{}}
	most := mostPerCase(all)
	names := map[string]map[string]string{} // of inputs, by target
	seeds := map[string][]string{}
	elsewhere := map[string]bool{}
	for _, of := range all {
		for _, id := range of.c.Rows {
			elsewhere[id] = elsewhere[id] || of.elsewhere
		}
		for _, target := range slices.Sorted(maps.Keys(of.seeds)) {
			if made.Inputs[target] == nil {
				made.Inputs[target], names[target] = map[string][]byte{}, map[string]string{}
			}
			for _, input := range spread(of.seeds[target], most[target]) {
				name, ok := names[target][string(input)]
				if !ok {
					name = nameOf(of.c.Rows, target)
					if _, taken := made.Inputs[target][name]; taken {
						name += "-" + corpus.Name(input)[:8]
					}
					names[target][string(input)], made.Inputs[target][name] = name, input
				}
				for _, id := range of.c.Rows {
					if wants(id, target) {
						seeds[id] = append(seeds[id], "Fuzz"+target+"/"+name)
					}
				}
			}
		}
	}
	for _, row := range conformance.Rows() {
		r := Row{Seeds: seeds[row.ID]}
		slices.Sort(r.Seeds)
		r.Seeds = slices.Compact(r.Seeds)
		if r.Seeds == nil {
			r.Reason = reasonOf(row, elsewhere[row.ID])
		}
		made.Rows[row.ID] = r
	}
	return made
}

// wants says whether a target is about the function of a row.
func wants(id, target string) bool {
	row, _ := conformance.RowByID(id)
	targets, _ := targetsOf(row.Function)
	return slices.Contains(targets, target)
}

// mostPerCase are how many inputs of each target a case may give, so that there aren't too
// many in all.
func mostPerCase(all []caseSeeds) map[string]int {
	most := map[string]int{}
	for _, t := range fuzz.Targets() {
		for n := mostOfCase; n > 0; n-- {
			distinct := map[string]bool{}
			for _, of := range all {
				for _, input := range spread(of.seeds[t.Name], n) {
					distinct[string(input)] = true
				}
			}
			most[t.Name] = n
			if len(distinct) <= mostOfTarget {
				break
			}
		}
	}
	return most
}

// spread takes n from a list: the first, the last, and as many between them.
func spread(inputs [][]byte, n int) [][]byte {
	if len(inputs) <= n {
		return inputs
	}
	if n == 1 {
		return inputs[:1]
	}
	var some [][]byte
	for i := range n {
		some = append(some, inputs[i*(len(inputs)-1)/(n-1)])
	}
	return some
}

// reasonOf is why a row has no input.
func reasonOf(row conformance.Row, elsewhere bool) string {
	targets, reason := targetsOf(row.Function)
	switch {
	case row.NotApplicable():
		return "not applicable: there is nothing to call"
	case reason != "":
		return reason
	case elsewhere:
		return "its cases run in processes of their own"
	}
	return "its cases call nothing that " + strings.Join(targets, ", ") + " fuzz"
}

var oddities = regexp.MustCompile(`[^A-Za-z0-9_.]+`)

// nameOf is what the file of an input is called: by the first row of its case that the target
// is about.
func nameOf(rows []string, target string) string {
	id := rows[0]
	for _, r := range rows {
		if wants(r, target) {
			id = r
			break
		}
	}
	page, rest, _ := strings.Cut(id, "/")
	for _, prefix := range []string{"PMEM2_", "PMEMSET_"} {
		rest = strings.TrimPrefix(rest, prefix)
	}
	return page + "-" + strings.Trim(oddities.ReplaceAllString(rest, "-"), "-")
}
