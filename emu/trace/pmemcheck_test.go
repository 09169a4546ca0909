package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A pmemcheckLog is what a store log says, as its form has it: entries with their numbers.
type pmemcheckLog struct {
	files   []pmemcheckFile
	entries []pmemcheckEntry
}

type pmemcheckFile struct {
	path               string
	base, size, offset uint64
}

type pmemcheckEntry struct {
	op                string // STORE, FLUSH, FENCE, or a marker
	addr, value, size uint64
}

var (
	pmemcheckNumber = regexp.MustCompile(`^0x(0|[1-9a-f][0-9a-f]{0,15})$`)
	pmemcheckMarker = regexp.MustCompile(`^[^|;]+\.(BEGIN|END)$`)
)

// parsePmemcheck reads a store log and takes nothing that the form doesn't have:
//
//	START|REGISTER_FILE;path;base;size;offset|STORE;addr;value;size|FLUSH;addr;size|FENCE|…|STOP
func parsePmemcheck(text string) (pmemcheckLog, error) {
	var l pmemcheckLog
	line, ok := strings.CutSuffix(text, "\n")
	if !ok || strings.Contains(line, "\n") {
		return l, fmt.Errorf("not one line")
	}
	entries := strings.Split(line, "|")
	if len(entries) < 2 || entries[0] != "START" || entries[len(entries)-1] != "STOP" {
		return l, fmt.Errorf("not from START to STOP")
	}
	var open []string
	for i, entry := range entries[1 : len(entries)-1] {
		if strings.Contains(entry, "START") || strings.Contains(entry, "STOP") {
			return l, fmt.Errorf("entry %d, %q, looks like an end of the log to pmreorder", i, entry)
		}
		fields := strings.Split(entry, ";")
		op := fields[0]
		first := map[string]int{"REGISTER_FILE": 2}[op] // of the numbers
		if op != "REGISTER_FILE" {
			first = 1
		}
		var n []uint64
		for _, f := range fields[min(first, len(fields)):] {
			if !pmemcheckNumber.MatchString(f) {
				return l, fmt.Errorf("entry %d, %q: %q is no number", i, entry, f)
			}
			v, err := strconv.ParseUint(f[2:], 16, 64)
			if err != nil {
				return l, err
			}
			n = append(n, v)
		}
		covered := func(addr, size uint64) bool {
			for _, f := range l.files {
				if f.base <= addr && size <= f.size && addr-f.base <= f.size-size {
					return true
				}
			}
			return false
		}
		switch {
		case op == "REGISTER_FILE" && len(n) == 3 && fields[1] != "" && len(l.entries) == 0:
			f := pmemcheckFile{fields[1], n[0], n[1], n[2]}
			for _, g := range l.files {
				if f.base < g.base+g.size && g.base < f.base+f.size {
					return l, fmt.Errorf("files %+v and %+v overlap", f, g)
				}
			}
			if f.base%4096 != 0 || f.base == 0 || f.size == 0 || f.base+f.size < f.base || f.offset != 0 {
				return l, fmt.Errorf("file %+v can't be mapped", f)
			}
			l.files = append(l.files, f)
			continue
		case op == "STORE" && len(n) == 3:
			if n[2] == 0 || n[2] > 8 || n[0]/8 != (n[0]+n[2]-1)/8 {
				return l, fmt.Errorf("entry %d, %q, isn't within a word of 8 bytes", i, entry)
			}
			if n[2] < 8 && n[1]>>(8*n[2]) != 0 {
				return l, fmt.Errorf("entry %d, %q: the value has more bytes than the size", i, entry)
			}
			if !covered(n[0], n[2]) {
				return l, fmt.Errorf("entry %d, %q, is in no file", i, entry)
			}
			l.entries = append(l.entries, pmemcheckEntry{op, n[0], n[1], n[2]})
		case op == "FLUSH" && len(n) == 2:
			if n[0]%64 != 0 || n[1] == 0 || !covered(n[0], n[1]) {
				return l, fmt.Errorf("entry %d, %q, isn't of lines of a file", i, entry)
			}
			l.entries = append(l.entries, pmemcheckEntry{op: op, addr: n[0], size: n[1]})
		case op == "FENCE" && len(fields) == 1:
			l.entries = append(l.entries, pmemcheckEntry{op: op})
		case pmemcheckMarker.MatchString(op) && len(fields) == 1:
			name := op[:strings.LastIndex(op, ".")]
			if strings.HasSuffix(op, ".BEGIN") {
				open = append(open, name)
			} else if len(open) == 0 || open[len(open)-1] != name {
				return l, fmt.Errorf("entry %d: marker %q crosses %q", i, op, open)
			} else {
				open = open[:len(open)-1]
			}
			l.entries = append(l.entries, pmemcheckEntry{op: op})
		default:
			return l, fmt.Errorf("entry %d, %q, isn't of the form", i, entry)
		}
	}
	return l, nil
}

