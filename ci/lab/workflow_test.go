package lab

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// goListDeps are the packages that the program is built of.
func goListDeps(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-test", "pmemlab/conformance/suite").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return string(out)
}

// actions is as much of a workflow as is looked at.
type actions struct {
	Permissions map[string]string
	Concurrency map[string]string
	Jobs        map[string]struct {
		Timeout  int `yaml:"timeout-minutes"`
		Strategy struct{ Matrix map[string][]string }
		Steps    []struct {
			Uses, Run string
			With      map[string]string
		}
	}
}

func readWorkflow(t *testing.T) (w actions) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, workflow)), &w); err != nil {
		t.Fatalf("%s: %v", workflow, err)
	}
	return w
}

// workflowMakes are the targets that a matrix has.
func workflowMakes(t *testing.T) (targets []string) {
	for _, job := range readWorkflow(t).Jobs {
		targets = append(targets, job.Strategy.Matrix["make"]...)
	}
	if targets == nil {
		t.Errorf("%s: no matrix has targets of make", workflow)
	}
	return targets
}

// TestWorkflow: it may read and nothing else, each job ends in time, runs code of a known
// version alone, builds with the Go of the module, and leaves its report.
func TestWorkflow(t *testing.T) {
	w := readWorkflow(t)
	if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("permissions are %v, want contents: read", w.Permissions)
	}
	if w.Concurrency["group"] == "" || w.Concurrency["cancel-in-progress"] == "" {
		t.Errorf("concurrency is %v, want a group in which older runs are cancelled", w.Concurrency)
	}
	pinned := regexp.MustCompile(`^actions/[a-z-]+@(v\d+|[0-9a-f]{40})$`)
	for _, name := range []string{"emulated", "vm", "libpmem2", "fuzz", "cross", "lint"} {
		job, ok := w.Jobs[name]
		if !ok {
			t.Errorf("there is no job %s", name)
			continue
		}
		if job.Timeout < 1 || job.Timeout > 90 {
			t.Errorf("%s: the time limit is %d minutes", name, job.Timeout)
		}
		var uses []string
		run := ""
		for _, s := range job.Steps {
			run += s.Run + "\n"
			if s.Uses == "" {
				continue
			}
			if !pinned.MatchString(s.Uses) {
				t.Errorf("%s: %s is pinned to no version", name, s.Uses)
			}
			action, _, _ := strings.Cut(s.Uses, "@")
			uses = append(uses, action)
			switch action {
			case "actions/setup-go":
				if s.With["go-version-file"] != "go.mod" {
					t.Errorf("%s: the version of Go is that of %v, want go.mod", name, s.With)
				}
			case "actions/upload-artifact":
				if name != "fuzz" && s.With["path"] != "reports" {
					t.Errorf("%s: what is kept is %v, want reports", name, s.With)
				}
			}
		}
		for _, want := range []string{"actions/checkout", "actions/setup-go"} {
			if !slices.Contains(uses, want) {
				t.Errorf("%s doesn't use %s", name, want)
			}
		}
		reports := strings.Contains(run, "conformance") || slices.Contains(job.Strategy.Matrix["make"], "conformance")
		if reports && !slices.Contains(uses, "actions/upload-artifact") {
			t.Errorf("%s leaves no report", name)
		}
	}
	if !slices.Equal(w.Jobs["emulated"].Strategy.Matrix["arch"], []string{"amd64", "arm64"}) {
		t.Error("the emulated machine isn't run on amd64 and arm64")
	}
}
