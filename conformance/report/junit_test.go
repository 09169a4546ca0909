package report_test

import (
	"encoding/xml"
	"testing"
)

// TestJUnitAddsUp reads the file as a CI system does.
func TestJUnitAddsUp(t *testing.T) {
	type sums struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	var doc struct {
		sums
		Suites []struct {
			sums
			Name  string `xml:"name,attr"`
			Cases []struct {
				Class   string     `xml:"classname,attr"`
				Name    string     `xml:"name,attr"`
				Failure []struct{} `xml:"failure"`
				Error   []struct{} `xml:"error"`
				Skipped []struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(read(t, written(t, sample()), "junit.xml")), &doc); err != nil {
		t.Fatal(err)
	}
	var all sums
	seen := map[string]bool{}
	for _, s := range doc.Suites {
		got := sums{Tests: len(s.Cases)}
		for _, c := range s.Cases {
			if key := c.Class + " " + c.Name; seen[key] || c.Class == "" || c.Name == "" {
				t.Errorf("test case %q is there twice or lacks a name", key)
			} else {
				seen[key] = true
			}
			got.Failures += len(c.Failure)
			got.Errors += len(c.Error)
			got.Skipped += len(c.Skipped)
			if n := len(c.Failure) + len(c.Error) + len(c.Skipped); n > 1 {
				t.Errorf("%s %s has %d outcomes", c.Class, c.Name, n)
			}
		}
		if got != s.sums {
			t.Errorf("%s says %+v and has %+v", s.Name, s.sums, got)
		}
		all.Tests += got.Tests
		all.Failures += got.Failures
		all.Errors += got.Errors
		all.Skipped += got.Skipped
	}
	if all != doc.sums || all.Tests != 13 {
		t.Errorf("the file says %+v and has %+v", doc.sums, all)
	}
}
