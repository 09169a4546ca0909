package platform

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The guest of testdata/storetrace runs the cache operations under qemu-user, and
// the plugin beside it tells what each call has executed and stored.

// The operations by the numbers of the guest.
var tracedOps = []string{"Copy", "CopyNT", "Set", "SetNT", "Flush", "Persist", "Fence", "planted"}

// tracedCall is one line of the plugin. offset is that of the destination in a
// line, as long as it is less than a page.
type tracedCall struct {
	variant       int
	op            string
	offset, n     uint64
	stores        uint64 // in the destination
	narrow        uint64 // of them: less than 8 bytes into a word of the range
	split         uint64 // of them: 8 bytes or more, at no multiple of 8
	outside       uint64 // stores beside the destination
	elsewhere     uint64 // stores neither in that memory nor to the stack
	loadsOutside  uint64
	clwb          uint64
	clflushopt    uint64
	clflush       uint64
	sfence, movnt uint64
	cvac, cvap    uint64
	dsb, stnp     uint64
	overlap       uint64
}

// touched and whole are how many lines of 64 bytes hold a byte of the call's range,
// and how many lie inside it.
func (c *tracedCall) touched() uint64 {
	if c.n == 0 {
		return 0
	}
	return (c.offset+c.n+63)/64 - c.offset/64
}

func (c *tracedCall) whole() uint64 {
	first, last := (c.offset+63)/64, (c.offset+c.n)/64
	return max(first, last) - first
}

// stageTrace builds the plugin and the guest for an architecture and returns how to
// run the guest, or skips the test and says what is missing.
func stageTrace(t *testing.T, goarch, qemu, cpu string) (run func(env []string, args ...string) []tracedCall) {
	t.Helper()
	qemuPath, err := exec.LookPath(qemu)
	if err != nil {
		t.Skipf("needs %s with plugins (Debian's qemu-user): %v", qemu, err)
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skipf("needs a C compiler for the plugin: %v", err)
	}
	goPath, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("needs the go command to build the guest: %v", err)
	}
	dir := t.TempDir()
	plugin, guest := filepath.Join(dir, "plugin.so"), filepath.Join(dir, "guest")
	api := "1"
	if out, err := exec.Command(qemuPath, "--version").Output(); err == nil {
		if m := regexp.MustCompile(`version (\d+)\.`).FindSubmatch(out); m != nil && len(m[1]) > 1 || m != nil && m[1][0] == '9' {
			api = "3"
		}
	}
	build := exec.Command(cc, "-shared", "-fPIC", "-O2", "-DAPI="+api, "-o", plugin, "testdata/storetrace/plugin.c")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	build = exec.Command(goPath, "build", "-buildvcs=false", "-o", guest, "./testdata/storetrace")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return func(env []string, args ...string) []tracedCall {
		t.Helper()
		log := filepath.Join(t.TempDir(), "log")
		cmd := exec.Command(qemuPath, append([]string{"-cpu", cpu, "-plugin", plugin + ",out=" + log, guest}, args...)...)
		// No signal and no collection may come between a call and its trace.
		cmd.Env = append([]string{"GODEBUG=asyncpreemptoff=1", "GOGC=off"}, env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			if strings.Contains(string(out), "plugin") {
				t.Skipf("%s can't load the plugin: %v\n%s", qemu, err, out)
			}
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		return readTrace(t, log)
	}
}

