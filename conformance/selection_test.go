package conformance

import (
	"fmt"
	"slices"
	"testing"
)

// TestShards deals the contract out to several numbers of processes: each row and each
// case is in one of them, in one with all that it shares.
func TestShards(t *testing.T) {
	for _, want := range []func(Row) bool{nil, func(r Row) bool { return r.Page == "pmem2_map_new" }, func(Row) bool { return false }} {
		whole := Select(Cases(), want)
		for _, n := range []int{1, 2, 3, 7, 100, 2000} {
			t.Run(fmt.Sprintf("%d rows in %d", len(whole.Rows), n), func(t *testing.T) {
				rows, cases := map[string]int{}, map[string]int{}
				for i := 1; i <= n; i++ {
					part, err := whole.Shard(Shard{i, n})
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range part.Rows {
						rows[r.ID]++
					}
					for _, c := range part.Cases {
						cases[c.Name]++
						for _, id := range c.Rows {
							chosen := slices.ContainsFunc(whole.Rows, func(r Row) bool { return r.ID == id })
							if here := slices.ContainsFunc(part.Rows, func(r Row) bool { return r.ID == id }); here != chosen {
								t.Errorf("part %d has the case %s and not its row %s", i, c.Name, id)
							}
						}
					}
					if share := len(whole.Cases) / n; len(part.Cases) > 2*share+40 {
						t.Errorf("part %d has %d cases of %d", i, len(part.Cases), len(whole.Cases))
					}
				}
				for _, r := range whole.Rows {
					if rows[r.ID] != 1 {
						t.Errorf("row %s is in %d parts", r.ID, rows[r.ID])
					}
				}
				for _, c := range whole.Cases {
					if cases[c.Name] != 1 {
						t.Errorf("case %s is in %d parts", c.Name, cases[c.Name])
					}
				}
				if len(rows) != len(whole.Rows) || len(cases) != len(whole.Cases) {
					t.Errorf("the parts have %d rows and %d cases, want %d and %d", len(rows), len(cases), len(whole.Rows), len(whole.Cases))
				}
			})
		}
	}
	part, err := Select(Cases(), nil).Shard(Shard{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Shard(Shard{1, 2}); err == nil {
		t.Error("a part is dealt out once more")
	}
	for _, bad := range []Shard{{Index: 3}, {Count: 2}, {3, 2}, {-1, 2}, {1, -1}} {
		if _, err := Select(Cases(), nil).Shard(bad); err == nil {
			t.Errorf("shard %+v is taken", bad)
		}
	}
}

func TestParseShard(t *testing.T) {
	for _, row := range []struct {
		text string
		want Shard
		ok   bool
	}{
		{"", Shard{}, true}, {"1/1", Shard{1, 1}, true}, {"2/3", Shard{2, 3}, true}, {"3/3", Shard{3, 3}, true},
		{"0+1/3", Shard{1, 3}, true}, {"2+1/3", Shard{3, 3}, true}, {"3+1/3", Shard{}, false}, {"-1+1/3", Shard{}, false},
		{"+1/3", Shard{}, false}, {"1+2/3", Shard{}, false}, {"1+1+1/3", Shard{}, false}, {"9223372036854775807+1/3", Shard{}, false},
		{"0/3", Shard{}, false}, {"4/3", Shard{}, false}, {"1/0", Shard{}, false}, {"-1/-1", Shard{}, false},
		{"1", Shard{}, false}, {"/", Shard{}, false}, {"a/b", Shard{}, false}, {"1/2/3", Shard{}, false}, {"1/99999999999999999999", Shard{}, false},
	} {
		got, err := ParseShard(row.text)
		if got != row.want || (err == nil) != row.ok {
			t.Errorf("ParseShard(%q) = %v, %v, want %v, an error: %t", row.text, got, err, row.want, !row.ok)
		}
		if again, err := ParseShard(got.String()); again != got || err != nil {
			t.Errorf("%v is written %q, which is read as %v, %v", got, got.String(), again, err)
		}
	}
}

// TestSelect takes rows and with them the cases that check them, and those that a run
// has to complain of.
func TestSelect(t *testing.T) {
	const row, other = "pmem2_map_new/PMEM2_E_MAP_RANGE#1", "pmem2_map_new/PMEM2_E_MAP_RANGE#2"
	cases := []Case{
		{Name: "x/one", Rows: []string{row}}, {Name: "x/both", Rows: []string{row, other}}, {Name: "x/other", Rows: []string{other}},
		{Name: "x/none"}, {Name: "x/unknown", Rows: []string{"no such row"}},
	}
	got := Select(cases, func(r Row) bool { return r.ID == row })
	var names []string
	for _, c := range got.Cases {
		names = append(names, c.Name)
	}
	if want := []string{"x/one", "x/both", "x/none", "x/unknown"}; !slices.Equal(names, want) || len(got.Rows) != 1 || got.Rows[0].ID != row {
		t.Errorf("cases are %q of rows %v, want %q of %s", names, got.Rows, want, row)
	}
	for _, label := range []string{"pmem2", "pmem2_map_new", "sentence", "needs-file", "1.12.1"} {
		if !slices.Contains(got.Rows[0].Labels(), label) {
			t.Errorf("labels of %s are %q, want %s among them", row, got.Rows[0].Labels(), label)
		}
	}
}
