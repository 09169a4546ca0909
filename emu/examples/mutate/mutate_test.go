package mutate

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// log is a memory that writes down what it's asked for.
type log struct {
	b     []byte
	calls []string
}

func (l *log) note(method string, b []byte, more ...any) error {
	at := ""
	if b != nil {
		at = fmt.Sprintf("%d+%d", cap(l.b)-cap(b), len(b))
	}
	l.calls = append(l.calls, strings.TrimSpace(fmt.Sprint(method, " ", at, " ", fmt.Sprint(more...))))
	return nil
}

func (l *log) Bytes() []byte          { return l.b }
func (l *log) Persist(b []byte) error { return l.note("persist", b) }
func (l *log) Flush(b []byte) error   { return l.note("flush", b) }
func (l *log) Drain() error           { return l.note("drain", nil) }
func (l *log) Memcpy(dst, _ []byte, f pmem2.MemFlags) error {
	return l.note("memcpy", dst, f)
}
func (l *log) Memmove(dst, _ []byte, f pmem2.MemFlags) error {
	return l.note("memmove", dst, f)
}
func (l *log) Memset(dst []byte, c byte, f pmem2.MemFlags) error {
	return l.note("memset", dst, f, " with ", c)
}

// TestMutants breaks one call of each kind in each way.
func TestMutants(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(m pmem.Memory) error
		want []string // the mutation, a colon, what the memory is asked for; the first is the correct call
	}{
		{"persist of a line", func(m pmem.Memory) error { return m.Persist(m.Bytes()[64:128]) },
			[]string{": persist 64+64", "left out:", "flush only: flush 64+64", "drain only: drain", "drained by another goroutine: flush 64+64, drain"}},
		{"persist of two lines", func(m pmem.Memory) error { return m.Persist(m.Bytes()[127:129]) },
			[]string{": persist 127+2", "left out:", "flush only: flush 127+2", "drain only: drain", "drained by another goroutine: flush 127+2, drain",
				"without the first line: persist 128+1", "without the last line: persist 127+1"}},
		{"persist of nothing", func(m pmem.Memory) error { return m.Persist(m.Bytes()[8:8]) },
			[]string{": persist 8+0", "left out:", "flush only: flush 8+0", "drain only: drain", "drained by another goroutine: flush 8+0, drain"}},
		{"flush of a line", func(m pmem.Memory) error { return m.Flush(m.Bytes()[:64]) },
			[]string{": flush 0+64", "left out:"}},
		{"flush of three lines", func(m pmem.Memory) error { return m.Flush(m.Bytes()[64:256]) },
			[]string{": flush 64+192", "left out:", "without the first line: flush 128+128", "without the last line: flush 64+128"}},
		{"drain", func(m pmem.Memory) error { return m.Drain() },
			[]string{": drain", "left out:", "drained by another goroutine: drain"}},
		{"memcpy", func(m pmem.Memory) error { return m.Memcpy(m.Bytes()[:9], make([]byte, 9), 0) },
			[]string{": memcpy 0+9 0", "with NOFLUSH: memcpy 0+9 32", "with NODRAIN: memcpy 0+9 1", "with NONTEMPORAL: memcpy 0+9 2"}},
		{"temporal memcpy", func(m pmem.Memory) error {
			return m.Memcpy(m.Bytes()[:9], make([]byte, 9), pmem2.MemTemporal|pmem2.MemWB)
		},
			[]string{": memcpy 0+9 20", "with NOFLUSH: memcpy 0+9 52", "with NODRAIN: memcpy 0+9 21", "with NONTEMPORAL: memcpy 0+9 2"}},
		{"memmove without drain", func(m pmem.Memory) error {
			return m.Memmove(m.Bytes()[:9], make([]byte, 9), pmem2.MemNoDrain|pmem2.MemNonTemporal)
		},
			[]string{": memmove 0+9 3", "with NOFLUSH: memmove 0+9 33", "without NODRAIN: memmove 0+9 2", "TEMPORAL, not NONTEMPORAL: memmove 0+9 5"}},
		{"memset", func(m pmem.Memory) error { return m.Memset(m.Bytes()[1:3], 7, pmem2.MemWC) },
			[]string{": memset 1+2 8 with 7", "with NOFLUSH: memset 1+2 32 with 7", "with NODRAIN: memset 1+2 9 with 7",
				"TEMPORAL, not NONTEMPORAL: memset 1+2 4 with 7"}},
		{"memset without flush", func(m pmem.Memory) error { return m.Memset(m.Bytes()[1:3], 7, pmem2.MemNoFlush) },
			[]string{": memset 1+2 32 with 7"}},
	} {
		run := func(p *Program) string {
			l := &log{b: make([]byte, 4096)}
			if err := c.call(p.Wrap(l)); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			for _, call := range l.calls {
				if f := 0; strings.HasPrefix(call, "mem") {
					if _, err := fmt.Sscanf(strings.Fields(call)[2], "%d", &f); err != nil || !pmem2.MemFlags(f).Valid() {
						t.Errorf("%s: %s has flags that aren't valid (%v)", c.name, call, err)
					}
				}
			}
			return strings.TrimSpace(": " + strings.Join(l.calls, ", "))
		}
		var correct Program
		got := []string{run(&correct)}
		for _, m := range correct.Mutants() {
			broken := Program{Mutant: m}
			got = append(got, string(m.Mutation)+run(&broken))
			elsewhere := Program{Mutant: Mutant{Place{m.Place.File, m.Place.Line + 1}, m.Mutation}}
			if other := run(&elsewhere); other != c.want[0] {
				t.Errorf("%s, a call on the next line broken: %s, want %s", c.name, other, c.want[0])
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestLines calls one line with ranges of one and of two lines: only the longer is cut.
func TestLines(t *testing.T) {
	l := &log{b: make([]byte, 4096)}
	run := func(p *Program) {
		l.calls = nil
		for _, n := range []int{8, 72} {
			if err := p.Wrap(l).Persist(l.b[:n]); err != nil {
				t.Error(err)
			}
		}
	}
	var p Program
	run(&p)
	ms := p.Mutants()
	if len(ms) != 6 || len(p.Places()) != 1 {
		t.Fatalf("mutants are %v, want 6 at one place", ms)
	}
	run(&Program{Mutant: ms[5]})
	if want := []string{"persist 0+8", "persist 0+64"}; !slices.Equal(l.calls, want) {
		t.Errorf("%v: %q, want %q", ms[5], l.calls, want)
	}
	_, file, _, _ := runtime.Caller(0)
	if got := p.Places()[0]; got.File != file {
		t.Errorf("the place is %v, want a line of %s", got, file)
	}
}

// TestSource reads calls from source.
func TestSource(t *testing.T) {
	const source = `package a
func (l *Log) Append() error {
	if err := l.mem.Memcpy(nil, nil, 0); err != nil { return err }
	go func() { l.mem.Drain() }()
	f := l.mem.Persist
	return f(nil)
}
func set(m T) { m.Bytes(); m.Memset(nil, 0, 0) }
func (T) Get() { x.Flush(nil) }
func (t T[K]) Move() { t.Memmove(nil, nil, 0) }
`
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.go", source)
	write("a_test.go", "package a\nfunc f() { m.Flush(nil) }\n")
	write("a.txt", "no Go")
	sites, err := Source(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sites {
		got = append(got, fmt.Sprint(s.Place, " ", s))
	}
	want := []string{"a.go:3 Log.Append 1: Memcpy", "a.go:4 Log.Append 2: Drain", "a.go:5 Log.Append 3: Persist",
		"a.go:8 set 1: Memset", "a.go:9 T.Get 1: Flush", "a.go:10 Move 1: Memmove"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for name, text := range map[string]string{
		"two on a line": "package a\nfunc f() { m.Flush(nil); m.Drain() }\n",
		"no source":     "package",
	} {
		write("b.go", text)
		if sites, err := Source(dir); err == nil {
			t.Errorf("%s: got %v, want an error", name, sites)
		}
	}
	if _, err := Source(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing folder is no error")
	}
}
