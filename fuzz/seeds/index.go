package seeds

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pmemlab/conformance"
	"pmemlab/fuzz/corpus"
)

// Names of what is written below testdata.
const (
	indexFile = "rows.json"
	corporaIn = "fuzz"
)

// ReadIndex reads which row has which inputs.
func ReadIndex(testdata string) (map[string]Row, error) {
	text, err := os.ReadFile(filepath.Join(testdata, indexFile))
	if err != nil {
		return nil, err
	}
	var rows map[string]Row
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return rows, d.Decode(&rows)
}

// Write puts the corpora below testdata in place of what was written there before. It leaves
// files alone that no index has named.
func (c *Corpora) Write(testdata string) error {
	before, err := ReadIndex(testdata)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	files := map[string]bool{}
	for target, inputs := range c.Inputs {
		dir := corpus.Dir(filepath.Join(testdata, corporaIn), target)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		for name, input := range inputs {
			files["Fuzz"+target+"/"+name] = true
			if err := os.WriteFile(filepath.Join(dir, name), []byte(corpus.Encode(input)), 0o666); err != nil {
				return err
			}
		}
	}
	for _, r := range before {
		for _, name := range r.Seeds {
			if files[name] {
				continue
			}
			err := os.Remove(filepath.Join(testdata, corporaIn, filepath.FromSlash(name)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	text, err := c.index()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(testdata, indexFile), text, 0o666)
}

// index is the text of the index: a line for each row, in the order of the contract.
func (c *Corpora) index() ([]byte, error) {
	var b bytes.Buffer
	rows := conformance.Rows()
	for i, row := range rows {
		sep := ",\n "
		if i == 0 {
			sep = "{\n "
		}
		b.WriteString(sep)
		id, err := json.Marshal(row.ID)
		if err != nil {
			return nil, err
		}
		b.Write(id)
		b.WriteString(": ")
		text, err := json.Marshal(c.Rows[row.ID])
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	b.WriteString("\n}\n")
	return b.Bytes(), nil
}

// Reasons are how many rows have each reason, and how many have inputs.
func Reasons(rows map[string]Row) (seeded int, reasons map[string]int) {
	reasons = map[string]int{}
	for _, r := range rows {
		if len(r.Seeds) > 0 {
			seeded++
		} else {
			reasons[r.Reason]++
		}
	}
	return seeded, reasons
}

// SeededByPage are how many rows of each page have inputs.
func SeededByPage(rows map[string]Row) (pages []string, seeded, all map[string]int) {
	seeded, all = map[string]int{}, map[string]int{}
	for _, row := range conformance.Rows() {
		if !slices.Contains(pages, row.Page) {
			pages = append(pages, row.Page)
		}
		all[row.Page]++
		if len(rows[row.ID].Seeds) > 0 {
			seeded[row.Page]++
		}
	}
	return pages, seeded, all
}
