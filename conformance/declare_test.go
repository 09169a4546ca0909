package conformance

import (
	"fmt"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

// factNamed is a fact by its name.
func factNamed(facts []report.Fact, name string) (report.Fact, bool) {
	for _, f := range facts {
		if f.Name == name {
			return f, true
		}
	}
	return report.Fact{}, false
}

// factTarget is a target with made-up facts, that lacks a need.
type factTarget struct {
	Target
	facts []report.Fact
	lacks Need
}

func (f factTarget) Facts() []report.Fact { return f.facts }

func (f factTarget) Lacks(n Need) string {
	if n == f.lacks {
		return "for want of a nail"
	}
	return ""
}

func TestDeclaredAndRequired(t *testing.T) {
	target := factTarget{Target: Emulated(), lacks: NeedFSDax, facts: []report.Fact{
		{Name: "devdax", Has: true, Value: "/dev/dax0.0"},
		{Name: "devdax.align", Has: true, Value: "4096,2097152"},
		{Name: "fsdax", Has: true, Value: "/mnt/pmem0"},
		{Name: "mapsync", Why: "it is refused"},
		{Name: "kernel", Has: true, Value: "6.1.0-56-amd64"},
	}}
	for _, row := range []struct {
		text     string
		declared string // what is wrong with it; "" is nothing
		required string
	}{
		{"devdax", "", ""},
		{"!devdax", "it is there: /dev/dax0.0", "what is required must be there"},
		{"mapsync", "it isn't there: it is refused", "it isn't there: it is refused"},
		{"!mapsync", "", "what is required must be there"},
		{"devdax.align=2097152", "", ""},
		{"devdax.align=4096", "", ""},
		{"devdax.align=409", "it is 4096,2097152", "it is 4096,2097152"},
		{"devdax.align=", "it is 4096,2097152", "it is 4096,2097152"},
		{"!devdax.align=4096", "what isn't there has no value", "what is required must be there"},
		{"mapsync=1", "it isn't there: it is refused", "it isn't there: it is refused"},
		{"kernel=6.1", "", ""},
		{"kernel=6.1.0", "", ""},
		{"kernel=6", "", ""},
		{"kernel=6.10", "it is 6.1.0-56-amd64", "it is 6.1.0-56-amd64"},
		{"kernel=6.1.0-5", "it is 6.1.0-56-amd64", "it is 6.1.0-56-amd64"},
		// What is a need too has to be of use to cases.
		{"fsdax", "it isn't there: /mnt/pmem0 (for want of a nail)", "it isn't there: /mnt/pmem0 (for want of a nail)"},
		{"!fsdax", "", "what is required must be there"},
		{"badblock", "", ""},
		{"!badblock", "it is there", "what is required must be there"},
		{"clflsh", `nothing is known of "clflsh" here; known are devdax, devdax.align, fsdax, mapsync, kernel, nothing, file`, `nothing is known of "clflsh"`},
		{"", `nothing is known of ""`, `nothing is known of ""`},
	} {
		for _, c := range []struct {
			what string
			got  []string
			want string
		}{
			{"declared", CheckDeclared(target, []string{row.text}), row.declared},
			{"required", CheckRequired(target, []string{row.text}), row.required},
		} {
			want := fmt.Sprintf("target emulated: %s is %q: %s", c.what, row.text, c.want)
			if (c.want == "") != (len(c.got) == 0) || len(c.got) > 1 || len(c.got) == 1 && !strings.HasPrefix(c.got[0], want) {
				t.Errorf("%s %q: got %q, want %q", c.what, row.text, c.got, want)
			}
		}
	}
	if got := CheckDeclared(target, []string{"mapsync", "devdax", "!devdax"}); len(got) != 2 {
		t.Errorf("two of three are wrong: got %q", got)
	}
}

// TestFactBeforeNeed: a machine that has eADR needn't have a switch for it, and the other
// way round.
func TestFactBeforeNeed(t *testing.T) {
	for _, has := range []bool{true, false} {
		target := factTarget{Target: Emulated(), facts: []report.Fact{{Name: "eadr", Has: has}}}
		if has {
			target.lacks = NeedEADR
		}
		if yes, no := CheckDeclared(target, []string{"eadr"}), CheckDeclared(target, []string{"!eadr"}); (yes == nil) != has || (no == nil) == has {
			t.Errorf("eadr is a fact: %t; eadr declared: %q, and not: %q", has, yes, no)
		}
	}
}

// TestFactsOfEachTarget declares what is so wherever the suite runs.
func TestFactsOfEachTarget(t *testing.T) {
	needsLinux(t)
	for _, row := range []struct {
		target   Target
		declared []string
	}{
		{Emulated(), []string{
			"kernel=6.1", "devdax", "devdax.align=2097152", "devdax.align=4096", "devdax.align=1073741824", "fsdax", "mapsync", "pagefs",
			"!eadr", "persistence-domain=region0=memory_controller", "flush-hints", "badblocks", "clear-error", "usc", "device-id", "regions", "dimms", "badblock", "crash",
		}},
		{Files(FilesConfig{}), []string{"kernel", "!devdax", "!devdax.align", "!devdax.size", "!fsdax", "!mapsync", "pagefs", "!crash", "file"}},
	} {
		if wrong := CheckDeclared(row.target, row.declared); wrong != nil {
			t.Errorf("%q", wrong)
		}
		seen := map[string]bool{}
		for _, f := range row.target.(Prober).Facts() {
			if f.Name == "" || seen[f.Name] || !f.Has && f.Why == "" {
				t.Errorf("%s: the fact %+v has no name, no reason, or is there twice", row.target.Name(), f)
			}
			seen[f.Name] = true
		}
	}
}
