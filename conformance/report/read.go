package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Read reads a report that WriteJSON has written.
func Read(r io.Reader) (Report, error) {
	var rep Report
	d := json.NewDecoder(r)
	if err := d.Decode(&rep); err != nil {
		return Report{}, err
	}
	if rep.Schema != Schema {
		return Report{}, fmt.Errorf("schema %q, want %q", rep.Schema, Schema)
	}
	if _, err := d.Token(); err != io.EOF {
		return Report{}, fmt.Errorf("there is something behind the report")
	}
	runs := map[string]bool{}
	for _, run := range rep.Runs {
		if part := run.Name() + " " + run.Shard; runs[part] {
			return Report{}, fmt.Errorf("there are two runs %q", run.Name())
		} else {
			runs[part] = true
		}
		ids := map[string]bool{}
		for _, row := range run.Rows {
			if ids[row.ID] {
				return Report{}, fmt.Errorf("row %s of %s is there twice", row.ID, run.Name())
			}
			ids[row.ID] = true
		}
		for _, row := range run.Rows {
			if run.Summary.counter(row.Status) == nil {
				return Report{}, fmt.Errorf("row %s of %s has the status %q, known are %q", row.ID, run.Name(), row.Status, Statuses())
			}
		}
		if sum := Summarize(run.Rows); sum != run.Summary {
			return Report{}, fmt.Errorf("%s: the sums are %+v, its rows make %+v", run.Name(), run.Summary, sum)
		}
	}
	return rep, nil
}

// ReadFile reads a report from a file.
func ReadFile(path string) (Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Report{}, err
	}
	rep, err := Read(bytes.NewReader(text))
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", path, err)
	}
	return rep, nil
}
