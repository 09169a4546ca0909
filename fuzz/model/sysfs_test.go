package model

import (
	"math/rand/v2"
	"reflect"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

func text(s string) Attr { return Attr{Text: s} }

func absent() Attr { return Attr{Errno: syscall.ENOENT} }

// TestSysfsNumbers: what sysfs may say of a size, an alignment and a node, and what it means.
func TestSysfsNumbers(t *testing.T) {
	format, tooLarge, invalid := Fails(pmem2.ErrInvalidSizeFormat), FailsWith(syscall.ERANGE), FailsWith(syscall.EINVAL)
	for _, tc := range []struct {
		text         string
		size         uint64
		result, node Result
	}{
		{"0\n", 0, OK, OK},
		{"16777216\n", 16777216, OK, OK},
		{"16777216", 16777216, OK, OK},
		{"007\n", 7, OK, OK},
		{"18446744073709551615\n", 1<<64 - 1, OK, invalid},
		{"018446744073709551615\n", 1<<64 - 1, OK, invalid},
		{"18446744073709551616\n", 0, tooLarge, invalid},
		{"99999999999999999999999\n", 0, tooLarge, invalid},
		{"99999999999999999999999 \n", 0, format, invalid},
		{"", 0, format, invalid}, {"\n", 0, format, invalid}, {"1\n\n", 0, format, invalid}, {"1\r\n", 0, format, invalid},
		{" 1\n", 0, format, invalid}, {"1 \n", 0, format, invalid}, {"+1\n", 0, format, invalid}, {"0x10\n", 0, format, invalid},
		{"1\x00\n", 0, format, invalid}, {"1\n2\n", 0, format, invalid}, {"٣\n", 0, format, invalid}, {"\xff\n", 0, format, invalid},
		{"-1\n", 0, format, OK}, {"--1\n", 0, format, invalid}, {"-2147483648\n", 0, format, OK}, {"-2147483649\n", 0, format, invalid},
		{"2147483647\n", 1<<31 - 1, OK, OK}, {"2147483648\n", 1 << 31, OK, invalid},
	} {
		if size, r := DeviceSize(text(tc.text)); size != tc.size || r != tc.result {
			t.Errorf("size %q: got %d, %v; want %d, %v", tc.text, size, r, tc.size, tc.result)
		}
		if _, r := NUMANode(text(tc.text)); r != tc.node {
			t.Errorf("node %q: got %v, want %v", tc.text, r, tc.node)
		}
	}
	for _, tc := range []struct {
		text string
		want Result
	}{
		{"4096\n", OK}, {"9223372036854775808\n", OK}, {"2048\n", Fails(pmem2.ErrInvalidAlignmentValue)},
		{"4097\n", Fails(pmem2.ErrInvalidAlignmentValue)}, {"0\n", Fails(pmem2.ErrInvalidAlignmentValue)},
		{"0x1000\n", Fails(pmem2.ErrInvalidAlignmentFormat)}, {"18446744073709551616\n", FailsWith(syscall.ERANGE)},
	} {
		if _, r := DeviceAlignment(text(tc.text), 4096); r != tc.want {
			t.Errorf("alignment %q: got %v, want %v", tc.text, r, tc.want)
		}
	}
	for _, tc := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"0x180000000", 0x180000000, true}, {"0xffffffffffffffff", 1<<64 - 1, true}, {"0x00000000000000000001", 1, true}, {"17", 17, true},
		{"010", 10, true}, {"0x10000000000000000", 0, false}, {"0x100000000000000000", 0, false}, {"0x", 0, false}, {"0X1", 0, false}, {"0x1g", 0, false},
		{"1_0", 0, false}, {"", 0, false},
	} {
		if n, ok := address(tc.text); ok != tc.ok || ok && n != tc.want {
			t.Errorf("address %q: got %#x, %t; want %#x, %t", tc.text, n, ok, tc.want, tc.ok)
		}
	}
}

