package acpi

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestHeaders(t *testing.T) {
	files, err := Tables(fourDIMMs())
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for name, ids := range map[string][2]string{"nfit": {"NFIT", "BOCHS BXPC    "}, "ssdt": {"SSDT", "BOCHS NVDIMM\x00\x00"}} {
		table := files["kernel/firmware/acpi/"+name+".aml"]
		sum := byte(0)
		for _, b := range table {
			sum += b
		}
		if len(table) < 36 || int(le.Uint32(table[4:])) != len(table) || sum != 0 || table[8] != 1 {
			t.Errorf("%s: %d bytes, sum %d, header %x", name, len(table), sum, table[:36])
		}
		// QEMU's have the same ids, and OEM revision 1.
		if got := [2]string{string(table[:4]), string(table[10:24])}; got != ids || le.Uint32(table[24:]) <= 1 {
			t.Errorf("%s: ids %q, want %q; OEM revision %d", name, got, ids, le.Uint32(table[24:]))
		}
	}
}

// structures are an NFIT's, as text: type, length, and the fields that matter.
func structures(t *testing.T, cfg Config) (list []string) {
	t.Helper()
	files, err := Tables(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := files["kernel/firmware/acpi/nfit.aml"][36:]
	if le.Uint32(s) != 0 {
		t.Errorf("reserved field %x", s[:4])
	}
	for s = s[4:]; len(s) > 0; {
		kind, n := le.Uint16(s), le.Uint16(s[2:])
		if int(n) > len(s) || n%8 != 0 || n == 0 {
			t.Fatalf("structure of type %d has %d of %d bytes", kind, n, len(s))
		}
		b := s[:n]
		s = s[n:]
		line := fmt.Sprintf("%d:%d ", kind, n)
		switch kind {
		case 0:
			line += fmt.Sprintf("range %d flags %d proximity %d %x %#x+%#x %#x", le.Uint16(b[4:]), le.Uint16(b[6:]), le.Uint32(b[12:]), b[16:20], le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:]))
		case 1:
			line += fmt.Sprintf("map DIMM %d id %d range %d control %d size %#x offset %#x start %#x interleave %d ways %d flags %d", le.Uint32(b[4:]), le.Uint16(b[8:]), le.Uint16(b[12:]), le.Uint16(b[14:]),
				le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint16(b[40:]), le.Uint16(b[42:]), le.Uint16(b[44:]))
		case 2:
			line += fmt.Sprintf("interleave %d lines %d of %d at %d", le.Uint16(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]))
		case 4:
			line += fmt.Sprintf("control %d %x valid %x made %x serial %x format %x windows %d", le.Uint16(b[4:]), b[6:18], b[18], b[19:22], b[24:28], b[28:30], le.Uint16(b[30:]))
		case 6:
			line += fmt.Sprintf("hint DIMM %d %d at %#x", le.Uint32(b[4:]), le.Uint16(b[8:]), le.Uint64(b[16:]))
		case 7:
			line += fmt.Sprintf("capabilities to %d: %#x", b[4], le.Uint32(b[8:]))
		}
		list = append(list, line)
	}
	return list
}

