package parity

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pmemlab/ci/survey"
)

//go:embed excused.txt
var excusedText string

// excuse is a line of excused.txt.
type excuse struct {
	fields [7]string // of the machine, the question and the answers, with * for any text
	reason string
	luck   bool // it may excuse nothing
	count  int
}

func parseExcuses(text string) ([]*excuse, error) {
	var all []*excuse
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, " | ")
		if len(fields) != 8 {
			return nil, fmt.Errorf("parity: excuses: line %d has %d fields, allowed are 8", i+1, len(fields))
		}
		e := &excuse{reason: strings.TrimSpace(fields[7])}
		copy(e.fields[:], fields)
		e.reason, e.luck = strings.CutPrefix(e.reason, "luck:")
		e.reason = strings.TrimSpace(e.reason)
		if e.reason == "" {
			return nil, fmt.Errorf("parity: excuses: line %d gives no reason", i+1)
		}
		all = append(all, e)
	}
	return all, nil
}

func (e *excuse) String() string { return strings.Join(e.fields[:], " | ") }

func (e *excuse) excuses(machine string, d difference) bool {
	q := d.question
	for i, text := range [7]string{machine, q.Family, q.Object, q.Call, q.Rule, d.emulated, d.kernel} {
		if !match(e.fields[i], text) {
			return false
		}
	}
	return true
}

// match says whether text is what pattern says, in which * stands for any text.
func match(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

// notAsked is the answer of a side that didn't get a question.
const notAsked = "(not asked)"

// difference is a question with two answers.
type difference struct {
	machine          string
	question         survey.Question
	emulated, kernel string
	reason           string // why it's excused; "" if it isn't
}

func (d difference) String() string {
	return fmt.Sprintf("%s | %s: emulated %q, kernel %q", d.machine, d.question, d.emulated, d.kernel)
}

// tally counts the questions of a family.
type tally struct{ questions, equal, excused, different int }

// Comparison is what a comparison of some machines came to.
type Comparison struct {
	tally
	families    map[string]*tally
	differences []difference
	excuses     []*excuse
}

// newComparison is one in which nothing was compared.
func newComparison(excuses string) (*Comparison, error) {
	parsed, err := parseExcuses(excuses)
	if err != nil {
		return nil, err
	}
	return &Comparison{families: map[string]*tally{}, excuses: parsed}, nil
}

// add compares the answers of one machine.
func (c *Comparison) add(machine string, emulated, kernel []survey.Answer) {
	answers := map[survey.Question]string{}
	for _, a := range emulated {
		answers[a.Question] = a.Answer
	}
	for _, a := range kernel {
		text, ok := answers[a.Question]
		if !ok {
			text = notAsked
		}
		delete(answers, a.Question)
		c.count(difference{machine: machine, question: a.Question, emulated: text, kernel: a.Answer})
	}
	for _, a := range emulated {
		if text, ok := answers[a.Question]; ok {
			c.count(difference{machine: machine, question: a.Question, emulated: text, kernel: notAsked})
		}
	}
}

func (c *Comparison) count(d difference) {
	family := c.families[d.question.Family]
	if family == nil {
		family = new(tally)
		c.families[d.question.Family] = family
	}
	equal, excused := d.emulated == d.kernel, false
	if !equal {
		if i := slices.IndexFunc(c.excuses, func(e *excuse) bool { return e.excuses(d.machine, d) }); i >= 0 {
			c.excuses[i].count++
			d.reason, excused = c.excuses[i].reason, true
		}
		c.differences = append(c.differences, d)
	}
	for _, t := range [...]*tally{family, &c.tally} {
		t.questions++
		switch {
		case equal:
			t.equal++
		case excused:
			t.excused++
		default:
			t.different++
		}
	}
}

// leastQuestions are how many there must be for a comparison to mean anything.
const leastQuestions = 2000

// Err says what is wrong: differences, excuses that excuse nothing, too few questions.
func (c *Comparison) Err() error {
	var errs []error
	if c.different > 0 {
		errs = append(errs, fmt.Errorf("parity: %d answers differ and aren't excused", c.different))
	}
	for _, e := range c.excuses {
		if e.count == 0 && !e.luck {
			errs = append(errs, fmt.Errorf("parity: an excuse excuses nothing any more: %s", e))
		}
	}
	if c.questions < leastQuestions {
		errs = append(errs, fmt.Errorf("parity: %d questions were asked, at least %d are needed", c.questions, leastQuestions))
	}
	return errors.Join(errs...)
}

// Write prints the families with their counts, what is excused and why, the differences,
// and as the last line the sum.
func (c *Comparison) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s %9s %6s %7s %9s  %s\n", "family", "questions", "equal", "excused", "different", "about")
	for _, name := range survey.Families() {
		if t := c.families[name]; t != nil {
			fmt.Fprintf(&b, "%-11s %9d %6d %7d %9d  %s\n", name, t.questions, t.equal, t.excused, t.different, survey.About(name))
		}
	}
	for _, e := range c.excuses {
		if e.count > 0 {
			fmt.Fprintf(&b, "excused, %d: %s: %s\n", e.count, e, e.reason)
		}
	}
	for _, d := range c.differences {
		if d.reason == "" {
			fmt.Fprintf(&b, "different: %s\n", d)
		}
	}
	if err := c.Err(); err != nil {
		fmt.Fprintln(&b, err)
	}
	fmt.Fprintf(&b, "parity: %d questions, %d equal, %d excused, %d different\n", c.questions, c.equal, c.excused, c.different)
	_, err := io.WriteString(w, b.String())
	return err
}

// Compare surveys the emulated twin of each report's machine and compares the answers. wrap,
// if it isn't nil, breaks the emulated machine.
func Compare(reports []*survey.Report, wrap func(survey.Kernel) survey.Kernel) (*Comparison, error) {
	c, err := newComparison(excusedText)
	if err != nil {
		return nil, err
	}
	for _, r := range reports {
		answers, err := surveyEmulated(r.Header, wrap, r.Only...)
		if err != nil {
			return nil, fmt.Errorf("parity: the emulated twin of %s: %w", r.Machine, err)
		}
		c.add(r.Machine, answers, r.Answers)
	}
	return c, nil
}