// TestSysfsDIMMs: the first thing that is wrong with the NVDIMMs of a region is the result.
func TestSysfsDIMMs(t *testing.T) {
	mapping := []Attr{text("nmem0,0,1,0\n"), text("nmem1\n")}
	for _, tc := range []struct {
		mappings Attr
		mapping  []Attr
		counts   []Attr
		want     uint64
		result   Result
	}{
		{text("2\n"), mapping, []Attr{text("5\n"), text("7\n")}, 12, OK},
		{text("1\n"), mapping, []Attr{text("-1\n")}, 1<<32 - 1, OK},
		{text("2\n"), mapping, []Attr{text("18446744073709551615\n"), text("1\n")}, 0, FailsWith(syscall.ERANGE)},
		{text("2\n"), mapping, []Attr{text("x\n"), absent()}, 0, Fails(pmem2.ErrNoSupp)},
		{text("2\n"), mapping, []Attr{text("x\n"), text("1\n")}, 0, FailsWith(syscall.EINVAL)},
		{text("3\n"), mapping, []Attr{text("1\n"), text("1\n")}, 0, FailsWith(syscall.EINVAL)},
		{text("0\n"), nil, nil, 0, Fails(pmem2.ErrNoSupp)},
		{absent(), nil, nil, 0, Fails(pmem2.ErrNoSupp)},
		{text("65536\n"), nil, nil, 0, FailsWith(syscall.EINVAL)},
		{text("1\n"), []Attr{text(",0\n")}, nil, 0, FailsWith(syscall.EINVAL)},
		{text("1\n"), []Attr{text("nmem7,0\n")}, mapping, 0, Fails(pmem2.ErrNoSupp)},
	} {
		got, r := DIMMs{tc.mappings, tc.mapping, tc.counts}.DeviceUSC()
		if got != tc.want || r != tc.result {
			t.Errorf("%v: got %d, %v; want %d, %v", tc, got, r, tc.want, tc.result)
		}
	}
	id, r := DIMMs{text("2\n"), mapping, []Attr{text("a\n"), text("b")}}.DeviceID(nil)
	if string(id) != "ab" || r != OK {
		t.Errorf("identifier: got %q, %v", id, r)
	}
}

// TestSysfsLinks: which region a link leads through.
func TestSysfsLinks(t *testing.T) {
	bus := []Entry{{Name: "region0"}, {Name: "region12"}, {Name: "regionx"}}
	for _, tc := range []struct{ link, want string }{
		{"../../devices/ndbus0/region0/dax0.0/dax0.0", "region0"},
		{"../../devices/region12/region0", "region0"},
		{"../../devices/region0/region1", ""}, // the inner one counts, which isn't on the bus
		{"../../devices/region12/region0/..", "region12"},
		{"../../../../region0", "region0"}, {"region0", "region0"}, {"regionx/a", ""}, {"region/a", ""}, {"", ""},
	} {
		if got, r := OnRegion(text(tc.link), bus, 0); got != tc.want || r != OK {
			t.Errorf("%q: got %q, %v; want %q", tc.link, got, r, tc.want)
		}
	}
	for link, want := range map[string]bool{"../../bus/dax": true, "dax": true, "dax/": true, "../bus/xdax": false, "": false, "dax/x": false} {
		if r := CharacterDevice(text(link)); (r == OK) != want {
			t.Errorf("subsystem %q: got %v", link, r)
		}
	}
}

