package pmemset

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

// TestDebugLogger: which variables choose which level and file.
func TestDebugLogger(t *testing.T) {
	dir := t.TempDir()
	pid := strconv.Itoa(os.Getpid())
	for _, tc := range []struct {
		name  string
		env   map[string]string
		level int
		file  string // that it makes in dir
	}{
		{"nothing set", nil, 0, ""},
		{"not debugging", map[string]string{"PMEMSET_LOG_LEVEL": "4", "PMEMSET_LOG_FILE": dir + "/not"}, 0, ""},
		{"PMEMSET_DEBUG=0", map[string]string{"PMEMSET_DEBUG": "0", "PMEMSET_LOG_LEVEL": "4"}, 0, ""},
		{"pmem2's variables", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_LEVEL": "4"}, 0, ""},
		{"debugging", map[string]string{"PMEMSET_DEBUG": "1"}, 0, ""},
		{"level 1", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_LEVEL": "1"}, 1, ""},
		{"level 4", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_LEVEL": "4"}, 4, ""},
		{"level -1", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_LEVEL": "-1"}, 0, ""},
		{"level x", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_LEVEL": "x"}, 0, ""},
		{"file", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_FILE": dir + "/log"}, 0, "log"},
		{"file of the process", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_FILE": dir + "/log-"}, 0, "log-" + pid},
		{"no such folder", map[string]string{"PMEMSET_DEBUG": "1", "PMEMSET_LOG_FILE": dir + "/no/log"}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newDebugLogger(func(name string) string { return tc.env[name] })
			if f, ok := l.out.(*os.File); ok && f != os.Stderr {
				defer os.Remove(f.Name())
				defer f.Close()
			}
			names, err := filepath.Glob(dir + "/*")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(names) == 1 {
				got = filepath.Base(names[0])
			}
			if l.level != tc.level || got != tc.file || len(names) > 1 {
				t.Fatalf("level %d, files %q; want %d, %q", l.level, names, tc.level, tc.file)
			}
			l.printf(2, "%s %d", "hello", 5)
			if tc.file != "" {
				if text, err := os.ReadFile(names[0]); err != nil || string(text) != "pmemset: <2> hello 5\n" {
					t.Errorf("the file holds %q, %v", text, err)
				}
			}
		})
	}
}

// everything logs one of each kind.
func everything() {
	called("Op")
	operation("mapped %d bytes", 4096)
	detail("because of %s", "this")
	failErrno("Op", syscall.EACCES, "no")
}

// TestDebugLevels: each level holds what the one before it does.
func TestDebugLevels(t *testing.T) {
	saved := debugLog
	defer func() { debugLog = saved }()
	const (
		oneError  = "pmemset: <1> pmemset: Op: no: permission denied\n"
		oneOp     = "pmemset: <2> mapped 4096 bytes\n"
		oneCall   = "pmemset: <3> Op\n"
		oneDetail = "pmemset: <4> because of this\n"
	)
	for level, want := range []string{"", oneError, oneOp + oneError, oneCall + oneOp + oneError, oneCall + oneOp + oneDetail + oneError} {
		var out bytes.Buffer
		debugLog = &debugLogger{level: level, out: &out}
		everything()
		if out.String() != want {
			t.Errorf("level %d: got %q, want %q", level, out.String(), want)
		}
	}
}

// records is a handler that keeps what it is told.
type records struct {
	mu    sync.Mutex
	level slog.Level
	all   []slog.Record
}

func (r *records) Enabled(_ context.Context, l slog.Level) bool { return l >= r.level }
func (r *records) WithAttrs([]slog.Attr) slog.Handler           { return r }
func (r *records) WithGroup(string) slog.Handler                { return r }
func (r *records) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec.Clone())
	return nil
}

// lines are level, message and attributes of each record.
func (r *records) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, rec := range r.all {
		line := rec.Level.String() + " " + rec.Message
		rec.Attrs(func(a slog.Attr) bool {
			line += " | " + a.String()
			return true
		})
		lines = append(lines, line)
	}
	return lines
}

func TestSetLogger(t *testing.T) {
	defer SetLogger(nil)
	cause := errors.New("the cause")
	for _, tc := range []struct {
		level slog.Level
		want  string
	}{
		{slog.LevelError + 1, ""},
		{slog.LevelError, "E"},
		{slog.LevelInfo, "OE"},
		{slog.LevelDebug, "COTE"},
	} {
		h := &records{level: tc.level}
		SetLogger(slog.New(h))
		everything()
		want := ""
		for _, kind := range tc.want {
			want += map[rune]string{
				'C': "DEBUG Op\n", 'O': "INFO mapped 4096 bytes\n", 'T': "DEBUG because of this\n",
				'E': "ERROR pmemset: Op: no: permission denied | op=Op | errno=13 | cause=permission denied\n",
			}[kind]
		}
		got := ""
		for _, line := range h.lines() {
			got += line + "\n"
		}
		if got != want {
			t.Errorf("level %v: got\n%swant\n%s", tc.level, got, want)
		}
	}
	h := &records{level: slog.LevelError}
	SetLogger(slog.New(h))
	_ = NewConfig().SetRequiredStoreGranularity(9)
	fail("Op", ErrIOFail, nil, "no")
	failPMem2("Op", cause, "no")
	SetLogger(nil)
	everything()
	_ = NewConfig().SetRequiredStoreGranularity(9)
	want := []string{
		"ERROR pmemset: SetRequiredStoreGranularity: granularity 9 is none of 0, 1, 2: granularity not supported " +
			"(PMEMSET_E_GRANULARITY_NOT_SUPPORTED) | op=SetRequiredStoreGranularity | code=PMEMSET_E_GRANULARITY_NOT_SUPPORTED",
		"ERROR pmemset: Op: no: input or output failed (PMEMSET_E_IO_FAIL) | op=Op | code=PMEMSET_E_IO_FAIL",
		"ERROR pmemset: Op: no: the cause | op=Op | cause=the cause",
	}
	if got := h.lines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestLogAllocations: where nobody listens, logging a call costs nothing.
func TestLogAllocations(t *testing.T) {
	SetLogger(nil)
	if debugLog.level != 0 {
		t.Skip("PMEMSET_DEBUG is set")
	}
	big, text := uint64(1<<40), strings.Repeat("x", 5)
	if n := testing.AllocsPerRun(100, func() {
		called("Op")
		operation("no numbers")
		if listens(logDetails) {
			detail("%d %s", big, text)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	g := pmem2.GranularityPage
	if n := testing.AllocsPerRun(100, func() { operation("%d %s %v", big, text, g) }); n > 4 {
		t.Errorf("%v allocations with arguments", n)
	}
}

// TestErrorLogAllocations: a logger that wants errors alone costs the data path nothing.
// What it would cost is an allocation per store.
func TestErrorLogAllocations(t *testing.T) {
	if debugLog.level != 0 {
		t.Skip("PMEMSET_DEBUG is set")
	}
	t.Setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE") // or it would be system calls
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := SourceFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Delete()
	cfg := NewConfig()
	if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
		t.Fatal(err)
	}
	set, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Delete()
	d, err := set.Map(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &records{level: slog.LevelError}
	SetLogger(slog.New(h))
	defer SetLogger(nil)
	b := d.Bytes()
	for name, work := range map[string]func() error{
		"Persist": func() error { return set.Persist(b[:64]) },
		"Flush":   func() error { return set.Flush(b[:64]) },
		"Drain":   set.Drain,
		"Memcpy":  func() error { return set.Memcpy(b[:64], b[64:128], 0) },
		"Memmove": func() error { return set.Memmove(b[:64], b[32:96], 0) },
		"Memset":  func() error { return set.Memset(b[:64], 1, 0) },
	} {
		if n := testing.AllocsPerRun(100, func() { err = errors.Join(work()) }); n != 0 || err != nil {
			t.Errorf("%s: %v allocations, want none; %v", name, n, err)
		}
	}
	if lines := h.lines(); len(lines) > 0 {
		t.Errorf("logged: %q", lines)
	}
	_ = set.RemoveRange(1, 1)
	if lines := h.lines(); len(lines) != 1 {
		t.Errorf("an error is logged as %q", lines)
	}
}
