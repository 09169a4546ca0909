package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The elements of JUnit's format that its readers agree on.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Failure *junitResult `xml:"failure"`
		Error   *junitResult `xml:"error"`
		Skipped *junitResult `xml:"skipped"`
		Out     string       `xml:"system-out,omitempty"`
	}
	junitResult struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit writes the report as JUnit XML: a suite for each run, a test case for
// each row. A row that is not applicable or not supported is skipped; one that
// passes or diverges in a known way passes, the latter saying so in its output.
func (r Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Name: "conformance"}
	for _, run := range r.Runs {
		s := junitSuite{
			Name:     run.Name(),
			Tests:    len(run.Rows),
			Failures: run.Summary.Fail,
			Errors:   run.Summary.Error,
			Skipped:  run.Summary.NotApplicable + run.Summary.NotSupported,
			Properties: []junitProperty{
				{"subject", run.Subject}, {"target", run.Target}, {"capabilities", strings.Join(run.Capabilities, " ")},
			},
		}
		for _, f := range run.Facts {
			value := f.Value
			if value == "" || !f.Has {
				value = fmt.Sprint(f.Has)
			}
			s.Properties = append(s.Properties, junitProperty{"fact " + f.Name, value})
		}
		for _, row := range run.Rows {
			s.Cases = append(s.Cases, junitRow(run, row))
		}
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitRow(run Run, row Row) junitCase {
	c := junitCase{Class: run.Subject + "." + run.Target + "." + row.Page, Name: row.ID}
	res := &junitResult{Type: string(row.Status), Message: row.Reason}
	switch row.Status {
	case Fail:
		c.Failure = res
	case NotApplicable, NotSupported:
		res.Type = ""
		res.Message = string(row.Status) + ": " + row.Reason
		c.Skipped = res
	case Pass:
		return c
	case KnownDivergence:
		c.Out = "known-divergence: " + row.Reason + "\n"
		return c
	default:
		c.Error = res
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\nruling: %s\n", row.Condition, row.Ruling)
	for _, k := range row.Cases {
		injected := ""
		if k.Injected {
			injected = " (faults injected)"
		}
		fmt.Fprintf(&out, "%s [%s]%s: %s %s\n", k.Name, k.Variant, injected, k.Status, k.Reason)
		for _, call := range k.Calls {
			fmt.Fprintf(&out, "  %s = %s\n", call.Call, call.Outcome)
		}
	}
	c.Out = out.String()
	return c
}
