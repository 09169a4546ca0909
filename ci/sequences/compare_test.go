package sequences

import (
	"strings"
	"testing"

	"pmemlab/ci/vm/plan"
)

// TestCompare: what is equal, what differs, and how it's told.
func TestCompare(t *testing.T) {
	const log = "! {}\n# 1 A=x\n  open A -> ok\n  map m0 of s0 -> EINVAL, length EIO\n# 2 A=y\n  map m1 -> ok 1\n"
	for _, c := range []struct {
		name, emulated   string
		equal, different int
		differences      string
	}{
		{"equal", log, 2, 0, ""},
		{"another header", strings.Replace(log, "{}", "{1}", 1), 2, 0, ""},
		{"outcome", strings.Replace(log, "ok 1", "ok 2", 1), 1, 1, "sequence 2 A=y\n  ≠ map m1\n      kernel: ok 1\n      emu:    ok 2\n"},
		{"another sequence", strings.Replace(log, "# 2 A=y", "# 3 A=y", 1), 1, 1,
			"sequence 2 A=y\n  ≠ kernel has sequence \"2 A=y\"\n    emu has    sequence \"3 A=y\"\n    map m1 -> ok 1\n"},
		{"operation", strings.Replace(log, "open A ", "open B ", 1), 1, 1,
			"sequence 1 A=x\n  ≠ kernel: open A -> ok\n    emu:    open B -> ok\n    map m0 of s0 -> EINVAL, length EIO\n"},
		{"fewer operations", strings.Replace(log, "  open A -> ok\n  map", "  map", 1), 1, 1,
			"sequence 1 A=x\n  ≠ kernel: open A -> ok\n    emu:    map m0 of s0 -> EINVAL, length EIO\n" +
				"  ≠ kernel: map m0 of s0 -> EINVAL, length EIO\n    emu:    (nothing)\n"},
		{"fewer sequences", log[:strings.Index(log, "# 2")], 1, 1, "sequence 2 A=y\n  ≠ kernel has sequence \"2 A=y\"\n    emu has    sequence \"\"\n" +
			"  ≠ kernel: map m1 -> ok 1\n    emu:    (nothing)\n"},
	} {
		got, err := Compare(strings.NewReader(log), strings.NewReader(c.emulated))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Sequences != 2 || got.Operations != 3 || got.Equal != c.equal || got.Different != c.different || got.Differences != c.differences {
			t.Errorf("%s: got %+v, want %d equal, %d different:\n%s", c.name, got, c.equal, c.different, c.differences)
		}
	}
	got, _ := Compare(strings.NewReader(log), strings.NewReader(log))
	want := "map         EINVAL 1, ok 1\nopen        ok 1\nsequences: 2 sequences, 3 operations, 2 equal, 0 different\n"
	if got.Summary() != want {
		t.Errorf("got %q, want %q", got.Summary(), want)
	}
}

// TestManyDifferences: the first are shown, the others counted.
func TestManyDifferences(t *testing.T) {
	var a, b strings.Builder
	for range shown + 3 {
		a.WriteString("# 1 A\n  x -> ok\n")
		b.WriteString("# 1 A\n  x -> EIO\n")
	}
	c, err := Compare(strings.NewReader(a.String()), strings.NewReader(b.String()))
	if err != nil || c.Different != shown+3 || strings.Count(c.Differences, "sequence") != shown || !strings.HasSuffix(c.Differences, "and 3 more\n") {
		t.Errorf("got %+v (%v)", c, err)
	}
}

// TestBadLogs are none that anything could be said of.
func TestBadLogs(t *testing.T) {
	for _, log := range []string{"", "! {}\n", "  open -> ok\n", "# 1 A\n  open\n", "# 1 A\n! {}\n"} {
		if c, err := Compare(strings.NewReader(log), strings.NewReader("# 1 A\n")); err == nil {
			t.Errorf("%q: got %+v, want an error", log, c)
		}
		if c, err := Compare(strings.NewReader("# 1 A\n"), strings.NewReader(log)); err == nil {
			t.Errorf("%q second: got %+v, want an error", log, c)
		}
	}
	for _, log := range []string{"", "# 1 A\n", "! {\n", "! {\"places\": [{\"mount\": \"/mnt\", \"fs\": \"btrfs\"}]}\n", "! {}\n"} {
		if c, err := Check(strings.NewReader(log)); err == nil {
			t.Errorf("Check of %q: got %+v, want an error", log, c)
		}
	}
}

// TestProgram: a seed is always the same program, and another seed another one.
func TestProgram(t *testing.T) {
	places := []plan.Place{{Namespace: plan.Namespace{Name: "a"}, Mount: "/a"}}
	words := func(seed uint64) string {
		var b strings.Builder
		_, steps := program(seed, places)
		for _, s := range steps {
			b.WriteString(s.words + "\n")
		}
		return b.String()
	}
	seen := map[string]uint64{}
	for seed := range uint64(200) {
		text := words(seed)
		if text != words(seed) {
			t.Fatalf("seed %d: two programs", seed)
		}
		if other, found := seen[text]; found {
			t.Fatalf("seeds %d and %d: one program", seed, other)
		}
		seen[text] = seed
	}
}

func TestMainRefusesFlags(t *testing.T) {
	if status := Main([]string{"-nonsense"}); status != 2 {
		t.Errorf("status %d, want 2", status)
	}
	if status := Main([]string{"-places", "/nonexistent"}); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
}
