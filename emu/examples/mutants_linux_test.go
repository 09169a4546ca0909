package examples

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/examples/mutate"
	"pmemlab/emu/examples/pmem"
)

var rewrite = flag.Bool("rewrite", false, "write what was found to the track record in doc.go")

// Why a mutant is equivalent: the proofs, by their letters in the documentation.
var proofs = []struct{ letter, proof string }{
	{"A", "A drain more makes durable sooner what has been flushed. So power failures leave some of the images that they could leave before, and no others."},
	{"B", "Recovery doesn't read what is copied before the word that is stored after the next drain names it, and that drain waits for both kinds of stores: temporal ones are flushed by the copy itself."},
	{"C", "The log that is applied stays committed until the drain that follows, which waits for both kinds of stores; after a power failure before that, recovery writes all of it again, whatever is there."},
	{"D", "Words may become durable in any order, with either kind of stores: what lacks some of them has the wrong checksum. The drain at the end of the copy waits for both kinds."},
	{"E", "Each copy is one word, and words may become durable in any order. The drain that follows waits for both kinds of stores."},
}

// equivalent names the proof of each mutant that no power failure can tell from the program.
var equivalent = map[[3]string]string{
	{"append log", "Log.Append 1: Memcpy", string(mutate.Drain)}:                          "A",
	{"append log", "Log.Append 1: Memcpy", string(mutate.NonTemporal)}:                    "B",
	{"double buffer", "Buffer.Publish 1: Memcpy", string(mutate.Drain)}:                   "A",
	{"double buffer", "Buffer.Publish 1: Memcpy", string(mutate.Temporal)}:                "B",
	{"double buffer", "Buffer.Publish 2: Memset", string(mutate.Drain)}:                   "A",
	{"double buffer", "Buffer.Publish 2: Memset", string(mutate.NonTemporal)}:             "B",
	{"two-file commit", "Store.Commit 1: Memcpy", string(mutate.Drain)}:                   "A",
	{"two-file commit", "Store.Commit 1: Memcpy", string(mutate.NonTemporal)}:             "B",
	{"two-file commit", "Store.apply 1: Memcpy", string(mutate.Drain)}:                    "A",
	{"two-file commit", "Store.apply 1: Memcpy", string(mutate.NonTemporal)}:              "C",
	{"torn records with a checksum", "Torn.Append 1: Memcpy", string(mutate.NonTemporal)}: "D",
	{"batch with one drain", "Words.Set 1: Memcpy", string(mutate.Drain)}:                 "A",
	{"batch with one drain", "Words.Set 1: Memcpy", string(mutate.NonTemporal)}:           "E",
	{"non-temporal copies", "Blocks.Add 1: Memcpy", string(mutate.Temporal)}:              "B",
}

const (
	mutantSeeds  = 4   // lives of a mutant, of MaxOps operations, in the stand-in
	mutantImages = 400 // at each point where power fails
	// The same on the machine.
	machineSeeds, machineOps, machineImages = 2, 5, 60
)

// sites are the calls in the source of the examples.
func sites(t *testing.T) map[mutate.Place]mutate.Site {
	t.Helper()
	all := map[mutate.Place]mutate.Site{}
	read := map[string]bool{}
	for _, e := range All() {
		if read[e.Package] {
			continue
		}
		read[e.Package] = true
		found, err := mutate.Source(e.Package)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range found {
			all[s.Place] = s
		}
	}
	return all
}

// seen runs an example as it is, and returns the program that knows its calls.
func seen(t *testing.T, e Example) *mutate.Program {
	t.Helper()
	var p mutate.Program
	for seed := range uint64(mutantSeeds) {
		if x := explore(e.NewCase(seed, MaxOps), e.Files, &p, mutantImages); x.found != nil {
			t.Fatalf("%s, seed %d, correct: %v", e.Name, seed, x.found)
		}
	}
	return &p
}

// TestCorrect looks for findings in the programs as they are, in many lives.
func TestCorrect(t *testing.T) {
	const seeds, ops, images, checked = 1000, 2, 24, 100
	for _, e := range All() {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			n := uint64(0)
			for seed := range uint64(seeds) {
				x := explore(e.NewCase(seed, ops), e.Files, &mutate.Program{}, images)
				if x.found != nil {
					t.Fatalf("seed %d: %v", seed, x.found)
				}
				n += x.images
			}
			m, stop := machine(t)
			defer stop()
			for seed := range uint64(checked) {
				if rules := findings(t, m, e, e.NewCase(seed, MaxOps), &mutate.Program{}); len(rules) > 0 {
					t.Errorf("seed %d: the checker finds %v", seed, rules)
				}
			}
			t.Logf("%d seeds, %d images", seeds, n)
		})
	}
}

