package emu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/exact"
	"pmemlab/pmem2"
)

// storeLog is a store log of pmemcheck: its one file, and the entries behind it.
type storeLog struct {
	path       string
	base, size uint64
	entries    []storeEntry
}

// storeEntry is a STORE, a FLUSH (without value) or a FENCE (of zeroes).
type storeEntry struct {
	op                string
	addr, value, size uint64
}

var storeLogForms = []*regexp.Regexp{
	regexp.MustCompile(`^REGISTER_FILE;([^;|]+);(0x[0-9a-f]+);(0x[0-9a-f]+);(0x[0-9a-f]+)$`),
	regexp.MustCompile(`^STORE;(0x[0-9a-f]+);(0x[0-9a-f]+);(0x[0-9a-f]+)$`),
	regexp.MustCompile(`^FLUSH;(0x[0-9a-f]+);(0x[0-9a-f]+)$`),
	regexp.MustCompile(`^FENCE$`),
}

// parseStoreLog reads a log of one file, and takes nothing but
//
//	START|REGISTER_FILE;path;base;size;offset|STORE;addr;value;size|FLUSH;addr;size|FENCE|STOP
func parseStoreLog(text string) (l storeLog, err error) {
	text, isLine := strings.CutSuffix(text, "\n")
	text, begins := strings.CutPrefix(text, "START|")
	text, ends := strings.CutSuffix(text, "|STOP")
	if !isLine || !begins || !ends {
		return l, fmt.Errorf("not a line from START to STOP: %.200q", text)
	}
	for i, entry := range strings.Split(text, "|") {
		form := slices.IndexFunc(storeLogForms, func(r *regexp.Regexp) bool { return r.MatchString(entry) })
		if form < 0 || (form == 0) != (i == 0) {
			return l, fmt.Errorf("entry %d is %q, which isn't of the form there", i, entry)
		}
		fields := storeLogForms[form].FindStringSubmatch(entry)[1:]
		if form == 0 {
			l.path, fields = fields[0], fields[1:]
		}
		var n [3]uint64
		for j, f := range fields {
			if n[j], err = strconv.ParseUint(f, 0, 64); err != nil {
				return l, fmt.Errorf("entry %d, %q: %w", i, entry, err)
			}
		}
		e := storeEntry{op: strings.SplitN(entry, ";", 2)[0], addr: n[0], value: n[1], size: n[2]}
		switch form {
		case 0:
			l.base, l.size = n[0], n[1]
			if l.base == 0 || l.size == 0 || n[2] != 0 {
				return l, fmt.Errorf("entry %d is %q, want a base, a size and offset 0", i, entry)
			}
			continue
		case 1:
			if e.size > 8 || e.addr%8+e.size > 8 || e.size < 8 && e.value>>(8*e.size) != 0 {
				return l, fmt.Errorf("entry %d is %q, want bytes of one word with a value of that size", i, entry)
			}
		case 2:
			e.value, e.size = 0, n[1]
		}
		if form < 3 && (e.size == 0 || e.addr < l.base || e.size > l.size || e.addr-l.base > l.size-e.size) {
			return l, fmt.Errorf("entry %d, %q, isn't in the file at %#x of %#x bytes", i, entry, l.base, l.size)
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

// TestPmemcheckLogOfSevenStores: the log has each of seven stores, their flushes and the fence,
// at their addresses and in their order.
func TestPmemcheckLogOfSevenStores(t *testing.T) {
	value := func(i int) uint64 { return 0x0101010101010101 * uint64(i+1) }
	for _, row := range []struct {
		name   string
		plain  bool // stores that the machine finds
		flush  bool
		fenced bool
	}{
		{name: "copied, not flushed"},
		{name: "copied, not fenced", flush: true},
		{name: "copied and persisted", flush: true, fenced: true},
		{name: "stored, not flushed", plain: true},
		{name: "stored and persisted", plain: true, flush: true, fenced: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, emu.Config{})
			if err := addDevice(m); err != nil {
				t.Fatal(err)
			}
			p := device(m)
			b := p.Bytes()
			var err error
			for i := range 7 {
				word := binary.LittleEndian.AppendUint64(nil, value(i))
				if row.plain {
					copy(b[64*i:], word)
				} else {
					err = errors.Join(err, p.Memcpy(b[64*i:][:8], word, pmem2.MemNoFlush))
				}
			}
			if row.flush {
				for i := range 7 {
					err = errors.Join(err, p.Flush(b[64*i:][:8]))
				}
			}
			if row.fenced {
				err = errors.Join(err, p.Drain())
			}
			m.Look()
			base := uint64(p.Address())
			if err := errors.Join(err, p.Delete()); err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if err := m.Trace().WritePmemcheck(&text); err != nil {
				t.Fatal(err)
			}
			l, err := parseStoreLog(text.String())
			if err != nil {
				t.Fatalf("%v in\n%s", err, text.String())
			}
			if l.path != "/dev/dax0.0" || l.base != base || l.size != 2<<20 {
				t.Errorf("the file is %s of %#x bytes at %#x, want /dev/dax0.0 of %#x at %#x", l.path, l.size, l.base, 2<<20, base)
			}
			var want, got []storeEntry
			for i := range 7 {
				want = append(want, storeEntry{"STORE", base + 64*uint64(i), value(i), 8})
				if row.plain && row.flush && !exact.Enabled() { // it's found at the flush
					want = append(want, storeEntry{"FLUSH", base + 64*uint64(i), 0, 64})
				}
			}
			for i := range 7 {
				if row.flush && (!row.plain || exact.Enabled()) {
					want = append(want, storeEntry{"FLUSH", base + 64*uint64(i), 0, 64})
				}
			}
			if row.fenced {
				want = append(want, storeEntry{op: "FENCE"})
			}
			for _, e := range l.entries {
				// What a line holds besides, which the log doesn't know to have been there.
				if row.plain && e.op == "STORE" && e.value == 0 && e.addr%64 != 0 {
					continue
				}
				got = append(got, e)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
		})
	}
}

// TestParseStoreLog: the parser takes nothing else.
func TestParseStoreLog(t *testing.T) {
	const head = "START|REGISTER_FILE;/a;0x1000;0x2000;0x0|"
	if l, err := parseStoreLog(head + "STORE;0x2ff8;0x1;0x8|FLUSH;0x1000;0x2000|FENCE|STOP\n"); err != nil || len(l.entries) != 3 {
		t.Errorf("got %v, %v, want 3 entries", l, err)
	}
	for _, text := range []string{
		"", "START|STOP\n", head + "STOP", head + "FENCE|STOP", head + "FENCE\n", head + "FENCE|\n|STOP\n", head + "|STOP\n",
		head + "STORE;0x1000;0x1;8|STOP\n", head + "STORE;0x1000;0x1|STOP\n", head + "STORE;0x1001;0x1;0x8|STOP\n",
		head + "STORE;0x1000;0x100;0x1|STOP\n", head + "STORE;0x2ff9;0x1;0x8|STOP\n", head + "STORE;0x1000;0xFF;0x8|STOP\n",
		head + "FLUSH;0x0;0x8|STOP\n", head + "FLUSH;0x1000;0x2001|STOP\n", head + "FENCE;0x0|STOP\n", head + "MARK|STOP\n",
		head + "REGISTER_FILE;/b;0x1000;0x2000;0x0|STOP\n", "START|FENCE|STOP\n", "START|REGISTER_FILE;/a;0x1000;0x2000;0x1|FENCE|STOP\n",
	} {
		if l, err := parseStoreLog(text); err == nil {
			t.Errorf("%q was read as %v, want an error", text, l)
		}
	}
}
