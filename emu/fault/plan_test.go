package fault_test

import (
	"flag"
	"os"
	"strings"
	"syscall"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

var rewrite = flag.Bool("rewrite", false, "write what the tests see into testdata")

// script makes the calls that the plans of testdata/plans.txt choose from.
func script(p platform.Platform) {
	const (
		shared   = platform.MapShared
		sync     = platform.MapSharedValidate | platform.MapSync
		private  = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve
		region   = "bus/nd/devices/region0/"
		rw, none = platform.ProtRead | platform.ProtWrite, platform.ProtNone
	)
	p.Open("/mnt/pmem/a.pool", platform.ORdwr, 0)                                // 0
	p.Open("/mnt/pmem", platform.OTmpfile|platform.ORdwr, 0o600)                 // 1
	p.Ftruncate(3, 8192)                                                         // 2
	p.ReadAttr(region + "persistence_domain")                                    // 3
	p.List(region)                                                               // 4
	p.Mmap(0, 8192, none, private, -1, 0)                                        // 5
	p.Mmap(0, 4096, rw, sync, 3, 0)                                              // 6
	p.Mmap(0, 4096, rw, shared, 3, 0)                                            // 7
	p.Mremap(12, 4096, 4096, platform.MremapMaymove|platform.MremapFixed, 16384) // 8
	p.Mmap(0, 4096, rw, sync, 3, 4096)                                           // 9
	p.Munmap(12, 4096)                                                           // 10
	p.Munmap(13, 4096)                                                           // 11
	p.ReadAttr(region + "persistence_domain")                                    // 12
	p.WriteAttr(region+"deep_flush", "1")                                        // 13
	p.Unlink("/mnt/pmem/a.pool")                                                 // 14
	p.Close(3)                                                                   // 15
}

// answer is the golden text for a plan: how it prints and what it fails of the
// script, or why it is none.
func answer(t *testing.T, text string) string {
	plan, err := fault.Parse(text)
	if err != nil {
		return err.Error() + "\n"
	}
	if again, err := fault.Parse(plan.String()); err != nil || again.String() != plan.String() {
		t.Errorf("%s prints as %s and that as %v (%v)", text, plan, again, err)
	}
	out := plan.String() + "\n"
	p := fault.Wrap(&machine{}, plan)
	p.StartRecording(0)
	script(p)
	for _, c := range p.Log() {
		if c.Injected {
			out += c.String() + "\n"
		}
	}
	return out
}

// TestPlans reads blocks, each "# sentence", plan, "----", answer, from
// testdata/plans.txt; -rewrite writes the answers there.
func TestPlans(t *testing.T) {
	const file = "testdata/plans.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		sentence, rest, _ := strings.Cut(block, "\n")
		plan, want, ok := strings.Cut(rest, "\n----")
		if !strings.HasPrefix(sentence, "# ") || !ok {
			t.Fatalf("this block of %s has no sentence or no ---- line:\n%s", file, block)
		}
		got := answer(t, plan)
		out = append(out, sentence+"\n"+plan+"\n----\n"+got)
		if want = strings.TrimPrefix(want, "\n") + "\n"; got != want && !*rewrite {
			t.Errorf("%s\n%s\ngot:\n%swant:\n%s", sentence, plan, got, want)
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n")), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlansMadeInGo(t *testing.T) {
	if got, want := fault.FailCall(syscall.EACCES, 17).String(), "(EACCES (Call 17))"; got != want {
		t.Errorf("FailCall prints %s, want %s", got, want)
	}
	if p, err := fault.Parse(" \n"); err != nil || p.String() != "" {
		t.Errorf("Parse of nothing = %q, %v, want the zero Plan", p, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParse of no plan doesn't panic")
		}
	}()
	fault.MustParse("(EIO")
}
