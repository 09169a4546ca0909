//go:build libpmem2

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/libpmem2"
	"pmemlab/fuzz/corpus"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// lieVariable is in the environment of children that run a library with a planted difference.
const lieVariable = "PMEMLAB_DIFFERENTIAL_LIE"

func TestMain(m *testing.M) {
	if err := makeRoom(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	s := libpmem2.Subject
	if how := os.Getenv(lieVariable); how != "" {
		s = liar{s, how}
	}
	if err := runChild(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// liar is the C library, but for maps of three pages.
type liar struct {
	conformance.Subject
	how string
}

func (l liar) On(p platform.Platform) conformance.Library {
	return lyingLibrary{l.Subject.On(p), l.how}
}

type lyingLibrary struct {
	conformance.Library
	how string
}

func (l lyingLibrary) Settle() { l.Library.(interface{ Settle() }).Settle() }

func (l lyingLibrary) NewMap(cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
	m, err := l.Library.NewMap(cfg, src)
	if err != nil || m.Size() != 3*pageSize {
		return m, err
	}
	if l.how == "dies" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil, &pmem2.Error{Errno: syscall.EPERM, Op: fmt.Sprint(m.Delete())}
}

// inputs runs some inputs and returns what came of it.
func inputs(t *testing.T, o options) *run {
	t.Helper()
	o.dir, o.seed, o.most = "/dev/shm", 7, 1
	r, err := start(o)
	if err == nil {
		err = r.all()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestNothingIsUnexplained(t *testing.T) {
	r := inputs(t, options{inputs: 3000})
	for _, f := range r.unexplained {
		t.Error(f.what)
	}
	if r.agree < 500 || r.differ < 500 || r.agree+r.differ != r.ran || r.ran != 3000 {
		t.Errorf("of %d inputs %d agree, %d differ, %d otherwise", r.ran, r.agree, r.differ, r.otherwise)
	}
}

// TestPlantedDifference has a library that isn't C: that it does otherwise is told, with
// programs that can be compiled and run.
func TestPlantedDifference(t *testing.T) {
	for _, c := range []struct{ how, want string }{
		{"refuses", "C has errno 1 (operation not permitted), right is"},
		{"dies", "C has the end of the process: signal: killed, right is"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Setenv(lieVariable, c.how)
			r := inputs(t, options{inputs: 60, save: t.TempDir()})
			if len(r.unexplained) == 0 || r.otherwise == 0 || r.otherwise > uint64(len(r.unexplained)) {
				t.Fatalf("%d differences, %d inputs", len(r.unexplained), r.otherwise)
			}
			f := r.unexplained[0]
			if !strings.HasPrefix(f.what, "pmem2_map_new of ") || !strings.Contains(f.what, c.want) {
				t.Errorf("told is %q, want that it is pmem2_map_new, and %q", f.what, c.want)
			}
			var text strings.Builder
			if err := r.print(&text); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"NOT EXPLAINED: " + f.what, fmt.Sprintf("%d otherwise", r.otherwise)} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, text.String())
				}
			}
			path, err := r.saveFinding(f)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := corpus.ReadFile(path); err != nil || string(got) != string(f.Input) {
				t.Errorf("%s holds %x, %v; want %x", path, got, err, f.Input)
			}
			if c.how == "refuses" {
				base := filepath.Join(r.save, kinds[f.Kind].name+"-"+corpus.Name(f.Input))
				program := compile(t, base+".c")
				prints(t, exec.Command(program), "\npmem2_map_new: 0", ", 0x3000 bytes")
				prints(t, exec.Command("go", "run", base+".go"), "\nNewMap: <nil>", ", 0x3000 bytes")
			}
			// Told call by call, without the lie there is nothing to explain.
			t.Setenv(lieVariable, "")
			var told strings.Builder
			if ok, err := r.replay(&told, path); !ok || err != nil || !strings.Contains(told.String(), "pmem2_map_new of ") {
				t.Errorf("replayed: %t, %v:\n%s", ok, err, told.String())
			}
		})
	}
}

// TestFoundInputs: what long runs have found is a row of the contract.
func TestFoundInputs(t *testing.T) {
	for input, row := range map[string]string{
		"FuzzMap/08b4d8e88b3b7b68":         "pmem2_source_from_anon/(text)#1",
		"FuzzReservation/d2ccb73e6262db93": "pmem2_vm_reservation_map_find/PMEM2_E_MAPPING_NOT_FOUND#2",
		"FuzzReservation/dc4fbd6acb8e17fe": "pmem2_map_from_existing/0#4",
		"FuzzReservation/f832921e9a9af473": "pmem2_map_new/0#1",
	} {
		var told strings.Builder
		ok, err := options{dir: "/dev/shm", most: 1}.replay(&told, filepath.Join("testdata", input))
		if !ok || err != nil || !strings.Contains(told.String(), row) {
			t.Errorf("%s: %t, %v, want row %s:\n%s", input, ok, err, row, told.String())
		}
	}
}

// compile compiles a program in C, and returns where it is.
func compile(t *testing.T, path string) string {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command(cc, "-Wall", "-Werror", "-o", program, path, "-lpmem2").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, out)
	}
	return program
}

func prints(t *testing.T, cmd *exec.Cmd, want ...string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	for _, w := range want {
		if err != nil || !strings.Contains("\n"+string(out), w) {
			t.Errorf("%v: %v, printed is\n%s\nwant %q", cmd.Args, err, out, w)
		}
	}
}

// TestEveryCallCanBeWritten compiles a program in C, and one in Go, with every call that there
// is in them.
func TestEveryCallCanBeWritten(t *testing.T) {
	r := inputs(t, options{})
	var all program
	var missing []op
	for o := range opNames {
		missing = append(missing, op(o))
	}
	for n := uint64(0); len(missing) > 0; n++ {
		if n == 20000 {
			t.Fatalf("no input calls %v", missing)
		}
		j := r.input(n)
		p := j.plan(r.host)
		if slices.ContainsFunc(p.calls, func(c call) bool { return slices.Contains(missing, c.op) }) {
			all = append(all, p.calls...)
			missing = slices.DeleteFunc(missing, func(o op) bool {
				return slices.ContainsFunc(p.calls, func(c call) bool { return c.op == o })
			})
		}
	}
	dir := t.TempDir()
	inGo, err := all.inGo("all")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"all.c": all.inC("all"), "all.go": inGo} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compile(t, filepath.Join(dir, "all.c"))
	prints(t, exec.Command("go", "vet", filepath.Join(dir, "all.go")), "")
}

// TestKnownFitTheContract: the contract says of each row that C differs.
func TestKnownFitTheContract(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range knowns {
		row, ok := conformance.RowByID(k.row)
		switch {
		case seen[k.row]:
			t.Errorf("row %s is there twice", k.row)
		case !ok || !row.Differs():
			t.Errorf("the contract has no row %s, or C doesn't differ there", k.row)
		case k.why == "":
			t.Errorf("row %s: no reason", k.row)
		}
		seen[k.row] = true
	}
}
