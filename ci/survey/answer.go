package survey

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"pmemlab/ci/vm/plan"
)

// Question is what was asked: a call on an object, with all that the answer depends on as
// the rule. No survey asks one twice.
type Question struct {
	Family string `json:"f"`
	Object string `json:"o"`
	Call   string `json:"c"`
	Rule   string `json:"r,omitempty"`
}

// String is the question in one line, as patterns name it.
func (q Question) String() string {
	return q.Family + " | " + q.Object + " | " + q.Call + " | " + q.Rule
}

// Answer is what a kernel answered: text that is the same for all that means the same.
type Answer struct {
	Question
	Answer string `json:"a"`
}

// Report is all that one survey was told, and of which machine.
type Report struct {
	Header
	Answers []Answer
}

// Header is the first line of a report's file.
type Header struct {
	// Machine is the name that the machine was surveyed under.
	Machine string `json:"machine"`
	// Kernel is what it calls itself.
	Kernel string `json:"kernel"`
	// Places are what it had to be surveyed.
	Places []plan.Place `json:"places"`
	// Only are the families that were asked; none is all of them.
	Only []string `json:"only,omitempty"`
	// Spoiled says that media were made bad for it.
	Spoiled bool `json:"spoiled,omitempty"`
	// Seconds is how long the survey took.
	Seconds float64 `json:"seconds"`
}

// WriteFile writes the report as lines of JSON, the header first; a name that ends in .gz
// is compressed.
func (r *Report) WriteFile(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var w io.Writer = f
	if strings.HasSuffix(name, ".gz") {
		z := gzip.NewWriter(f)
		defer func() { err = errors.Join(z.Close(), err) }()
		w = z
	}
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.Header); err != nil {
		return err
	}
	for _, a := range r.Answers {
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
	return b.Flush()
}

// ReadFile reads what WriteFile wrote.
func ReadFile(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	var r io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	report := new(Report)
	dec := json.NewDecoder(r)
	if err := dec.Decode(&report.Header); err != nil {
		return nil, fmt.Errorf("%s: no header: %w", name, err)
	}
	if report.Machine == "" {
		return nil, fmt.Errorf("%s: the first line names no machine", name)
	}
	seen := map[Question]bool{}
	for {
		var a Answer
		switch err := dec.Decode(&a); {
		case err == io.EOF && len(report.Answers) == 0:
			return nil, fmt.Errorf("%s: it has no answers", name)
		case err == io.EOF:
			return report, nil
		case err != nil:
			return nil, fmt.Errorf("%s: after %d answers: %w", name, len(report.Answers), err)
		case seen[a.Question]:
			return nil, fmt.Errorf("%s: %s is answered twice", name, a.Question)
		}
		seen[a.Question] = true
		report.Answers = append(report.Answers, a)
	}
}
