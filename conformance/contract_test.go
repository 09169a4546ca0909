package conformance

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestContract(t *testing.T) {
	rows, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 988 || len(Pages(rows)) != 79 {
		t.Errorf("the contract has %d rows on %d pages, want 988 on 79", len(rows), len(Pages(rows)))
	}
	notApplicable := 0
	for _, r := range rows {
		if r.NotApplicable() {
			notApplicable++
			if r.Ruling.Text() == "" {
				t.Errorf("%s: not applicable without a reason", r.ID)
			}
		}
		if got, ok := RowByID(r.ID); !ok || got.ID != r.ID {
			t.Errorf("RowByID(%q) = %q, %t", r.ID, got.ID, ok)
		}
	}
	// Whoever changes this number takes rows out of the contract.
	if notApplicable != 48 {
		t.Errorf("%d rows are not applicable, want 48", notApplicable)
	}
	if r, ok := RowByID("pmem2_config_set_vdm/not-applicable"); !ok || !r.NotApplicable() || r.Page != "pmem2_async" {
		t.Errorf("the row of pmem2_config_set_vdm is %+v, want one of pmem2_async that is not applicable", r)
	}
	if _, ok := RowByID("no such row"); ok {
		t.Error("RowByID finds a row that isn't there")
	}
}

func TestContractIsValidated(t *testing.T) {
	const good = `{"id":"p/0#1","library":"pmem2","page":"p","function":"p","editions":["2.x"],"code":"0",
		"kind":"sentence","condition":"always","needs":"nothing","ruling":"as-page","expect":"0","reference":{"behaviour":"0"}}`
	rows := []struct{ name, from, to, want string }{
		{"good", "", "", ""},
		{"no id", `"p/0#1"`, `""`, "id is missing"},
		{"no condition", `"always"`, `""`, "condition is missing"},
		{"no reference", `"behaviour":"0"`, `"behaviour":""`, "reference is missing"},
		{"no edition", `["2.x"]`, `[]`, "no edition"},
		{"unknown need", `"nothing"`, `"luck"`, `needs "luck"`},
		{"unknown ruling", `"as-page"`, `"as-you-like"`, "unknown ruling"},
		{"text behind as-page", `"as-page"`, `"as-page:x"`, "as-page has no text"},
		{"empty behaviour", `"as-page"`, `"behaviour:"`, "without a text"},
		{"empty reason", `"as-page"`, `"not-applicable:"`, "without a text"},
		{"code is another", `"as-page"`, `"code:PMEM2_E_NOSUPP"`, `expect is "0"`},
		{"not applicable, but expected", `"as-page"`, `"not-applicable:x"`, `expects "0"`},
		{"nothing expected", `"expect":"0",`, ``, "expects no outcome"},
		{"unknown field", `"library"`, `"bookshop"`, "unknown field"},
		{"another page's file", `"page":"p"`, `"page":"q"`, "belongs in contract/q.json"},
		{"twice", "", good + "," + good, "is there twice"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			text := good
			if row.from == "" && row.to != "" {
				text = row.to
			} else if row.from != "" {
				text = strings.Replace(good, row.from, row.to, 1)
			}
			_, err := loadContract(fstest.MapFS{"contract/p.json": {Data: []byte("[" + text + "]")}})
			switch {
			case row.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("got %v, want an error with %q", err, row.want)
			}
		})
	}
}
