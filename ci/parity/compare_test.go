package parity

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pmemlab/ci/survey"
)

// answersOf are answers to numbered questions.
func answersOf(texts ...string) []survey.Answer {
	var all []survey.Answer
	for i, text := range texts {
		if text != "" {
			all = append(all, survey.Answer{
				Question: survey.Question{Family: "mmap", Object: "dax2M", Call: "mmap", Rule: fmt.Sprint(i)}, Answer: text,
			})
		}
	}
	return all
}

func TestComparison(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		excuses          string
		emulated, kernel []survey.Answer
		want             tally
		errs             []string
	}{
		{"equal", "", answersOf("ok", "EINVAL"), answersOf("ok", "EINVAL"), tally{2, 2, 0, 0}, nil},
		{"another answer", "", answersOf("ok", "ok"), answersOf("ok", "EINVAL"), tally{2, 1, 0, 1}, []string{"1 answers differ"}},
		{"only the kernel was asked", "", answersOf("ok"), answersOf("ok", "ok"), tally{2, 1, 0, 1}, []string{"1 answers differ"}},
		{"only the emulated machine was asked", "", answersOf("ok", "ok"), answersOf("ok"), tally{2, 1, 0, 1}, []string{"1 answers differ"}},
		{"excused", "adr | mmap | dax* | mmap | 1 | ok | EINVAL | luck", answersOf("ok", "ok"), answersOf("ok", "EINVAL"), tally{2, 1, 1, 0}, nil},
		{"another kernel's answer", "adr | mmap | dax* | mmap | 1 | ok | EINVAL | luck", answersOf("ok", "ok"), answersOf("ok", "ENOMEM"),
			tally{2, 1, 0, 1}, []string{"1 answers differ", "excuses nothing"}},
		{"another machine", "eadr | mmap | dax* | mmap | 1 | ok | EINVAL | luck", answersOf("ok"), answersOf("EINVAL"),
			tally{1, 0, 0, 1}, []string{"1 answers differ", "excuses nothing"}},
		{"an excuse too many", "adr | mmap | * | mmap | * | ok | EINVAL | no reason", answersOf("ok"), answersOf("ok"),
			tally{1, 1, 0, 0}, []string{"excuses nothing"}},
		{"an excuse by luck", "adr | mmap | * | mmap | * | ok | EINVAL | luck: it may", answersOf("ok"), answersOf("ok"), tally{1, 1, 0, 0}, nil},
	} {
		cmp, err := newComparison(c.excuses)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		cmp.add("adr", c.emulated, c.kernel)
		if cmp.tally != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, cmp.tally, c.want)
		}
		text := fmt.Sprint(cmp.Err())
		for _, want := range append(c.errs, "at least 2000") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the error is %q, want %q in it", c.name, text, want)
			}
		}
		if got := strings.Count(text, "\n"); got != len(c.errs) {
			t.Errorf("%s: the error is %q, want %d lines", c.name, text, len(c.errs)+1)
		}
		var b bytes.Buffer
		if err := cmp.Write(&b); err != nil {
			t.Error(err)
		}
		last := fmt.Sprintf("\nparity: %d questions, %d equal, %d excused, %d different\n", c.want.questions, c.want.equal, c.want.excused, c.want.different)
		if !strings.HasSuffix(b.String(), last) {
			t.Errorf("%s: the report ends with %q, want %q", c.name, b.String()[max(0, b.Len()-100):], last)
		}
		if got := strings.Count(b.String(), "\ndifferent: "); got != c.want.different {
			t.Errorf("%s: %d differences are told, want %d", c.name, got, c.want.different)
		}
	}
}

func TestEnoughQuestions(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{leastQuestions - 1: false, leastQuestions: true} {
		c, err := newComparison("")
		if err != nil {
			t.Fatal(err)
		}
		texts := make([]string, n)
		for i := range texts {
			texts[i] = "ok"
		}
		c.add("adr", answersOf(texts...), answersOf(texts...))
		if got := c.Err() == nil; got != ok {
			t.Errorf("%d questions: got %v, want success to be %v", n, c.Err(), ok)
		}
	}
}

func TestExcuses(t *testing.T) {
	t.Parallel()
	if _, err := parseExcuses(excusedText); err != nil {
		t.Errorf("excused.txt: %v", err)
	}
	for text, want := range map[string]string{
		"a | b | c | d | e | f | g":          "line 1 has 7 fields",
		"# comment\n\na | b":                 "line 3 has 2 fields",
		"a | b | c | d | e | f | g |":        "line 1 has 7 fields",
		"a | b | c | d | e | f | g | luck: ": "gives no reason",
	} {
		if _, err := parseExcuses(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"*", "anything", true}, {"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "ab", false},
		{"a*", "ab", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"a*b*c", "axxbxxc", true}, {"a*b*c", "axxc", false}, {"*b*", "abc", true}, {"*b*", "ac", false},
	} {
		if got := match(c.pattern, c.text); got != c.want {
			t.Errorf("match(%q, %q): got %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}