func readTrace(t *testing.T, name string) []tracedCall {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []tracedCall
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var c tracedCall
		// The order of the plugin.
		counts := []*uint64{
			&c.stores, &c.narrow, &c.split, &c.outside, &c.elsewhere, &c.loadsOutside,
			&c.clwb, &c.clflushopt, &c.clflush, &c.sfence, &c.movnt, &c.cvac, &c.cvap, &c.dsb, &c.stnp,
		}
		fields := strings.Fields(lines.Text())
		if len(fields) != 1+len(counts) {
			t.Fatalf("the plugin's line %q: %d fields, want %d", lines.Text(), len(fields), 1+len(counts))
		}
		id, err := strconv.ParseUint(fields[0], 10, 64)
		for i, count := range counts {
			_, number, _ := strings.Cut(fields[1+i], "=")
			var bad error
			if *count, bad = strconv.ParseUint(number, 10, 64); bad != nil {
				err = bad
			}
		}
		if err != nil {
			t.Fatalf("the plugin's line %q: %v", lines.Text(), err)
		}
		op := id >> 40 & 0xff
		if op >= uint64(len(tracedOps)) {
			t.Fatalf("the plugin's line %q: no operation %d", lines.Text(), op)
		}
		c.variant, c.op = int(id>>48), tracedOps[op]
		c.offset, c.overlap, c.n = id>>28&0xfff, id>>16&0xfff, id&0xffff
		calls = append(calls, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

// traceExpectation is what a variant has to execute.
type traceExpectation struct {
	guest       string // the argument of the guest
	vector      uint64 // bytes of a non-temporal store; 0 is none of them
	instruction string // of Flush
	generic     bool
}

// checkTrace holds every call of every variant against what it may store and what
// it has to execute.
func checkTrace(t *testing.T, calls []tracedCall, want []traceExpectation) {
	t.Helper()
	seen := map[string]int{}
	planted := 0
	var strays []tracedCall
	for i := range calls {
		c := &calls[i]
		v := want[c.variant]
		fail := func(format string, args ...any) {
			t.Fatalf("%s: %s(offset %d, n %d, overlap %d): %s\n%+v", v.guest, c.op, c.offset, c.n, c.overlap, fmt.Sprintf(format, args...), *c)
		}
		if c.op == "planted" {
			if c.n%16 != 0 && c.narrow == 0 {
				fail("stores bytes into a word, which the plugin doesn't see")
			}
			planted += int(c.narrow)
			continue
		}
		seen[v.guest+" "+c.op]++
		if c.narrow+c.split != 0 {
			fail("%d stores of less than 8 bytes into a word, %d that split words", c.narrow, c.split)
		}
		if c.outside+c.loadsOutside != 0 {
			fail("%d stores beside the destination, %d loads beside the source", c.outside, c.loadsOutside)
		}
		if c.elsewhere != 0 {
			strays = append(strays, *c)
		}
		isStore := c.op == "Copy" || c.op == "CopyNT" || c.op == "Set" || c.op == "SetNT"
		if minimum := c.n / 8; isStore && c.stores < minimum || !isStore && c.stores != 0 {
			fail("%d stores", c.stores)
		}

		// What has to be executed of each instruction; all others not at all.
		exp := tracedCall{}
		flushes := uint64(0)
		switch c.op {
		case "CopyNT", "SetNT":
			flushes = c.touched()
			if v.vector != 0 {
				flushes -= c.whole()
				exp.movnt = c.whole() * (64 / v.vector)
			}
		case "Flush", "Persist":
			flushes = c.touched()
		}
		switch v.instruction {
		case "CLWB":
			exp.clwb = flushes
		case "CLFLUSHOPT":
			exp.clflushopt = flushes
		case "CLFLUSH":
			exp.clflush = flushes
		case "DC CVAC":
			if c.op == "CopyNT" || c.op == "SetNT" {
				flushes = c.touched() // STNP is a hint
				if v.vector != 0 {
					head := min(-c.offset&7, c.n)
					if c.overlap != 0 { // from the end
						head = min((c.offset+c.n)&7, c.n)
					}
					exp.movnt, exp.stnp = 0, (c.n-head)/64*4
				}
			}
			exp.cvac = flushes
			if !v.generic || c.op != "Copy" && c.op != "Set" {
				exp.dsb = 1
			}
		default:
			t.Fatalf("%s: no such instruction %q", v.guest, v.instruction)
		}
		if v.instruction != "DC CVAC" && (c.op == "Persist" || c.op == "Fence") {
			exp.sfence = 1
		}
		for _, x := range []struct {
			name      string
			got, want uint64
		}{
			{"CLWB", c.clwb, exp.clwb},
			{"CLFLUSHOPT", c.clflushopt, exp.clflushopt},
			{"CLFLUSH", c.clflush, exp.clflush},
			{"SFENCE", c.sfence, exp.sfence},
			{"non-temporal stores", c.movnt, exp.movnt},
			{"DC CVAC", c.cvac, exp.cvac},
			{"DC CVAP", c.cvap, 0},
			{"DSB SY", c.dsb, exp.dsb},
			{"STNP", c.stnp, exp.stnp},
		} {
			if x.got != x.want {
				fail("%d %s, want %d", x.got, x.name, x.want)
			}
		}
	}
	for _, v := range want {
		for _, op := range tracedOps[:len(tracedOps)-1] {
			if got, want := seen[v.guest+" "+op], 800; got < want {
				t.Errorf("%s: %d calls of %s were traced, want %d at least", v.guest, got, op, want)
			}
		}
	}
	if planted == 0 {
		t.Error("the planted routine shows no narrow store")
	}
	// Go's scheduler stores elsewhere if it comes between, now and then; a routine
	// that does so does it always.
	if len(strays)*1000 > len(calls) {
		t.Errorf("%d of %d calls store elsewhere than to the destination and the stack; the first is %+v", len(strays), len(calls), strays[0])
	}
	t.Logf("%d calls of %d variants", len(calls), len(want))
}

func guests(want []traceExpectation) (args []string) {
	for _, v := range want {
		args = append(args, v.guest)
	}
	return args
}

// TestMemOpsStoreTrace: in every store of every routine, aligned words of the
// destination are whole, nothing beside it is touched, and each setting executes
// the flush and the stores that it names: one flush for each line, of which no
// address can be seen here (TestGuardFlush sees it).
func TestMemOpsStoreTrace(t *testing.T) {
	run := stageTrace(t, "amd64", "qemu-x86_64", "max")
	var want []traceExpectation
	for _, isa := range []traceExpectation{{guest: "SSE2", vector: 16}, {guest: "AVX2", vector: 32}, {guest: "generic", generic: true}} {
		for _, f := range []traceExpectation{
			{guest: ",", instruction: "CLWB"},
			{guest: ",noclwb", instruction: "CLFLUSHOPT"},
			{guest: ",noclwb noclflushopt", instruction: "CLFLUSH"},
			{guest: ",noclflushopt", instruction: "CLWB"},
		} {
			v := traceExpectation{isa.guest + f.guest, isa.vector, f.instruction, isa.generic}
			want = append(want, v)
			v.guest, v.vector = v.guest+" nomovnt", 0
			want = append(want, v)
		}
	}
	checkTrace(t, run(nil, guests(want)...), want)
	t.Log("AVX-512 isn't among them: qemu's CPU has none")
}

// TestMemOpsStoreTraceEnvironment: what the variables of libpmem2(7) say is what is
// executed.
func TestMemOpsStoreTraceEnvironment(t *testing.T) {
	run := stageTrace(t, "amd64", "qemu-x86_64", "max")
	for _, tc := range []struct {
		env  string
		want traceExpectation
	}{
		{"", traceExpectation{vector: 32, instruction: "CLWB"}},
		{"PMEM_NO_CLWB=1", traceExpectation{vector: 32, instruction: "CLFLUSHOPT"}},
		{"PMEM_NO_CLWB=1 PMEM_NO_CLFLUSHOPT=1", traceExpectation{vector: 32, instruction: "CLFLUSH"}},
		{"PMEM_NO_CLFLUSHOPT=1", traceExpectation{vector: 32, instruction: "CLWB"}},
		{"PMEM_NO_MOVNT=1", traceExpectation{instruction: "CLWB"}},
		{"PMEM_NO_CLWB=0 PMEM_NO_MOVNT=yes", traceExpectation{vector: 32, instruction: "CLWB"}},
		{"PMEM_NO_CLWB= PMEM_NO_MOVNT=11", traceExpectation{vector: 32, instruction: "CLWB"}},
	} {
		t.Run(tc.env, func(t *testing.T) {
			tc.want.guest = "host"
			checkTrace(t, run(strings.Fields(tc.env), "host"), []traceExpectation{tc.want})
		})
	}
}

// TestMemOpsStoreTraceARM64 is TestMemOpsStoreTrace on a Cortex-A72, which has no
// DC CVAP.
func TestMemOpsStoreTraceARM64(t *testing.T) {
	run := stageTrace(t, "arm64", "qemu-aarch64", "cortex-a72")
	want := []traceExpectation{
		{guest: "arm64", vector: 16, instruction: "DC CVAC"},
		{guest: "arm64,nomovnt", instruction: "DC CVAC"},
		{guest: "generic", instruction: "DC CVAC", generic: true},
	}
	checkTrace(t, run(nil, guests(want)...), want)
}
