package survey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadFileErrors(t *testing.T) {
	t.Parallel()
	const header = `{"machine":"adr","kernel":"6.1","places":null,"seconds":1}` + "\n"
	const answer = `{"f":"mmap","o":"x","c":"mmap","r":"1","a":"ok"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "no header"},
		"no machine":      {"{}\n", "names no machine"},
		"no answers":      {header, "no answers"},
		"asked twice":     {header + answer + answer, "answered twice"},
		"cut off":         {header + answer + answer[:20], "after 1 answers"},
		"not JSON":        {"x", "no header"},
		"as it should be": {header + answer, ""},
	} {
		file := filepath.Join(t.TempDir(), "report.json")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadFile(file)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestMainErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{}, {"-machine", "adr"}, {"-out", "x"}, {"-machine", "adr", "-out", "x", "more"}, {"-bogus"},
	} {
		if err := surveyHost(args, os.Stderr); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	if _, err := Run(nil, nil, "no such family"); err == nil {
		t.Error("an unknown family was no error")
	}
}

func TestAskedTwice(t *testing.T) {
	t.Parallel()
	s := &session{seen: map[Question]bool{}}
	s.ask("mmap", "rule", "ok")
	s.ask("mmap", "another rule", "ok")
	if len(s.errs) != 0 || len(s.answers) != 2 {
		t.Errorf("two questions: got %v and %v", s.answers, s.errs)
	}
	s.ask("mmap", "rule", "EINVAL")
	if len(s.errs) != 1 || len(s.answers) != 2 {
		t.Errorf("one of them again: got %v and %v", s.answers, s.errs)
	}
}