func writePmemcheck(t *testing.T, l *Log) pmemcheckLog {
	t.Helper()
	var b bytes.Buffer
	if err := l.WritePmemcheck(&b); err != nil {
		t.Fatal(err)
	}
	p, err := parsePmemcheck(b.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	return p
}

func TestPmemcheckGolden(t *testing.T) {
	for _, x := range exampleLogs {
		l := x.log()
		writePmemcheck(t, l) // parses
		var b bytes.Buffer
		if err := l.WritePmemcheck(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, x.name+".pmemcheck", b.Bytes())
	}
}

func TestPmemcheckSevenStores(t *testing.T) {
	const base = 0x7f4000000000
	want := pmemcheckLog{files: []pmemcheckFile{{"/dev/dax0.0", base, 2 << 20, 0}}}
	want.entries = append(want.entries, pmemcheckEntry{op: "seven.BEGIN"})
	for i := range uint64(7) {
		want.entries = append(want.entries, pmemcheckEntry{"STORE", base + 64*i, 0x1111111111111111 * (i + 1), 8})
	}
	for i := range uint64(7) {
		want.entries = append(want.entries, pmemcheckEntry{op: "FLUSH", addr: base + 64*i, size: 64})
	}
	want.entries = append(want.entries, pmemcheckEntry{op: "FENCE"}, pmemcheckEntry{op: "seven.END"})
	if got := writePmemcheck(t, sevenStores()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// TestPmemcheckEvents has what each event becomes.
func TestPmemcheckEvents(t *testing.T) {
	const a, c = 0x10000, 0x100000000000
	st := func(addr, value, size uint64) pmemcheckEntry { return pmemcheckEntry{"STORE", addr, value, size} }
	fl := func(addr, size uint64) pmemcheckEntry { return pmemcheckEntry{op: "FLUSH", addr: addr, size: size} }
	fence := pmemcheckEntry{op: "FENCE"}
	on := func(k Kind, off, n uint64) Event { return Event{Kind: k, Off: off, Len: n} }
	data := func(k Kind, off uint64, data ...byte) Event {
		return Event{Kind: k, Off: off, Len: uint64(len(data)), Data: data}
	}
	cached := func(e Event) Event { e.Object = 1; return e }
	outside := func(e Event) Event { e.Object = -1; return e }
	futile := func(e Event) Event { e.NoEffect = true; return e }
	mark := func(s string) Event { return Event{Kind: Mark, Object: -1, Text: s} }
	for _, row := range []struct {
		name   string
		events []Event
		want   []pmemcheckEntry
	}{
		{"an unaligned store", []Event{data(Store, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)}, []pmemcheckEntry{st(a+6, 0x201, 2), st(a+8, 0x0a09080706050403, 8), st(a+16, 0x0b, 1)}},
		{"a short store", []Event{data(Store, 3, 1, 2)}, []pmemcheckEntry{st(a+3, 0x201, 2)}},
		{"no bytes", []Event{data(Store, 3), on(CLWB, 3, 0), on(Msync, 0, 0)}, nil},
		{"a non-temporal store", []Event{data(StoreNT, 60, 1, 2, 3, 4, 5)}, []pmemcheckEntry{st(a+60, 0x04030201, 4), st(a+64, 5, 1), fl(a, 128)}},
		{"a non-temporal store to the page cache", []Event{cached(data(StoreNT, 0, 1))}, []pmemcheckEntry{st(c, 1, 1)}},
		{"changes", []Event{data(Store, 0, 1, 2, 3, 4, 5, 6, 7, 8), data(Change, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), data(Change, 0, 1, 2, 3, 4, 5, 6, 7, 9, 9, 0)},
			[]pmemcheckEntry{st(a, 0x0807060504030201, 8), st(a+8, 9, 1), st(a, 0x0907060504030201, 8), st(a+8, 9, 2)}},
		{"the same stored again", []Event{data(Store, 0, 1), data(Store, 0, 1)}, []pmemcheckEntry{st(a, 1, 1), st(a, 1, 1)}},
		{"flushes", []Event{on(CLWB, 63, 2), on(CLFLUSHOPT, 64, 64), on(DCCVAP, 1, 1)}, []pmemcheckEntry{fl(a, 128), fl(a+64, 64), fl(a, 64)}},
		{"CLFLUSH", []Event{on(CLFLUSH, 0, 1)}, []pmemcheckEntry{fl(a, 64), fence}},
		{"a fence", []Event{outside(on(Fence, 0, 0))}, []pmemcheckEntry{fence}},
		{"msync", []Event{on(Msync, 4095, 2), cached(on(Msync, 0, 1))}, []pmemcheckEntry{fl(a, 8192), fence, fl(c, 4096), fence}},
		{"fsync", []Event{on(Fsync, 0, 0), cached(on(Fsync, 5, 9))}, []pmemcheckEntry{fl(a, 1<<20), fence, fl(c, 8192), fence}},
		{"flushes that do nothing", []Event{on(NoFlush, 0, 8), cached(on(CLWB, 0, 8)), outside(on(CLWB, 0, 8)), futile(on(CLWB, 0, 8)), futile(data(Store, 0, 1)), futile(on(Fence, 0, 0))}, nil},
		{"events of no entry", []Event{on(Map, 0, 1), on(Unmap, 0, 1), {Kind: Look, Object: -1}, {Kind: DeepFlush, Object: -1, Text: "x"}}, nil},
		{"markers", []Event{mark("a.END"), mark("a.BEGIN"), mark("b.BEGIN"), mark("a.END"), mark("b.END"), mark("a.END"), mark("a.END"), mark("x"), mark("|STORE"), mark("a b.BEGIN"), mark("RESTART.BEGIN"), mark("NONSTOP.BEGIN")},
			[]pmemcheckEntry{{op: "a.BEGIN"}, {op: "b.BEGIN"}, {op: "b.END"}, {op: "a.END"}}},
	} {
		l := &Log{Objects: []Object{{Name: "a", Size: 1 << 20, Unit: 64, Addr: a}, {Name: "c", Size: 8192, Unit: 512}}, Events: row.events}
		for i := range l.Events {
			l.Events[i].Seq = uint64(i)
		}
		// So that the second is registered.
		l.Events = append(l.Events, Event{Kind: Store, Object: 1, Seq: 99, Len: 1, Data: []byte{0}})
		want := append(row.want, st(c, 0, 1))
		if got := writePmemcheck(t, l).entries; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%x\nwant\n%x", row.name, got, want)
		}
	}
}

func TestPmemcheckPlacesObjects(t *testing.T) {
	store := func(object int, off uint64) Event {
		return Event{Kind: Store, Object: object, Off: off, Len: 1, Data: []byte{1}, Seq: uint64(object + 1)}
	}
	for _, row := range []struct {
		name    string
		objects []Object
		want    []string
	}{
		{"as mapped", []Object{{Addr: 0x10000, Size: 4096}}, []string{"0x10000+0x1000"}},
		{"mapped from within", []Object{{Addr: 0x10000, MapOff: 0x2000, Size: 0x4000}}, []string{"0xe000+0x4000"}},
		{"mapped from beyond its address", []Object{{Addr: 0x1000, MapOff: 0x2000, Size: 0x4000}}, []string{"0x100000000000+0x4000"}},
		{"mapped from where no offset is", []Object{{Addr: 0x1000, MapOff: 1<<64 - 0x1000, Size: 0x4000}}, []string{"0x100000000000+0x4000"}},
		{"side by side", []Object{{Addr: 0x11000, Size: 0x1000}, {Addr: 0x10000, Size: 0x1000}, {Addr: 0x12000, Size: 0x1000}}, []string{"0x11000+0x1000", "0x10000+0x1000", "0x12000+0x1000"}},
		{"never mapped", []Object{{Size: 0x1000}, {Size: 0x1000}}, []string{"0x100000000000+0x1000", "0x100000200000+0x1000"}},
		{"in each other's way", []Object{{Addr: 0x10000, Size: 0x2000}, {Addr: 0x11000, Size: 0x1000}}, []string{"0x10000+0x2000", "0x100000000000+0x1000"}},
		{"in the way of the free ones", []Object{{Addr: 0x100000000000, Size: 0x1000}, {Size: 0x1000}}, []string{"0x100000000000+0x1000", "0x100000200000+0x1000"}},
		{"not at a page", []Object{{Addr: 0x10008, Size: 0x1000}}, []string{"0x100000000000+0x1000"}},
		{"stored to beyond its size", []Object{{Addr: 0x10000, Size: 0}}, []string{"0x10000+0x40"}},
	} {
		l := &Log{Objects: row.objects}
		for i := range l.Objects {
			l.Objects[i].Name = "f"
			l.Events = append(l.Events, store(i, 0))
		}
		var got []string
		for _, f := range writePmemcheck(t, l).files {
			got = append(got, fmt.Sprintf("%#x+%#x", f.base, f.size))
		}
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
	if got := writePmemcheck(t, &Log{Objects: []Object{{Name: "|", Size: 4096}}}); len(got.files) != 0 {
		t.Errorf("an object that nothing touched: got %v, want no file", got.files)
	}
	for _, row := range []struct {
		object Object
		want   string
	}{
		{Object{Name: "a|b", Size: 1}, `trace: object 0: path "a|b" holds "|"`},
		{Object{Name: "a;b", Size: 1}, `trace: object 0: path "a;b" holds ";"`},
		{Object{Name: "a\nb", Size: 1}, `trace: object 0: path "a\nb" holds "\n"`},
		{Object{Name: "/tmp/RESTARTED", Size: 1}, `trace: object 0: path "/tmp/RESTARTED" holds "START"`},
		{Object{Name: "/tmp/STOP", Size: 1}, `trace: object 0: path "/tmp/STOP" holds "STOP"`},
		{Object{Name: "", Size: 1}, `trace: object 0: path "" is empty`},
		{Object{Name: "\xff", Size: 1}, `trace: object 0: path "\xff" is empty or isn't UTF-8`},
		{Object{Name: "a", Size: 1 << 62}, "trace: object 0: 4611686018427387904 bytes find no addresses"},
	} {
		l := &Log{Objects: []Object{row.object}, Events: []Event{store(0, 0)}}
		if err := l.WritePmemcheck(&bytes.Buffer{}); err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%+v: got %v, want %s…", row.object, err, row.want)
		}
	}
}

// TestPmemcheckHoldsAllBytes replays random logs: the content is that of their stores.
func TestPmemcheckHoldsAllBytes(t *testing.T) {
	seed := uint64(7)
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range 200 {
		l := randomLog(rnd, 40)
		want := map[string]map[uint64]byte{}
		for _, o := range l.Objects {
			want[o.Name] = map[uint64]byte{}
		}
		for _, e := range l.Events {
			if e.Kind.IsStore() && !e.NoEffect && e.Object >= 0 {
				for j, b := range e.Data {
					want[l.Objects[e.Object].Name][e.Off+uint64(j)] = b
				}
			}
		}
		got := map[string]map[uint64]byte{}
		for _, o := range l.Objects {
			got[o.Name] = map[uint64]byte{}
		}
		p := writePmemcheck(t, l)
		for _, e := range p.entries {
			for _, f := range p.files {
				if e.op == "STORE" && f.base <= e.addr && e.addr < f.base+f.size {
					for j, b := range binary.LittleEndian.AppendUint64(nil, e.value)[:e.size] {
						got[f.path][e.addr-f.base+uint64(j)] = b
					}
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("log %d: the stores make %v, want %v", i, got, want)
		}
	}
}
