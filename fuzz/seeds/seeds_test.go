package seeds

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
)

var rewrite = flag.Bool("rewrite", false, "write the golden table anew")

const testdata = "../testdata"

func index(t *testing.T) map[string]Row {
	t.Helper()
	rows, err := ReadIndex(testdata)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestEveryRowIsThere: the index has each row of the contract and no other, with inputs or with
// a reason.
func TestEveryRowIsThere(t *testing.T) {
	rows := index(t)
	for _, row := range conformance.Rows() {
		r, ok := rows[row.ID]
		switch {
		case !ok:
			t.Errorf("%s isn't in the index: go run ./fuzz/seeds/run makes it anew", row.ID)
		case (len(r.Seeds) > 0) == (r.Reason != ""):
			t.Errorf("%s has %d inputs and the reason %q, want one or the other", row.ID, len(r.Seeds), r.Reason)
		case row.NotApplicable() && len(r.Seeds) == 0 && !strings.HasPrefix(r.Reason, "not applicable"):
			t.Errorf("%s has the reason %q, the contract says that it is not applicable", row.ID, r.Reason)
		}
		delete(rows, row.ID)
	}
	for id := range rows {
		t.Errorf("%s is in the index, and not in the contract", id)
	}
}

// found are the names of what a fuzzer has found, by itself.
var found = regexp.MustCompile(`^[0-9a-f]{16}$`)

// TestFilesAreThere: what the index names is there, and what is there and has a name of a row
// is in the index.
func TestFilesAreThere(t *testing.T) {
	named := map[string]bool{}
	for id, r := range index(t) {
		for _, name := range r.Seeds {
			named[name] = true
			if _, err := os.Stat(filepath.Join(testdata, corporaIn, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	paths, err := filepath.Glob(filepath.Join(testdata, corporaIn, "Fuzz*", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files are there, %v", len(paths), err)
	}
	of := map[string]int{}
	for _, path := range paths {
		target, name := filepath.Base(filepath.Dir(path)), filepath.Base(path)
		if found.MatchString(name) {
			continue
		}
		of[target]++
		if !named[target+"/"+name] {
			t.Errorf("no row of the index names %s/%s", target, name)
		}
	}
	for target, n := range of {
		if n > mostAtAll {
			t.Errorf("%s has %d inputs of the contract, want no more than %d", target, n, mostAtAll)
		}
	}
}

// TestRowsOfPages: how many rows of each page have inputs is what the golden table says, so
// that none loses them unseen.
func TestRowsOfPages(t *testing.T) {
	pages, seeded, all := SeededByPage(index(t))
	var b strings.Builder
	for _, p := range pages {
		fmt.Fprintf(&b, "%-48s %3d of %3d\n", p, seeded[p], all[p])
	}
	const golden = "testdata/pages.txt"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		for i, line := range strings.Split(got, "\n") {
			if w := strings.Split(string(want), "\n"); i >= len(w) || w[i] != line {
				t.Errorf("got %q, which isn't in the table: -rewrite writes it anew", line)
			}
		}
	}
}

// TestOneCase: what a case has called becomes inputs, the same each time.
func TestOneCase(t *testing.T) {
	if why := conformance.Emulated().Lacks(conformance.NeedNothing); why != "" {
		t.Skip(why)
	}
	for name, target := range map[string]string{
		"pmem2_map_new/no map on failure":                     "Map",
		"pmem2_vm_reservation_extend/grows-by-size":           "Reservation",
		"pmem2_map_from_existing/registered already":          "Existing",
		"pmemset_remove_part_map/removes-all-coalesced-parts": "Set",
		"pmem2_deep_flush/anonymous memory":                   "Flush",
		"pmem2_source_pread_mcsafe/reads-device":              "Media",
	} {
		n := slices.IndexFunc(conformance.Cases(), func(c conformance.Case) bool { return c.Name == name })
		if n < 0 {
			t.Errorf("there is no case %q", name)
			continue
		}
		first, err := seedsOf(conformance.Cases()[n])
		if err != nil {
			t.Fatal(err)
		}
		again, err := seedsOf(conformance.Cases()[n])
		if err != nil || fmt.Sprint(first.seeds) != fmt.Sprint(again.seeds) {
			t.Errorf("%s: got %v, then %v (%v)", first.c.Name, first.seeds, again.seeds, err)
		}
		if len(first.seeds[target]) == 0 {
			t.Errorf("%s gives no input of %s", first.c.Name, target)
		}
	}
}
