package main

import (
	"regexp"
	"slices"
	"testing"
)

// TestRows: each operation has its range of sizes, and no row leaves the data or isn't
// one that the limit knows.
func TestRows(t *testing.T) {
	type span struct{ from, to uint64 }
	got := map[string]span{}
	names := map[string]bool{}
	for _, r := range allRows() {
		s, ok := got[r.op]
		switch {
		case ok && r.size <= s.to:
			t.Errorf("%v comes after a row of %d bytes, want sizes that rise", r, s.to)
		case !ok:
			s.from = r.size
		}
		s.to = r.size
		got[r.op] = s
		if names[r.String()] {
			t.Errorf("%v is there twice", r)
		}
		names[r.String()] = true
		if r.shift+r.size > dataFile || r.size+sourceAt > dataFile {
			t.Errorf("%v ends at %d, the files end at %d", r, r.shift+r.size, dataFile)
		}
		if r.copies() && (r.size%64 != 0 || r.shift > 1) {
			t.Errorf("%v: the limit knows whole lines, at 0 or 1, and no %d bytes at %d", r, r.size, r.shift)
		}
	}
	const mib = 1 << 20
	for op, want := range map[string]span{
		"persist": {8, mib},
		"memcpy":  {64, 64 * mib}, "memcpy+1": {64, 64 * mib},
		"memset": {64, 64 * mib}, "memset+1": {64, 64 * mib},
		"NewMap+Delete":               {4096, 64 * mib},
		"NewMap refused: offset":      {64 * mib, 64 * mib},
		"NewMap refused: granularity": {64 * mib, 64 * mib},
	} {
		if got[op] != want {
			t.Errorf("%s has sizes from %d to %d, want %d to %d", op, got[op].from, got[op].to, want.from, want.to)
		}
		delete(got, op)
	}
	if len(got) > 0 {
		t.Errorf("there are more operations: %v", got)
	}
}

func TestSelectRows(t *testing.T) {
	for _, c := range []struct {
		only string
		want []string
	}{
		{"memset/1MiB", []string{"memset/1MiB"}},
		{`mem.*\+1/64B`, []string{"memcpy+1/64B", "memset+1/64B"}},
		{"persist/(8|64)B", []string{"persist/8B", "persist/64B"}},
		{"nothing", nil},
	} {
		var got []string
		for _, r := range selectRows(regexp.MustCompile(c.only)) {
			got = append(got, r.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("-run %q selects %q, want %q", c.only, got, c.want)
		}
	}
	if got, want := len(selectRows(regexp.MustCompile(""))), len(allRows()); got != want {
		t.Errorf("an empty -run selects %d rows, want all %d", got, want)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{8: "8B", 1023: "1023B", 1024: "1KiB", 1536: "1536B", 64 << 10: "64KiB", 1 << 20: "1MiB", 66 << 20: "66MiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}
