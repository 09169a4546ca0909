package conformance

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// Row is one promise of a man page, and what we make of it. Rows are the data
// under contract/: a file for each page.
type Row struct {
	// ID is unique and doesn't change: reports of different runs are compared
	// by it.
	ID string `json:"id"`
	// Library, Page and Function say where the promise stands: "pmem2" or "pmemset",
	// "pmem2_config_new", "pmem2_config_delete".
	Library  string `json:"library"`
	Page     string `json:"page"`
	Function string `json:"function"`
	// Editions of the page that have the promise: "1.12.1", "2.x"; of libpmemset
	// the generations "parts-1.11", "map-api" and "1.12.1".
	Editions []string `json:"editions"`
	// Code is the result that the row is about: a code, an errno ("-EAGAIN"),
	// "0", or in parentheses what C does instead of returning, or whose error it
	// is: "(callback)". It is empty for a sentence about behaviour.
	Code string `json:"code"`
	// PageCode is how the page spells the code, if that is another.
	PageCode string `json:"page_code,omitempty"`
	// Kind is "sentence" for what a page says of a code, "observation" for
	// what C does and no page says, else what a sentence about behaviour
	// speaks of: "state", "return", "default", "lifetime", "ordering",
	// "output-on-failure", "persistence", "thread-safety", "environment".
	Kind string `json:"kind"`
	// Section of the page, for a sentence about behaviour.
	Section string `json:"section,omitempty"`
	// Condition is when the code is returned; or the sentence.
	Condition string `json:"condition"`
	// Needs is what the place must have where the row is checked.
	Needs Need `json:"needs"`
	// Ruling is what a subject has to do.
	Ruling Ruling `json:"ruling"`
	// RulingWhy is the reason, where the ruling isn't the page's own word.
	RulingWhy string `json:"ruling_why,omitempty"`
	// Expect is the outcome that the ruling asks for; empty for a sentence
	// about behaviour and for a row that is not applicable.
	Expect string `json:"expect,omitempty"`
	// Reference is what the C library does.
	Reference Reference `json:"reference"`
}

// Reference is what the C library does, as far as it is known.
type Reference struct {
	Expect         string `json:"expect,omitempty"`
	Effect         string `json:"effect,omitempty"`
	Behaviour      string `json:"behaviour"`
	AgreesWithPage *bool  `json:"agrees_with_page,omitempty"`
	HowChecked     string `json:"how_checked,omitempty"`
}

// Ruling is one of: "as-page", what the page says; "as-reference", what C does;
// "code:PMEM2_E_X", this outcome instead of the page's; "behaviour:…", what the
// text says; "not-applicable:…", nothing, for the reason given.
type Ruling string

// Kind is the ruling without its text: "as-page", "code", …
func (r Ruling) Kind() string {
	kind, _, _ := strings.Cut(string(r), ":")
	return kind
}

// Text is what stands behind the kind.
func (r Ruling) Text() string {
	_, text, _ := strings.Cut(string(r), ":")
	return text
}

// NotApplicable reports whether no subject has to do anything.
func (r Row) NotApplicable() bool { return r.Ruling.Kind() == "not-applicable" }

//go:embed contract/*.json
var contractFiles embed.FS

var contract = sync.OnceValues(func() ([]Row, error) { return loadContract(contractFiles) })

// Rows returns the contract, page by page. It panics if the data that is compiled
// in isn't valid, which a test rules out.
func Rows() []Row {
	rows, err := contract()
	if err != nil {
		panic(err)
	}
	return slices.Clone(rows)
}

var rowsByID = sync.OnceValue(func() map[string]Row {
	byID := map[string]Row{}
	for _, r := range Rows() {
		byID[r.ID] = r
	}
	return byID
})

// RowByID returns a row of the contract.
func RowByID(id string) (Row, bool) {
	r, ok := rowsByID()[id]
	return r, ok
}

// Pages returns the names of the pages of rows, each once, in their order.
func Pages(rows []Row) []string {
	var pages []string
	for _, r := range rows {
		if !slices.Contains(pages, r.Page) {
			pages = append(pages, r.Page)
		}
	}
	return pages
}

// loadContract reads and checks every file under contract/.
func loadContract(files fs.FS) ([]Row, error) {
	names, err := fs.Glob(files, "contract/*.json")
	if err != nil {
		return nil, err
	}
	var all []Row
	seen := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var rows []Row
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&rows); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range rows {
			if err := r.validate(); err != nil {
				return nil, fmt.Errorf("%s: row %q: %w", name, r.ID, err)
			}
			if want := "contract/" + r.Page + ".json"; name != want {
				return nil, fmt.Errorf("%s: row %q belongs in %s", name, r.ID, want)
			}
			if seen[r.ID] {
				return nil, fmt.Errorf("%s: row %q is there twice", name, r.ID)
			}
			seen[r.ID] = true
		}
		all = append(all, rows...)
	}
	return all, nil
}

// validate says what is wrong with a row.
func (r Row) validate() error {
	for _, field := range []struct{ name, text string }{
		{"id", r.ID}, {"library", r.Library}, {"page", r.Page}, {"function", r.Function},
		{"kind", r.Kind}, {"condition", r.Condition}, {"reference", r.Reference.Behaviour},
	} {
		if field.text == "" {
			return fmt.Errorf("%s is missing", field.name)
		}
	}
	if len(r.Editions) == 0 {
		return fmt.Errorf("no edition")
	}
	if !slices.Contains(Needs(), r.Needs) {
		return fmt.Errorf("needs %q, known are %q", r.Needs, Needs())
	}
	kind, text, hasText := strings.Cut(string(r.Ruling), ":")
	switch kind {
	case "as-page", "as-reference":
		if hasText {
			return fmt.Errorf("ruling %q: %s has no text", r.Ruling, kind)
		}
	case "code":
		if text == "" || text != r.Expect {
			return fmt.Errorf("ruling %q, but expect is %q", r.Ruling, r.Expect)
		}
	case "behaviour", "not-applicable":
		if text == "" {
			return fmt.Errorf("ruling %q without a text", r.Ruling)
		}
	default:
		return fmt.Errorf("unknown ruling %q", r.Ruling)
	}
	switch {
	case kind == "not-applicable" && r.Expect != "":
		return fmt.Errorf("not applicable, and expects %q", r.Expect)
	case kind != "not-applicable" && r.Code != "" && r.Expect == "":
		return fmt.Errorf("expects no outcome")
	}
	return nil
}
