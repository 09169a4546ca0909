package acpi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var le = binary.LittleEndian

// fourDIMMs is a region of two, one of one, and one of a DIMM that has and tells nothing.
func fourDIMMs() Config {
	return Config{Interleaved: true, BadBlock: Range{0x100600000, 512}, DIMMs: []DIMM{
		{Size: 64 << 20, FlushHints: true, Health: &Health{DirtyShutdowns: 5}},
		{Size: 64 << 20, FlushHints: true, Health: &Health{DirtyShutdowns: 7, Dirty: true}},
		{Size: 64 << 20, FlushHints: true, Health: &Health{DirtyShutdowns: 3}},
		{Size: 64 << 20},
	}}
}

// bus loads the SSDT.
func bus(t *testing.T, cfg Config) *space {
	t.Helper()
	files, err := Tables(cfg)
	if err != nil {
		t.Fatal(err)
	}
	root, err := load(files["kernel/firmware/acpi/ssdt.aml"][36:])
	if err != nil {
		t.Fatal(err)
	}
	return root.names["_SB_"].(*space).names["NVDR"].(*space)
}

// dsm asks a device.
func dsm(t *testing.T, s *space, id []byte, function uint32, input []byte) []byte {
	t.Helper()
	answer, err := s.call("_DSM", id, uint32(1), function, []any{input})
	if err != nil {
		t.Fatalf("function %d of %x: %v", function, input, err)
	}
	return answer.([]byte)
}

// span is the input of most functions of the bus.
func span(address, length uint64) []byte {
	return le.AppendUint64(le.AppendUint64(nil, address), length)
}

func TestDevices(t *testing.T) {
	root := bus(t, fourDIMMs())
	if id := root.names["_HID"].(*object).value; id != "ACPI0012" {
		t.Errorf("_HID: got %v, want ACPI0012", id)
	}
	for i, c := range []struct {
		told bool
		want Health
	}{{true, Health{5, false}}, {true, Health{7, true}}, {true, Health{3, false}}, {false, Health{}}} {
		name := fmt.Sprintf("NV%02X", i)
		d := root.names[name].(*space)
		if at := d.names["_ADR"].(*object).value; at != uint32(i+1) {
			t.Errorf("%s: _ADR is %v, want %d", name, at, i+1)
		}
		if _, ok := d.names["_DSM"]; ok != c.told {
			t.Errorf("%s: has _DSM %v, want %v", name, ok, c.told)
		}
		if !c.told {
			continue
		}
		if got := dsm(t, d, intelDIMM, 0, nil); !bytes.Equal(got, []byte{3}) {
			t.Errorf("%s: functions are %x, want 03", name, got)
		}
		if got := dsm(t, d, nvdimmRoot, 0, nil); !bytes.Equal(got, []byte{0}) {
			t.Errorf("%s: functions of another interface are %x, want 00", name, got)
		}
		if got := dsm(t, d, intelDIMM, 2, nil); !bytes.Equal(got, []byte{1, 0, 0, 0}) {
			t.Errorf("%s: function 2 is %x, want 01000000", name, got)
		}
		got := dsm(t, d, intelDIMM, 1, nil)
		if len(got) != 132 || le.Uint32(got) != 0 || le.Uint32(got[4:])&(1<<5|1<<10) != 1<<5|1<<10 {
			t.Fatalf("%s: smart is %x", name, got)
		}
		if h := (Health{le.Uint32(got[20:]), got[35] != 0}); h != c.want {
			t.Errorf("%s: got %+v, want %+v", name, h, c.want)
		}
	}
}

func TestBusFunctions(t *testing.T) {
	root := bus(t, fourDIMMs())
	if got := dsm(t, root, nvdimmRoot, 0, nil); !bytes.Equal(got, []byte{0x1f}) {
		t.Errorf("functions are %x, want 1f", got)
	}
	if got := dsm(t, root, intelDIMM, 0, nil); !bytes.Equal(got, []byte{0}) {
		t.Errorf("functions of another interface are %x, want 00", got)
	}
	if got := dsm(t, root, nvdimmRoot, 5, span(Base, 256)); !bytes.Equal(got, []byte{1, 0, 0, 0}) {
		t.Errorf("function 5 is %x, want 01000000", got)
	}
}

