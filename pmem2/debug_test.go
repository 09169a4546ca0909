package pmem2

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
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
		{"not debugging", map[string]string{"PMEM2_LOG_LEVEL": "4", "PMEM2_LOG_FILE": dir + "/not"}, 0, ""},
		{"PMEM2_DEBUG=0", map[string]string{"PMEM2_DEBUG": "0", "PMEM2_LOG_LEVEL": "4"}, 0, ""},
		{"debugging", map[string]string{"PMEM2_DEBUG": "1"}, 0, ""},
		{"level 1", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_LEVEL": "1"}, 1, ""},
		{"level 4", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_LEVEL": "4"}, 4, ""},
		{"level -1", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_LEVEL": "-1"}, 0, ""},
		{"level x", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_LEVEL": "x"}, 0, ""},
		{"file", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_FILE": dir + "/log"}, 0, "log"},
		{"file of the process", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_FILE": dir + "/log-"}, 0, "log-" + pid},
		{"no such folder", map[string]string{"PMEM2_DEBUG": "1", "PMEM2_LOG_FILE": dir + "/no/log"}, 0, ""},
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
				if text, err := os.ReadFile(names[0]); err != nil || string(text) != "pmem2: <2> hello 5\n" {
					t.Errorf("the file holds %q, %v", text, err)
				}
			}
		})
	}
}

func TestOverlap(t *testing.T) {
	b := make([]byte, 20)
	for _, tc := range []struct {
		x, y []byte
		want bool
	}{
		{b[0:10], b[10:20], false},
		{b[10:20], b[0:10], false},
		{b[0:11], b[10:20], true},
		{b[10:20], b[0:11], true},
		{b[0:20], b[5:6], true},
		{b[5:6], b[0:20], true},
		{b[5:6], b[5:6], true},
		{b[0:10], b[5:5], false},
		{nil, b, false},
	} {
		if got := overlap(tc.x, tc.y); got != tc.want {
			t.Errorf("%d bytes at %p and %d at %p: %v", len(tc.x), tc.x, len(tc.y), tc.y, got)
		}
	}
}