func TestNFIT(t *testing.T) {
	want := []string{
		"0:56 range 1 flags 2 proximity 0 79d3f066 0x100000000+0x8000000 0x8008",
		"2:24 interleave 1 lines 1 of 4096 at 0",
		"1:48 map DIMM 1 id 11 range 1 control 1 size 0x4000000 offset 0x0 start 0x0 interleave 1 ways 2 flags 0",
		"1:48 map DIMM 2 id 12 range 1 control 2 size 0x4000000 offset 0x1000 start 0x0 interleave 1 ways 2 flags 0",
		"0:56 range 2 flags 2 proximity 0 79d3f066 0x108000000+0x4000000 0x8008",
		"1:48 map DIMM 3 id 13 range 2 control 3 size 0x4000000 offset 0x0 start 0x0 interleave 0 ways 1 flags 0",
		"0:56 range 3 flags 2 proximity 0 79d3f066 0x10c000000+0x4000000 0x8008",
		"1:48 map DIMM 4 id 14 range 3 control 4 size 0x4000000 offset 0x0 start 0x0 interleave 0 ways 1 flags 0",
		"4:32 control 1 868001000100000000000000 valid 0 made 000000 serial 01100000 format 0103 windows 0",
		"6:24 hint DIMM 1 1 at 0xfef00000",
		"4:32 control 2 868001000100000000000000 valid 0 made 000000 serial 02100000 format 0103 windows 0",
		"6:24 hint DIMM 2 1 at 0xfef01000",
		"4:32 control 3 868001000100000000000000 valid 0 made 000000 serial 03100000 format 0103 windows 0",
		"6:24 hint DIMM 3 1 at 0xfef02000",
		"4:32 control 4 868001000100000000000000 valid 0 made 000000 serial 04100000 format 0103 windows 0",
	}
	if got := structures(t, fourDIMMs()); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNFITOptions(t *testing.T) {
	for _, c := range []struct {
		what string
		cfg  Config
		want string
	}{
		{"place and date", Config{DIMMs: []DIMM{{Size: 16 << 20, Serial: 0x100000, Made: &Manufacturing{2, 0x1234}}}},
			"4:32 control 1 868001000100000000000000 valid 1 made 021234 serial 00001000 format 0103 windows 0"},
		{"caches are flushed", Config{DIMMs: []DIMM{{Size: 16 << 20}}, Persistence: CPUCache}, "7:16 capabilities to 1: 0x3"},
		{"caches aren't flushed", Config{DIMMs: []DIMM{{Size: 16 << 20}}, Persistence: MemoryController}, "7:16 capabilities to 1: 0x2"},
		{"base", Config{DIMMs: []DIMM{{Size: 16 << 20}}, Base: 5 << 30}, "0:56 range 1 flags 2 proximity 0 79d3f066 0x140000000+0x1000000 0x8008"},
	} {
		if got := structures(t, c.cfg); !slices.Contains(got, c.want) {
			t.Errorf("%s: got\n%s\nwant among them\n%s", c.what, strings.Join(got, "\n"), c.want)
		}
	}
}

func TestRegions(t *testing.T) {
	const mib = 1 << 20
	sized := func(sizes ...uint64) (d []DIMM) {
		for _, s := range sizes {
			d = append(d, DIMM{Size: s * mib})
		}
		return d
	}
	for _, c := range []struct {
		cfg  Config
		want []Range
		err  string
	}{
		{Config{DIMMs: sized(64, 128, 16)}, []Range{{Base, 64 * mib}, {Base + 64*mib, 128 * mib}, {Base + 192*mib, 16 * mib}}, ""},
		{Config{DIMMs: sized(64, 64, 16), Interleaved: true}, []Range{{Base, 128 * mib}, {Base + 128*mib, 16 * mib}}, ""},
		{Config{DIMMs: sized(16), Base: 8 << 30}, []Range{{8 << 30, 16 * mib}}, ""},
		{Config{DIMMs: sized(16), Base: 1<<39 - 16*mib}, []Range{{1<<39 - 16*mib, 16 * mib}}, ""},
		{Config{}, nil, "0 DIMMs: there can be 1 to 32"},
		{Config{DIMMs: make([]DIMM, 33)}, nil, "33 DIMMs"},
		{Config{DIMMs: sized(0)}, nil, "DIMM 1 at 0x100000000 has 0 bytes: it's to be a multiple of 16 MiB"},
		{Config{DIMMs: sized(16, 17)}, nil, "DIMM 2 at 0x101000000 has 17825792 bytes"},
		{Config{DIMMs: sized(32), Base: 1<<39 - 16*mib}, nil, "ends before 0x8000000000"},
		{Config{DIMMs: sized(16), Base: 1 << 39}, nil, "base 0x8000000000"},
		{Config{DIMMs: sized(16), Base: 1<<32 + 1}, nil, "base 0x100000001: it's to be a multiple of 16 MiB"},
		{Config{DIMMs: sized(16), Interleaved: true}, nil, "interleaved: the first two DIMMs are to have the same size"},
		{Config{DIMMs: sized(16, 32), Interleaved: true}, nil, "interleaved"},
		{Config{DIMMs: sized(16), Persistence: 3}, nil, "persistence 3"},
		{Config{DIMMs: sized(16), Persistence: -1}, nil, "persistence -1"},
		{Config{DIMMs: []DIMM{{Size: 16 * mib}, {Size: 16 * mib, Serial: 0x1001}}}, nil, "DIMMs 1 and 2: both have the serial number 0x1001"},
		{Config{DIMMs: sized(16), BadBlock: Range{Base, 0}}, nil, "bad block of 0 bytes"},
		{Config{DIMMs: sized(16), BadBlock: Range{Base, 128}}, nil, "multiples of 256"},
		{Config{DIMMs: sized(16), BadBlock: Range{Base + 128, 256}}, nil, "multiples of 256"},
		{Config{DIMMs: sized(16), BadBlock: Range{Base, 33 * 256}}, nil, "the length 1 to 32 of them"},
		{Config{DIMMs: sized(16, 16), BadBlock: Range{Base + 16*mib - 256, 512}}, nil, "it's in no region; these are [0x100000000-0x100ffffff 0x101000000-0x101ffffff]"},
		{Config{DIMMs: sized(16), BadBlock: Range{Base - 256, 256}}, nil, "it's in no region"},
		{Config{DIMMs: sized(16), BadBlock: Range{Base + 16*mib, 256}}, nil, "it's in no region"},
	} {
		got, err := c.cfg.Regions()
		if c.err == "" {
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%+v: got %#x, %v, want %#x", c.cfg, got, err, c.want)
			}
			continue
		}
		if files, also := Tables(c.cfg); err == nil || also == nil || files != nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: got %v and %v, want %q", c.cfg, err, also, c.err)
		}
	}
}

// TestSame: the maker of an initramfs may compare.
func TestSame(t *testing.T) {
	a, _ := Tables(fourDIMMs())
	b, err := Tables(fourDIMMs())
	for name, table := range a {
		if err != nil || !bytes.Equal(b[name], table) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}