func TestRanges(t *testing.T) {
	const m64 = 64 << 20
	for _, c := range []struct {
		address, length uint64
		inside, aligned bool
	}{
		{Base, 2 * m64, true, true},
		{Base, 2*m64 + 1, false, false},
		{Base, 3 * m64, false, true},
		{Base + 2*m64, m64, true, true},
		{Base + 2*m64, m64 + 256, false, true},
		{Base + 3*m64, m64, true, true},
		{Base + 3*m64, m64 + 256, false, true},
		{Base + 4*m64 - 256, 256, true, true},
		{Base + 4*m64 - 256, 257, false, false},
		{Base + 4*m64 - 1, 1, true, false},
		{Base + 4*m64 - 1, 2, false, false},
		{Base + 1, 255, true, false},
		{Base + 1, 256, true, false},
		{Base, 257, true, false},
		{Base, 1, true, false},
		{Base, 0, false, true},
		{Base - 256, 256, false, true},
		{Base - 256, 512, false, true},
		{Base + 4*m64, 256, false, true},
		{Base | 1<<39, 256, false, true},
		{Base | 1<<40, 256, false, true},
		{Base | 1<<63, 256, false, true},
		{Base, 1 << 39, false, true},
		{Base, 1<<40 - 1, false, false},
		{Base, 1 << 40, false, true},
		{Base, 1<<40 + 256, false, true},
		{Base, 1<<63 + 256, false, true},
		{Base + 256, 1<<39 - 256, false, true},
		{0, 256, false, true},
		{0, 1 << 38, false, true},
		{^uint64(0), 2, false, false},
	} {
		root := bus(t, fourDIMMs())
		wantCap := []uint32{2, 0, 0, 0}
		if c.inside {
			wantCap = []uint32{0x20000, 4128, 256, 0}
		}
		got := make([]uint32, 4)
		answer := dsm(t, root, nvdimmRoot, 1, span(c.address, c.length))
		if _, err := binary.Decode(answer, le, got); err != nil || len(answer) != 16 || !slices.Equal(got, wantCap) {
			t.Errorf("%#x+%#x: capabilities %x, want %x", c.address, c.length, answer, wantCap)
		}
		answer = dsm(t, root, nvdimmRoot, 2, append(span(c.address, c.length), 2, 0, 0, 0, 0, 0, 0, 0))
		if ok := le.Uint64(answer) == 0; len(answer) != 8 || ok != c.inside || !ok && le.Uint64(answer) != 2 {
			t.Errorf("%#x+%#x: start %x, want success %v", c.address, c.length, answer, c.inside)
		}
		if status := le.Uint32(dsm(t, root, nvdimmRoot, 3, nil)); (status == 0) != c.inside {
			t.Errorf("%#x+%#x: status %x after the start, want success %v", c.address, c.length, status, c.inside)
		}
		answer = dsm(t, root, nvdimmRoot, 4, span(c.address, c.length))
		wantClear := []uint64{2, 0}
		if c.inside && c.aligned {
			wantClear = []uint64{0, c.length}
		}
		if got := []uint64{le.Uint64(answer), le.Uint64(answer[8:])}; len(answer) != 16 || !slices.Equal(got, wantClear) {
			t.Errorf("%#x+%#x: clear %x, want %x", c.address, c.length, answer, wantClear)
		}
	}
}

// found checks the form of a scrub's answer, and gives the units that it has.
func found(t *testing.T, root *space, want Range) (units []uint64, handles []uint32) {
	t.Helper()
	a := dsm(t, root, nvdimmRoot, 3, nil)
	n := int(le.Uint32(a[44:]))
	if le.Uint32(a) != 0 || len(a) != 48+24*n || int(le.Uint32(a[4:])) != len(a)-4 {
		t.Fatalf("%d records: %x", n, a)
	}
	if r := (Range{le.Uint64(a[8:]), le.Uint64(a[16:])}); r != want {
		t.Fatalf("scrubbed %#x, want %#x", r, want)
	}
	if le.Uint64(a[24:]) != 0 || le.Uint64(a[32:]) != 0 || le.Uint16(a[40:]) != 2 || le.Uint16(a[42:]) != 0 {
		t.Fatalf("restart, type or flags: %x", a[24:44])
	}
	for r := range slices.Chunk(a[48:], 24) {
		if le.Uint64(r[16:]) != 256 {
			t.Fatalf("record %x, want 256 bytes", r)
		}
		units, handles = append(units, le.Uint64(r[8:])), append(handles, le.Uint32(r))
	}
	return units, handles
}