// TestMutants breaks each call of each example, and compares what is found with the track
// record in the documentation.
func TestMutants(t *testing.T) {
	source := sites(t)
	examples := All()
	tables, runs := make([]string, len(examples)), make([]*mutate.Program, len(examples))
	t.Run("examples", func(t *testing.T) {
		for i, e := range examples {
			t.Run(e.Name, func(t *testing.T) {
				t.Parallel()
				runs[i] = seen(t, e)
				tables[i] = trackRecord(t, e, runs[i], source)
			})
		}
	})
	if slices.Contains(runs, nil) {
		return // not all were to run
	}
	called := map[mutate.Place]bool{}
	for _, p := range runs {
		for _, at := range p.Places() {
			called[at] = true
			if _, ok := source[at]; !ok {
				t.Errorf("%v was called, which isn't found in the source", at)
			}
		}
	}
	for at, s := range source {
		if !called[at] {
			t.Errorf("%v, at %v, was never called: its mutants weren't tried", s, at)
		}
	}
	if !t.Failed() {
		compareDoc(t, strings.Join(tables, "\n"))
	}
}

// trackRecord tries all mutants of e and returns what became of them as lines of text.
func trackRecord(t *testing.T, e Example, p *mutate.Program, source map[mutate.Place]mutate.Site) string {
	listed := map[[3]string]bool{}
	for k := range equivalent {
		if k[0] == e.Name {
			listed[k] = true
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", e.Name, e.Package)
	for _, at := range p.Places() {
		site := source[at].String()
		var outcomes []string
		mutations := map[string][]string{} // by outcome
		for _, m := range p.Mutants() {
			if m.Place != at {
				continue
			}
			key := [3]string{e.Name, site, string(m.Mutation)}
			proof, isListed := equivalent[key]
			delete(listed, key)
			standin, standinSeed := findMutant(e, m)
			machine, seed := exploreMutant(t, e, m, 1)
			rules := checkerRules(t, e, m)
			outcome := "equivalent, " + proof
			switch {
			case isListed && (standin != nil || machine != nil || rules != ""):
				t.Errorf("%v, said to be equivalent, was found: with seed %d %v; with seed %d %v; by the checker:%s",
					key, standinSeed, standin, seed, machine, rules)
			case isListed:
			case standin == nil || machine == nil:
				t.Errorf("%v at %v isn't listed as equivalent, and wasn't found: by the stand-in %v, on the machine %v", key, at, standin, machine)
			case standin.program:
				t.Errorf("%v at %v: the program itself fails, seed %d: %v", key, at, standinSeed, standin)
			default:
				outcome = machine.text(source)
				if again, _ := exploreMutant(t, e, m, 0); again == nil || again.text(source) != outcome {
					t.Errorf("%v at %v: with the kernel's scan of pages %s, without it %v", key, at, outcome, again)
				}
				if rules != "" {
					outcome += ";" + rules
				}
				if len(p.Places()) > 1 && !machine.names(m, source[at]) { // else no other call is left to name
					t.Errorf("%v at %v was found, but isn't named: %v", key, at, machine)
				}
			}
			if mutations[outcome] == nil {
				outcomes = append(outcomes, outcome)
			}
			mutations[outcome] = append(mutations[outcome], string(m.Mutation))
		}
		for _, o := range outcomes {
			fmt.Fprintf(&b, "  %s: %s: %s\n", site, strings.Join(mutations[o], " | "), o)
		}
	}
	for k := range listed {
		t.Errorf("%v is listed as equivalent, but there's no such mutant that isn't found", k)
	}
	return b.String()
}

func findMutant(e Example, m mutate.Mutant) (f *lost, seed uint64) {
	for seed := range uint64(mutantSeeds) {
		if x := explore(e.NewCase(seed, MaxOps), e.Files, &mutate.Program{Mutant: m}, mutantImages); x.found != nil {
			return x.found, seed
		}
	}
	return nil, 0
}

// kind is a word for what recovery or check said.
func kind(err error) string {
	switch {
	case errors.Is(err, pmem.ErrLost):
		return "lost"
	case errors.Is(err, pmem.ErrTorn):
		return "torn"
	default:
		return "refused"
	}
}

// compareDoc compares the track record with that in doc.go, or puts it there.
func compareDoc(t *testing.T, table string) {
	const name, begin, end = "doc.go", "when the program ends.\n//\n", "package examples\n"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	from, to := strings.Index(doc, begin), strings.LastIndex(doc, end)
	if from < 0 || to < from {
		t.Fatalf("%s has no %q before %q", name, begin, end)
	}
	from += len(begin)
	var want strings.Builder
	for line := range strings.Lines(table) {
		want.WriteString(strings.TrimRight("//\t"+line, "\t\n") + "\n")
	}
	want.WriteString(`//
// refused: the file isn't consistent, and recovery fails. torn: it holds what was never
// written. lost: an operation that was acknowledged isn't there. The equivalent programs
// have a proof each, since no test can tell them from the correct one:
//
`)
	for _, p := range proofs {
		line := "//   - " + p.letter + ":"
		for word := range strings.FieldsSeq(p.proof) {
			if len(line)+1+len(word) > 96 {
				want.WriteString(line + "\n")
				line = "//    "
			}
			line += " " + word
		}
		want.WriteString(line + "\n")
	}
	if got := doc[from:to]; got != want.String() {
		if *rewrite {
			if err := os.WriteFile(name, []byte(doc[:from]+want.String()+doc[to:]), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("%s has this track record (go test -rewrite puts the right one there):\n%s\nwant:\n%s", name, got, want.String())
	}
}
