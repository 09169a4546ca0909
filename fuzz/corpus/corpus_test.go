package corpus

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	inputs := []string{"", "a", "\x00\xff\"\n`", strings.Repeat("é\x80", 1000)}
	want := map[string]bool{}
	for _, in := range inputs {
		path, err := Write(dir, "T", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if path != filepath.Join(dir, "FuzzT", Name([]byte(in))) {
			t.Errorf("%q is in %s", in, path)
		}
		want[in] = true
	}
	got, err := Read(dir, "T")
	if err != nil || len(got) != len(inputs) {
		t.Fatalf("%d inputs, %v; want %d", len(got), err, len(inputs))
	}
	for _, e := range got {
		if !want[string(e.Input)] {
			t.Errorf("%s holds %q, which wasn't written", e.Path, e.Input)
		}
	}
	if got, err := Read(dir, "Other"); len(got) != 0 || err != nil {
		t.Errorf("a corpus that isn't there: %v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []string{
		"", "go test fuzz v2\n[]byte(\"\")\n", header, header + "\nstring(\"\")\n", header + "\n[]byte(\"a)\n", header + "\n[]byte(\"a\")\n[]byte(\"b\")\n",
	} {
		if got, err := Decode(text); err == nil {
			t.Errorf("%q is taken as %q", text, got)
		}
	}
}