// TestSysfsBadBlocks: lists of sectors are bytes of the source, in order.
func TestSysfsBadBlocks(t *testing.T) {
	file := BadFile{
		Pieces: []Piece{{0, Extent{65536, 8192}}, {8192, Extent{0, 5120}}}, Block: 4096,
		Partition: absent(), Page: 4096,
	}
	for _, tc := range []struct {
		list   string
		want   []Extent
		result Result
	}{
		{"", nil, OK},
		{"128 1\n", []Extent{{0, 4096}}, OK},
		{"135 2\n", []Extent{{0, 8192}}, OK}, // one range of the list, one bad block
		{"144 1\n127 1\n", nil, OK},
		{"9 1\n", []Extent{{12288, 1024}}, OK}, // the last block is a part of one
		{"0 1\n129 1\n128 1\n", []Extent{{0, 4096}, {8192, 4096}}, OK},
		{"0 18014398509481983\n", []Extent{{0, 8192}, {8192, 5120}}, OK},
		{"1 18014398509481983\n", nil, FailsWith(syscall.EINVAL)},
		{"0 1\n\n", nil, FailsWith(syscall.EINVAL)}, {"0 1 \n", nil, FailsWith(syscall.EINVAL)}, {"0\n", nil, FailsWith(syscall.EINVAL)},
		{"8 0\n", nil, OK}, {"0 1", []Extent{{8192, 4096}}, OK},
	} {
		file.List = text(tc.list)
		got, r := file.BadBlocks(nil)
		if len(got) == 0 {
			got = nil
		}
		if r != tc.result || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: got %v, %v; want %v, %v", tc.list, got, r, tc.want, tc.result)
		}
	}
}

// TestSysfsIsTotal: any texts have one meaning, and a failure comes with nothing else.
func TestSysfsIsTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pieces := []string{"0", "1", "18446744073709551615", "99999999999", "-", "+", " ", "\n", "0x", "f", ",", "nmem0", "nmem1", "/", "..", "region0", "dax", "cpu_cache"}
	some := func() Attr {
		if r.IntN(12) == 0 {
			return Attr{Errno: []syscall.Errno{syscall.ENOENT, syscall.EACCES, syscall.EIO}[r.IntN(3)]}
		}
		s := ""
		for range r.IntN(6) {
			s += pieces[r.IntN(len(pieces))]
		}
		return text(s)
	}
	for range 20000 {
		a, page := some(), uint64(64)<<r.IntN(8)
		if n, res := DeviceSize(a); res != OK && n != 0 {
			t.Fatalf("size %v: %d, %v", a, n, res)
		}
		if n, res := DeviceAlignment(a, page); res == OK && (n < page || n&(n-1) != 0) || res != OK && n != 0 {
			t.Fatalf("alignment %v: %d, %v", a, n, res)
		}
		if n, res := NUMANode(a); n < -1<<31 || n > 1<<31-1 || res != OK && n != 0 {
			t.Fatalf("node %v: %d, %v", a, n, res)
		}
		d := DIMMs{some(), []Attr{some(), some()}, []Attr{some(), some()}}
		if n, res := d.DeviceUSC(); res != OK && n != 0 {
			t.Fatalf("counts %v: %d, %v", d, n, res)
		}
		d.DeviceID(nil)
		bus := []Entry{{"region0", some()}, {some().Text, some()}}
		SyncedGranularity(bus, some().Errno)
		OnRegion(some(), bus, some().Errno)
		CharacterDevice(some())
		DeepFlush(some(), some().Errno)
		f := BadFile{[]Piece{{8192, Extent{0, 8192}}, {0, Extent{1 << 62, 4096}}}, 4096, some(), some(), some(), page}
		blocks, res := f.BadBlocks(nil)
		checkOrder(t, blocks, res)
		blocks, res = BadDevice{some(), some(), some(), some(), page}.BadBlocks(nil)
		checkOrder(t, blocks, res)
	}
}

func checkOrder(t *testing.T, blocks []Extent, r Result) {
	t.Helper()
	if r != OK && len(blocks) > 0 {
		t.Fatalf("%v with %v", r, blocks)
	}
	for i, b := range blocks {
		if b.Size == 0 || i > 0 && blocks[i-1].Start+blocks[i-1].Size > b.Start {
			t.Fatalf("%v is in the wrong place in %v", b, blocks)
		}
	}
}