func TestScrubBeforeAny(t *testing.T) {
	a := dsm(t, bus(t, fourDIMMs()), nvdimmRoot, 3, nil)
	if want := append([]byte{0, 0, 2, 0, 44}, make([]byte, 35)...); len(a) != 48 || !bytes.Equal(a[:40], want) || le.Uint32(a[44:]) != 0 {
		t.Errorf("got %x, want %x and no records", a, want)
	}
}

func TestRecordsNameTheDIMM(t *testing.T) {
	for _, c := range []struct {
		address uint64
		want    uint32
	}{{Base, 1}, {Base + 4096, 2}, {Base + 8192, 1}, {Base + 128<<20 - 256, 2}, {Base + 128<<20, 3}, {Base + 192<<20, 4}} {
		cfg := fourDIMMs()
		cfg.BadBlock = Range{c.address, 256}
		root := bus(t, cfg)
		all := Range{c.address, 256}
		dsm(t, root, nvdimmRoot, 2, span(all.Address, all.Length))
		if units, handles := found(t, root, all); !slices.Equal(units, []uint64{c.address}) || !slices.Equal(handles, []uint32{c.want}) {
			t.Errorf("%#x: units %#x of DIMMs %d, want DIMM %d", c.address, units, handles, c.want)
		}
	}
}

// TestScrubAndClear scrubs and clears at random, and compares with a list of what's bad.
func TestScrubAndClear(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	for _, count := range []uint64{0, 1, 2, 7, 31, 32} {
		cfg := fourDIMMs()
		cfg.BadBlock = Range{Base + 64<<20 - 1024, 256 * count}
		if count == 0 {
			cfg.BadBlock = Range{}
		}
		root := bus(t, cfg)
		var bad []uint64
		for i := range count {
			bad = append(bad, cfg.BadBlock.Address+256*i)
		}
		at := func() Range {
			first := random.Uint64N(count+8) + (Base+64<<20-1024)/256 - 4
			return Range{256 * first, 256 * (1 + random.Uint64N(1+random.Uint64N(count+4)))}
		}
		for step := range 40 {
			r := at()
			dsm(t, root, nvdimmRoot, 2, span(r.Address, r.Length))
			want := slices.DeleteFunc(slices.Clone(bad), func(u uint64) bool { return u < r.Address || u >= r.end() })
			if got, _ := found(t, root, r); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %d units, step %d, scrub of %#x: got %#x, want %#x", seed, count, step, r, got, want)
			}
			if r = at(); step%4 == 0 {
				dsm(t, root, nvdimmRoot, 4, span(r.Address, r.Length))
				bad = slices.DeleteFunc(bad, func(u uint64) bool { return u >= r.Address && u < r.end() })
			}
		}
	}
}

// TestExtentLengths has terms whose lengths begin to need one more byte.
func TestExtentLengths(t *testing.T) {
	for _, n := range []int{0, 61, 62, 63, 4092, 4093, 4094, 1<<20 - 5, 1<<20 - 4, 1<<20 - 3, 1 << 20} {
		content := bytes.Repeat([]byte{0x5a}, n)
		r := &reader{extent(nil, content)}
		if got := r.extent().rest; !bytes.Equal(got, content) || len(r.rest) != 0 {
			t.Errorf("%d bytes: got %d and %d more", n, len(got), len(r.rest))
		}
	}
}

func TestIntegers(t *testing.T) {
	for _, v := range []uint32{0, 1, 2, 255, 256, 1<<16 - 1, 1 << 16, 1 << 31, 1<<32 - 1} {
		if got := evaluate(&reader{integer(v)}, nil, nil); got != v {
			t.Errorf("%#x: got %#x", v, got)
		}
	}
}
