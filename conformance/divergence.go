package conformance

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"pmemlab/conformance/report"
)

// Diverger is a subject that is known to do otherwise than some rulings, as the C
// library is.
type Diverger interface {
	Subject
	Divergences() []Divergence
}

// Divergence is one place in one case where a subject is known to do otherwise than a
// row's ruling. A row that shows what is known of it there is a known divergence. All
// else, better or worse, is a failure: then what is known is wrong.
type Divergence struct {
	Row  string `json:"row"`
	Case string `json:"case"`
	// At is a call as the evidence has it, "NewMap(offset 0x1000)"; or the text of a
	// check that doesn't hold; or the library's name of the call in which the process
	// dies, of a subject that is Isolated. Each * stands for any text.
	At string `json:"at"`
	// Want is what the case asks of the call, Got what it gets: an outcome, or of a
	// process that dies the signal: "SIGSEGV", "abort". Both are empty for a check.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	// Ends tells that the case has to end here: what follows builds on it. It can check
	// no other row then.
	Ends bool `json:"ends,omitempty"`
	// Variant of the target, if it is so in only one.
	Variant string `json:"variant,omitempty"`
}

func (d Divergence) String() string {
	if d.Got == "" {
		return fmt.Sprintf("that %q doesn't hold", d.At)
	}
	return fmt.Sprintf("%s of %s", d.Got, d.At)
}

// knownOf are the divergences of a subject that one case shows.
func knownOf(s Subject, c Case, variant string) (known []Divergence) {
	d, ok := s.(Diverger)
	if !ok {
		return nil
	}
	for _, k := range d.Divergences() {
		if k.Case == c.Name && (k.Variant == "" || k.Variant == variant) {
			known = append(known, k)
		}
	}
	return known
}

// matches compares a text with a pattern in which each * stands for any text.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(text, first) || len(text) < len(first)+len(last) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return true
}

// divergesAt looks for what is known of a call that the case wants to have an outcome.
func (t *T) divergesAt(call, want string) (known []Divergence) {
	for _, d := range t.known {
		if d.Got != "" && d.Want == want && matches(d.At, call) {
			known = append(known, d)
		}
	}
	return known
}

// divergesIn looks for what is known of a check, by its text.
func (t *T) divergesIn(text string) (known []Divergence) {
	for _, d := range t.known {
		if d.Got == "" && matches(d.At, text) {
			known = append(known, d)
		}
	}
	return known
}

// show notes that known divergences are there, and ends the case if one of them has to.
func (t *T) show(known []Divergence) {
	for _, d := range known {
		t.noteShown(d)
	}
	for _, d := range known {
		if d.Ends {
			t.endAt(d)
		}
	}
}

func (t *T) noteShown(d Divergence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(t.shown, d) {
		return
	}
	t.shown = append(t.shown, d)
	if t.tell != nil {
		t.tell(childNews{Shown: &d})
	}
}

// concludeShown compares what is known with what was shown, when a case has ended without
// a failure. A case that isn't supported here may have ended before.
func (t *T) concludeShown(c Case) {
	t.mu.Lock()
	status, shown, ended := t.status, t.shown, t.ended
	t.mu.Unlock()
	if status == report.Fail || status == report.Error || status == report.NotApplicable {
		return
	}
	if ended != nil {
		var unchecked []string
		for _, row := range c.Rows {
			if !slices.ContainsFunc(shown, func(d Divergence) bool { return d.Row == row }) {
				unchecked = append(unchecked, row)
			}
		}
		if unchecked != nil {
			t.conclude(report.Fail, fmt.Sprintf("the case ends with %v, which is known, and leaves unchecked %s: it should be split",
				*ended, strings.Join(unchecked, ", ")))
			return
		}
	}
	if status == report.NotSupported {
		return
	}
	for _, d := range t.known {
		if !slices.Contains(shown, d) {
			t.conclude(report.Fail, fmt.Sprintf("the contract says that the library differs here, with %v; it doesn't: mend the contract's row %s", d, d.Row))
			return
		}
	}
	if shown != nil {
		t.conclude(report.KnownDivergence, "as the contract says: "+listOf(shown))
	}
}

func listOf(shown []Divergence) string {
	var texts []string
	for _, d := range shown {
		texts = append(texts, d.String())
	}
	return strings.Join(texts, "; ")
}

// ofRow is what a result of a case says of one of its rows: of the divergences only those
// of the row count.
func ofRow(res report.Case, shown []Divergence, row string) report.Case {
	own := slices.DeleteFunc(slices.Clone(shown), func(d Divergence) bool { return d.Row != row })
	switch {
	case res.Status == report.Fail || res.Status == report.Error || res.Status == report.NotApplicable:
	case len(own) > 0:
		res.Status, res.Reason = report.KnownDivergence, "as the contract says: "+listOf(own)
	case res.Status == report.KnownDivergence:
		res.Status, res.Reason = report.Pass, ""
	}
	return res
}

// endAt ends the case with a known divergence.
func (t *T) endAt(d Divergence) {
	t.mu.Lock()
	t.ended = &d
	t.mu.Unlock()
	runtime.Goexit()
}

// Differs reports whether the library of the reference, C's, is known to do otherwise than
// the ruling asks.
func (r Row) Differs() bool {
	if r.NotApplicable() {
		return false
	}
	agrees := r.Reference.AgreesWithPage != nil && *r.Reference.AgreesWithPage
	return r.Reference.Effect != "" || r.Reference.Expect != "" && r.Reference.Expect != r.Expect && !agrees
}

// Shown reports whether a line of evidence is one that shows the divergence.
func (d Divergence) Shown(c Call) bool {
	call, _, _ := strings.Cut(c.Call, ", injected: ")
	if i := strings.LastIndex(call, " ×"); i >= 0 {
		call = call[:i]
	}
	return matches(d.At, call) && (d.Got == "" || d.Got == c.Outcome)
}
