package powercut

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/ci/sequences"
	"pmemlab/ci/vm/plan"
	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

var namespaces = []plan.Place{
	{Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax}, Bytes: 62 << 20},
	{Namespace: plan.Namespace{Name: "dax4K", Kind: plan.DevDax, Align: 4 << 10}, Bytes: 62 << 20},
	{Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax"}, Bytes: 190 << 20, Mount: "/mnt/ext4-dax"},
	{Namespace: plan.Namespace{Name: "xfs-dax", Kind: plan.FSDax, FS: "xfs", Options: "dax"}, Bytes: 318 << 20, Mount: "/mnt/xfs-dax"},
	{Namespace: plan.Namespace{Name: "ext4", Kind: plan.Raw, FS: "ext4"}, Bytes: 64 << 20, Mount: "/mnt/ext4"},
}

func emulated(t *testing.T) (*emu.Machine, []plan.Place) {
	t.Helper()
	m, places, err := sequences.Emulate(namespaces, "memory_controller")
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, m)
	return m, places
}

// shutdown has the machine shut down after the test, with nothing left open or mapped.
func shutdown(t *testing.T, m *emu.Machine) {
	t.Cleanup(func() {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}

func crash(t *testing.T, m *emu.Machine, c emu.CrashConfig) *emu.Machine {
	t.Helper()
	booted, err := m.Crash(c)
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, booted)
	return booted
}

func check(t *testing.T, m platform.Platform, p plan.Place, o Options) Result {
	t.Helper()
	r, err := Check(m, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var errCut = errors.New("the power is cut")

// TestWhatIsAcknowledgedIsThere: whenever the power is cut, in each state that it can leave.
func TestWhatIsAcknowledgedIsThere(t *testing.T) {
	for i := range namespaces {
		for seed := range uint64(3) {
			m, places := emulated(t)
			p, o := places[i], Options{Seed: seed}
			last := 7 + int(seed)*13
			var booted []*emu.Machine
			err := Write(m, p, o, func(n int) error {
				if n != last {
					return nil
				}
				for _, c := range []emu.CrashConfig{{}, {Seed: 1 + seed}, {Seed: 2 + seed, Possible: true}} {
					booted = append(booted, crash(t, m, c))
				}
				return errCut
			})
			if !errors.Is(err, errCut) {
				t.Fatalf("%s: %v, want it to say that %v", p.Name, err, errCut)
			}
			o.Records = last + 1
			for n, b := range booted {
				got := check(t, b, p, o)
				want := Result{Place: p.Name, Granularity: granularity(p), Seed: seed, Persisted: true, Acknowledged: last + 1, Whole: last + 1}
				if !equal(got, want) {
					t.Errorf("seed %d, state %d:\n got %+v\nwant %+v", seed, n, got, want)
				}
			}
		}
	}
}

func granularity(p plan.Place) string {
	if p.Name == "ext4" {
		return "PAGE"
	}
	return "CACHE_LINE"
}

func equal(a, b Result) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestControlLoses: what isn't persisted needn't be there, and isn't if no line is that
// needn't be.
func TestControlLoses(t *testing.T) {
	m, places := emulated(t)
	for _, p := range places {
		o := Options{Seed: 5, Records: 30, NoPersist: true}
		acks := 0
		if err := Write(m, p, o, func(n int) error {
			if n != acks {
				t.Errorf("%s: record %d acknowledged, want %d", p.Name, n, acks)
			}
			acks++
			return nil
		}); err != nil || acks != o.Records {
			t.Fatalf("%s: %d records acknowledged (%v), want %d", p.Name, acks, err, o.Records)
		}
		// Without a power cut all is there, and the next record in part.
		want := Result{Place: p.Name, Granularity: granularity(p), Seed: 5, Acknowledged: 30, Whole: 30}
		if got := check(t, m, p, o); !equal(got, want) {
			t.Errorf("without a power cut:\n got %+v\nwant %+v", got, want)
		}
	}
	booted := crash(t, m, emu.CrashConfig{})
	for _, p := range places {
		want := Result{Place: p.Name, Granularity: granularity(p), Seed: 5, Acknowledged: 30, Missing: 30, FirstMissing: []int{0, 1, 2, 3, 4}}
		if got := check(t, booted, p, Options{Seed: 5, Records: 30, NoPersist: true}); !equal(got, want) {
			t.Errorf("after it:\n got %+v\nwant %+v", got, want)
		}
	}
}

// TestCycles: each boot checks what the one before has left, through the program itself.
func TestCycles(t *testing.T) {
	m, places := emulated(t)
	dir := t.TempDir()
	file, out, acks := filepath.Join(dir, "places"), filepath.Join(dir, "out"), filepath.Join(dir, "acks")
	text, err := json.Marshal(places)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []Result
	for seed := 1; seed <= 4; seed++ {
		args := []string{
			"cycle", "-seed", fmt.Sprint(seed), "-records", "9", "-places", "dax2M,ext4,ext4-dax,xfs-dax", "-places-file", file, "-out", out, "-ack", acks,
		}
		if seed == 1 {
			args = append(args, "-first")
		}
		var stdout, stderr bytes.Buffer
		if status := run(m, args, &stdout, &stderr); status != 0 || stdout.Len()+stderr.Len() > 0 {
			t.Fatalf("status %d, want 0\n%s%s", status, stdout.String(), stderr.String())
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var found []Result
		if err := json.Unmarshal(text, &found); err != nil {
			t.Fatal(err)
		}
		if want := 8; len(found) != want && seed > 1 || len(found) != 0 && seed == 1 {
			t.Errorf("seed %d: %d results, want %d, and none of the first", seed, len(found), want)
		}
		for _, r := range found {
			if r.Seed != uint64(seed-1) || r.Acknowledged != 9 {
				t.Errorf("boot of seed %d: got %+v, want 9 records of the seed before", seed, r)
			}
		}
		all = append(all, found...)
		m = crash(t, m, emu.CrashConfig{})
	}
	summary, holds := Summarize(all)
	if !holds || !strings.HasSuffix(summary, "power cuts: 3 runs, 4 places, 0 persisted records missing\n") ||
		!strings.Contains(summary, "ext4 (PAGE): 3 power cuts, 27 records persisted, 0 missing\n  without Persist: 3 of 3 power cuts lost something, 27 of 27 records\n") {
		t.Errorf("holds: %t\n%s", holds, summary)
	}
	told, err := os.ReadFile(acks)
	if want := 4*9*8 + 3*8; err != nil || bytes.Count(told, []byte("\n")) != want {
		t.Errorf("(%v) want %d lines:\n%s", err, want, told)
	}
}

// plug is a line to a machine whose power is cut once it has told so many lines.
type plug struct {
	bytes.Buffer
	after int
	cut   func()
}

func (p *plug) Write(b []byte) (int, error) {
	n, _ := p.Buffer.Write(b)
	if p.after--; p.after == 0 {
		p.cut()
		return n, errCut
	}
	return n, nil
}

// TestCutAnywhere: the power is cut in the middle, and what was acknowledged is known by the
// line alone, which may end in the middle, too.
func TestCutAnywhere(t *testing.T) {
	m, places := emulated(t)
	var all []Result
	var acked map[string]int
	for i, after := range []int{1, 2, 57, 58, 133} {
		line := &plug{after: after + min(i, 1)*2*len(places)}
		line.cut = func() { m = crash(t, m, emu.CrashConfig{}) }
		before := m
		found, err := Cycle(before, places, CycleOptions{Seed: uint64(1 + i), First: i == 0, Acked: acked}, line)
		if !errors.Is(err, errCut) || before == m {
			t.Fatalf("boot %d: %v, want it to say that %v", i, err, errCut)
		}
		line.WriteString("ack ext4 1")
		told, err := ReadStream(&line.Buffer)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, n := range told.Acked {
			sum += n
		}
		if sum != after || len(told.Found) != len(found) || len(found) != min(i, 1)*2*len(places) {
			t.Errorf("boot %d: %d acknowledgements, %d results of %d, want %d acknowledgements", i, sum, len(told.Found), len(found), after)
		}
		if acked, err = parseAcked(told.Flag()); err != nil || !maps.Equal(acked, told.Acked) {
			t.Errorf("%s is read as %v (%v), want %v", told.Flag(), acked, err, told.Acked)
		}
		all = append(all, told.Found...)
	}
	records := 0
	for _, r := range all {
		records += r.Acknowledged
	}
	if summary, holds := Summarize(all); !holds || records != 1+2+57+58 {
		t.Errorf("holds: %t, %d records, want %d\n%s", holds, records, 1+2+57+58, summary)
	}
}

// TestStream: what ReadStream takes, and what it doesn't.
func TestStream(t *testing.T) {
	for _, c := range []struct{ text, flag string }{
		{"", ""},
		{"boot\nack a 1 0\r\nack a 1 1\r\nack b 1 0\r\n", "a=2,b=1"},
		{"ack a 1 0\nack a 1 1", "a=1"},
		{"ack a 1 1\n", "error"},
		{"ack a 1 0\nack a 1 0\n", "error"},
		{"ack a\n", "error"},
		{"found {\n", "error"},
	} {
		s, err := ReadStream(strings.NewReader(c.text))
		if got := s.Flag(); (err != nil) != (c.flag == "error") || err == nil && got != c.flag {
			t.Errorf("%q: got %q (%v), want %q", c.text, got, err, c.flag)
		}
	}
	for _, text := range []string{"a", "a=", "a=-1", "a=1,"} {
		if acked, err := parseAcked(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, acked)
		}
	}
}

// forgetful is a kernel whose msync does nothing.
type forgetful struct{ platform.Platform }

func (forgetful) Msync(uintptr, uint64, int) error { return nil }

// TestLostRecordsAreFound: the check of a machine that doesn't persist fails.
func TestLostRecordsAreFound(t *testing.T) {
	m, places := emulated(t)
	p := places[4:]
	if _, err := Cycle(&forgetful{m}, p, CycleOptions{Seed: 1, Records: 20, First: true}, io.Discard); err != nil {
		t.Fatal(err)
	}
	found, err := Cycle(crash(t, m, emu.CrashConfig{}), p, CycleOptions{Seed: 2, Records: 20}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if summary, holds := Summarize(found); holds || !strings.Contains(summary, "20 missing, first in the run of seed 1: records [0 1 2 3 4]") {
		t.Errorf("holds: %t\n%s", holds, summary)
	}
}

// TestDamage: a record is whole or missing, whatever its header says.
func TestDamage(t *testing.T) {
	m, places := emulated(t)
	const seed, records = 8, 10
	at := 0 // of record 4
	for n := range 4 {
		at += len(record(Options{Seed: seed}, n))
	}
	size := len(record(Options{Seed: seed}, 4))
	for _, damage := range []struct {
		name    string
		do      func(b []byte) // from record 4 on
		missing []int
		beyond  int
	}{
		{"none", func([]byte) {}, nil, 0},
		{"its last byte", func(b []byte) { b[size-1]++ }, []int{4}, 0},
		{"its length", func(b []byte) { b[0]++ }, []int{4}, 0},
		{"its checksum", func(b []byte) { b[5]++ }, []int{4}, 0},
		{"its number, with a checksum that fits", func(b []byte) {
			b[16]++
			binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:size], castagnoli))
		}, []int{4}, 0},
		{"what it holds, with a checksum that fits", func(b []byte) {
			b[headerSize]++
			binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:size], castagnoli))
		}, []int{4}, 0},
		{"two", func(b []byte) { b[size-1]++; b[size]++ }, []int{4, 5}, 0},
		{"one more is there", func(b []byte) {
			for n := 4; n < records; n++ {
				b = b[len(record(Options{Seed: seed}, n)):]
			}
			copy(b, record(Options{Seed: seed}, records))
		}, nil, 1},
	} {
		o := Options{Seed: seed, Records: records}
		if err := Write(m, places[0], o, func(int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		l, err := openLog(m, places[0], o, false)
		if err != nil {
			t.Fatal(err)
		}
		damage.do(l.b[at:])
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		r := check(t, m, places[0], o)
		if r.Whole != records-len(damage.missing) || r.Missing != len(damage.missing) || !slices.Equal(r.FirstMissing, damage.missing) || r.Beyond != damage.beyond {
			t.Errorf("%s: got %+v, want missing %v, beyond %d", damage.name, r, damage.missing, damage.beyond)
		}
	}
}

// TestFull: a log takes what fits, and an older one is gone once a new one is begun.
func TestFull(t *testing.T) {
	m, places := emulated(t)
	p := places[2]
	count := 0
	ack := func(int) error { count++; return nil }
	if err := Write(m, p, Options{Seed: 1}, ack); err != nil {
		t.Fatal(err)
	}
	if least, most := logSize/(headerSize+mostPayload), logSize/headerSize; count < least || count > most {
		t.Errorf("%d records fit, want %d to %d", count, least, most)
	}
	if r := check(t, m, p, Options{Seed: 1, Records: count}); r.Missing != 0 || r.Beyond != 0 {
		t.Errorf("of a full log: got %+v, want none missing and none beyond", r)
	}
	if err := Write(m, p, Options{Seed: 1, Records: count + 1}, func(int) error { return nil }); err == nil {
		t.Errorf("%d records: no error, want the log to be full", count+1)
	}
	if err := Write(m, p, Options{Seed: 2, Records: 1}, func(int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if r := check(t, m, p, Options{Seed: 1, Records: count}); r.Whole != 0 || r.Missing != count {
		t.Errorf("of an older log: got %+v, want all %d missing", r, count)
	}
	if r := check(t, m, p, Options{Seed: 2, Records: 1}); r.Whole != 1 || r.Beyond != 0 {
		t.Errorf("of the new log: got %+v, want 1 record", r)
	}
}

// TestFailures: whichever call fails, the error says so and nothing is left open or mapped.
func TestFailures(t *testing.T) {
	for _, i := range []int{0, 4} {
		for n := 0; ; n++ {
			m, places, err := sequences.Emulate(namespaces, "memory_controller")
			if err != nil {
				t.Fatal(err)
			}
			p := fault.Wrap(m, fault.FailCall(syscall.EIO, n))
			p.StartRecording(0)
			err = Write(p, places[i], Options{Seed: 1, Records: 3}, func(int) error { return nil })
			left := m.Shutdown()
			if n >= p.Count(fault.All) {
				// The name and the size of a file are durable before anything is stored.
				if got, want := p.Count(fault.OpFsync), 2*(i/4); err != nil || left != nil || got != want {
					t.Errorf("%s: %v, %v, %d times fsync, want %d", places[i].Name, err, left, got, want)
				}
				break
			}
			call := p.Log()[n]
			// Whether the caches are safe from power failures needn't be known.
			tolerated := call.Op&(fault.OpList|fault.OpReadAttr) != 0 && strings.HasPrefix(call.Path, "bus/nd/devices")
			if !errors.Is(err, syscall.EIO) && !tolerated {
				t.Errorf("%s, %v: got %v, want EIO", places[i].Name, call, err)
			}
			if left != nil && call.Op&(fault.OpClose|fault.OpMunmap) == 0 {
				t.Errorf("%s, %v: %v", places[i].Name, call, left)
			}
		}
	}
}

func TestSummarize(t *testing.T) {
	page := func(persisted bool, missing int) Result {
		return Result{Place: "p", Granularity: "PAGE", Persisted: persisted, Acknowledged: 9, Missing: missing, Whole: 9 - missing}
	}
	line := func(persisted bool, missing int) Result {
		r := page(persisted, missing)
		r.Granularity = "CACHE_LINE"
		return r
	}
	for _, c := range []struct {
		name    string
		results []Result
		holds   bool
		tell    string
	}{
		{"nothing", nil, false, "power cuts: 0 runs, 0 places, 0 persisted records missing\n"},
		{"page, control loses in one of two", []Result{page(true, 0), page(false, 0), page(true, 0), page(false, 3)}, true, "1 of 2 power cuts lost something, 3 of 18 records"},
		{"page, control loses nothing", []Result{page(true, 0), page(false, 0)}, false, "they show nothing"},
		{"page, no control", []Result{page(true, 0)}, false, "not run"},
		{"line, control loses nothing", []Result{line(true, 0), line(false, 0)}, true, "not shown"},
		{"line, control loses", []Result{line(true, 0), line(false, 1)}, true, "1 of 1 power cuts lost something"},
		{"one persisted record is missing", []Result{line(true, 0), line(true, 1), line(false, 1)}, false, "1 persisted records missing"},
		{"control alone", []Result{line(false, 1)}, false, "0 power cuts, 0 records persisted"},
	} {
		if text, holds := Summarize(c.results); holds != c.holds || !strings.Contains(text, c.tell) {
			t.Errorf("%s: holds: %t, want %t, and %q in\n%s", c.name, holds, c.holds, c.tell, text)
		}
	}
}

// TestRefusals: arguments that make no sense, and places that can't keep anything.
func TestRefusals(t *testing.T) {
	m, places := emulated(t)
	file := filepath.Join(t.TempDir(), "places")
	text, err := json.Marshal(append(places, plan.Place{Namespace: plan.Namespace{Name: "tmpfs", Kind: plan.Tmpfs}, Mount: "/mnt/tmpfs"},
		plan.Place{Namespace: plan.Namespace{Name: "small", Kind: plan.DevDax}, Device: "/dev/dax0.0", Bytes: 3 << 20}))
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		tell   string
		args   []string
	}{
		{2, "powercut write | check | cycle", nil},
		{2, "not defined", []string{"write", "-nonsense"}},
		{1, `there is no "sing"`, []string{"sing", "-place", "ext4"}},
		{1, "no such file", []string{"write", "-places-file", "/nonexistent"}},
		{1, `no place "nowhere"`, []string{"write", "-place", "ext4,nowhere"}},
		{1, "outlives a power cut", []string{"write", "-place", "tmpfs"}},
		{1, "two logs need", []string{"write", "-place", "small"}},
		{1, "open /mnt/pmem4/powercut", []string{"check", "-place", "ext4"}},
		{1, "a number are needed", []string{"cycle", "-place", "ext4", "-acked", "x"}},
		{1, "nobody says how many", []string{"cycle", "-place", "ext4", "-records", "0"}},
	} {
		var stdout, stderr bytes.Buffer
		args := c.args
		if len(args) > 0 && !slices.Contains(args, "-places-file") {
			args = append(args, "-places-file", file)
		}
		args = append(args, []string{"-out", filepath.Join(t.TempDir(), "out")}[:2*min(len(args), 1)]...)
		if status := run(m, args, &stdout, &stderr); status != c.status || !strings.Contains(stderr.String(), c.tell) {
			t.Errorf("%v: status %d, want %d, and %q in %s", c.args, status, c.status, c.tell, stderr.String())
		}
	}
}
