package main

import (
	"strings"
	"testing"

	"pmemlab/ci/vm/plan"
)

func TestWorst(t *testing.T) {
	s := func(status int) plan.StepResult { return plan.StepResult{Status: status} }
	for _, c := range []struct {
		results []plan.StepResult
		want    int
	}{
		{nil, 0},
		{[]plan.StepResult{s(0), s(0)}, 0},
		{[]plan.StepResult{s(0), s(7), s(9)}, 7},
		{[]plan.StepResult{s(8), s(7), s(0)}, 8},
		{[]plan.StepResult{s(255)}, plan.MaxStatus},
		{[]plan.StepResult{s(plan.MaxStatus + 1)}, plan.MaxStatus},
	} {
		if got := worst(c.results); got != c.want {
			t.Errorf("%+v: %d, want %d", c.results, got, c.want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	fill := strings.NewReplacer(placeholders([]plan.Place{
		{Namespace: plan.Namespace{Name: "ext4"}, Device: "/dev/pmem1", Mount: "/mnt/ext4"},
		{Namespace: plan.Namespace{Name: "ext4-dax"}, Device: "/dev/pmem0", Mount: "/mnt/ext4-dax"},
		{Namespace: plan.Namespace{Name: "dax"}, Device: "/dev/dax0.0"},
		{Namespace: plan.Namespace{Name: "tmpfs"}, Mount: "/mnt/tmpfs"},
	})...)
	for arg, want := range map[string]string{
		"-a={dax},{ext4}":         "-a=/dev/dax0.0,/dev/pmem1",
		"{ext4-dax}{ext4-dax/}":   "/dev/pmem0/mnt/ext4-dax",
		"{ext4/}/file":            "/mnt/ext4/file",
		"{tmpfs/}":                "/mnt/tmpfs",
		"dax {none} {} {dax-not}": "dax {none} {} {dax-not}",
		"{{dax}}":                 "{/dev/dax0.0}",
	} {
		if got := fill.Replace(arg); got != want {
			t.Errorf("%s: %s, want %s", arg, got, want)
		}
	}
}
