package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"pmemlab/conformance"
)

// documents are those of a YAML file.
func documents(t *testing.T, text string) (found []map[string]any) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var document map[string]any
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, document)
	}
}

// TestSchema validates the documents against Kubernetes's types: unknown fields too are
// wrong.
func TestSchema(t *testing.T) {
	s := readSchema(t)
	for name, kinds := range map[string][]string{"job.yaml": {"PersistentVolumeClaim", "Job"}, "merge.yaml": {"Job"}} {
		var have []string
		for _, d := range documents(t, read(t, name)) {
			have = append(have, fmt.Sprint(d["kind"]))
			for _, wrong := range s.validate(d) {
				t.Errorf("%s: %s", name, wrong)
			}
		}
		if !slices.Equal(have, kinds) {
			t.Errorf("%s has %q, want %q", name, have, kinds)
		}
	}
}

// TestSchemaRefuses: each mistake in the Job is found, where it is.
func TestSchemaRefuses(t *testing.T) {
	s := readSchema(t)
	good := read(t, "job.yaml")
	for _, row := range []struct{ old, new, want string }{
		{"completions: 4", "completion: 4", "Job.spec has no field completion in the schema"},
		{"completions: 4", `completions: "4"`, "Job.spec.completions is of type string, want integer"},
		{"completionMode: Indexed", "completionMode: indexed", `Job.spec.completionMode is "indexed", want one of`},
		{"kind: Job", "kind: CronJob", `the schema has no kind "CronJob"`},
		{"apiVersion: batch/v1", "apiVersion: batch/v1beta1", `Job.apiVersion is "batch/v1beta1", want one of`},
		{"values: [1, 2]", "values: 1", "onExitCodes.values is of type integer, want array"},
		{"          operator: In\n", "", "onExitCodes has no operator"},
		{"memory-nv.dax: \"true\"", "memory-nv.dax: true", "memory-nv.dax is of type boolean, want string"},
		{"drop: [ALL]", "drop: [1]", "drop[0] is of type integer, want string"},
		{"runAsUser: 0", "runasuser: 0", "securityContext has no field runasuser in the schema"},
		{"memory: 2Gi", "memory: 2GB", `limits.memory is "2GB", want`},
		{"- name: suite\n          image", "- image", "containers[0] has no name"},
		{"restartPolicy: Never", "restartPolicy: Naver", `restartPolicy is "Naver", want one of`},
		{"  template:\n    metadata", "  templates:\n    metadata", "Job.spec has no template"},
	} {
		text := strings.Replace(good, row.old, row.new, 1)
		if text == good {
			t.Errorf("job.yaml has no %q", row.old)
			continue
		}
		var wrong []string
		for _, d := range documents(t, text) {
			wrong = append(wrong, s.validate(d)...)
		}
		if !slices.ContainsFunc(wrong, func(w string) bool { return strings.Contains(w, row.want) }) {
			t.Errorf("%q in the place of %q: got %q, want %q", row.new, row.old, wrong, row.want)
		}
	}
}

// job is what is looked at of a Job, beyond its schema.
type job struct {
	Kind string
	Spec struct {
		CompletionMode           string
		Completions, Parallelism int
		BackoffLimitPerIndex     *int
		PodFailurePolicy         *struct {
			Rules []struct {
				Action          string
				OnPodConditions []struct{ Type, Status string }
				OnExitCodes     struct {
					ContainerName, Operator string
					Values                  []int
				}
			}
		}
		Template struct {
			Spec struct {
				RestartPolicy string
				NodeSelector  map[string]string
				Containers    []struct {
					Name, Image     string
					Args            []string
					Resources       struct{ Limits map[string]any }
					SecurityContext struct {
						RunAsUser                *int
						AllowPrivilegeEscalation *bool
						Privileged               bool
						Capabilities             struct{ Add, Drop []string }
					}
					VolumeMounts []struct{ Name, MountPath string }
				}
				Volumes []struct {
					Name                  string
					HostPath              any
					PersistentVolumeClaim *struct{ ClaimName string }
				}
			}
		}
	}
}

// readJob is the Job of a file. The names of its fields don't tell capitals apart, as the
// schema does.
func readJob(t *testing.T, name string) (j job) {
	t.Helper()
	for _, d := range documents(t, read(t, name)) {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if d["kind"] == "Job" {
			if err := json.Unmarshal(text, &j); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(j.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%s: %d containers, want one", name, len(j.Spec.Template.Spec.Containers))
	}
	return j
}

// TestJobRules are rules of Kubernetes that no schema has, and the promises of the README.
func TestJobRules(t *testing.T) {
	for _, name := range []string{"job.yaml", "merge.yaml"} {
		j := readJob(t, name)
		pod := j.Spec.Template.Spec
		c := pod.Containers[0]
		check := func(ok bool, want string) {
			if !ok {
				t.Errorf("%s: want %s", name, want)
			}
		}
		check(pod.RestartPolicy == "Never", "restartPolicy Never, as a failure policy and a limit for each index need")
		check(c.SecurityContext.AllowPrivilegeEscalation != nil && !*c.SecurityContext.AllowPrivilegeEscalation, "no escalation of privileges")
		check(!c.SecurityContext.Privileged && c.SecurityContext.Capabilities.Add == nil, "no privileges")
		check(slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}), "all capabilities dropped")
		for _, m := range c.VolumeMounts {
			n := 0
			for _, v := range pod.Volumes {
				if v.Name == m.Name {
					n++
				}
				check(v.HostPath == nil, "no hostPath")
			}
			check(n == 1, "one volume "+m.Name)
		}
		for resource, amount := range c.Resources.Limits {
			check(!strings.Contains(resource, "/") || amount == 1.0, "one of "+resource)
		}
	}
	j := readJob(t, "job.yaml")
	if j.Spec.CompletionMode != "Indexed" || j.Spec.BackoffLimitPerIndex == nil {
		t.Error("want an Indexed Job, since only that one has a limit for each index")
	}
	if j.Spec.Parallelism > j.Spec.Completions || j.Spec.Completions < 2 {
		t.Errorf("%d pods at the same time of %d", j.Spec.Parallelism, j.Spec.Completions)
	}
	if got := j.Spec.Template.Spec.NodeSelector["feature.node.kubernetes.io/memory-nv.dax"]; got != "true" {
		t.Errorf("the label of NVDIMMs is %q, want true", got)
	}
	rules := j.Spec.PodFailurePolicy.Rules
	if first := rules[0]; first.Action != "Ignore" || len(first.OnPodConditions) != 1 || first.OnPodConditions[0].Type != "DisruptionTarget" {
		t.Errorf("the failure policy begins with %+v, want evictions, which exit with 1, ignored", first)
	}
	rule := rules[len(rules)-1]
	if rule.Action != "FailIndex" || rule.OnExitCodes.Operator != "In" || !slices.Equal(rule.OnExitCodes.Values, []int{1, 2}) ||
		rule.OnExitCodes.ContainerName != j.Spec.Template.Spec.Containers[0].Name {
		t.Errorf("the failure policy is %+v, want the two exit codes of the program to fail the index", rule)
	}
}

// TestShardsOfJob: the pods have each shard once, write each its own report to the claim,
// and it is these that are merged.
func TestShardsOfJob(t *testing.T) {
	j, m := readJob(t, "job.yaml"), readJob(t, "merge.yaml")
	var shards, want []conformance.Shard
	var reports []string
	for i := range j.Spec.Completions {
		var args []string
		for _, a := range j.Spec.Template.Spec.Containers[0].Args {
			args = append(args, strings.ReplaceAll(a, "$(JOB_COMPLETION_INDEX)", fmt.Sprint(i)))
		}
		p := given(t, args)
		shard, err := p.options.Shard()
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, shard)
		want = append(want, conformance.Shard{Index: i + 1, Count: j.Spec.Completions})
		reports = append(reports, path.Join(p.value("pmem.reports"), "conformance.json"))
	}
	if !slices.Equal(shards, want) {
		t.Errorf("the pods have the shards %v, want %v", shards, want)
	}
	merge := given(t, m.Spec.Template.Spec.Containers[0].Args)
	if merge.value("pmem.merge") != "true" || !slices.Equal(merge.flags.Args(), reports) {
		t.Errorf("merged are %q, the pods write %q", merge.flags.Args(), reports)
	}
	claim := func(j job, dir string) string {
		for _, m := range j.Spec.Template.Spec.Containers[0].VolumeMounts {
			for _, v := range j.Spec.Template.Spec.Volumes {
				if strings.HasPrefix(dir, m.MountPath+"/") && v.Name == m.Name && v.PersistentVolumeClaim != nil {
					return v.PersistentVolumeClaim.ClaimName
				}
			}
		}
		t.Errorf("%s is on no claim", dir)
		return ""
	}
	name := documents(t, read(t, "job.yaml"))[0]["metadata"].(map[string]any)["name"]
	for where, got := range map[string]string{
		"the pods": claim(j, reports[0]), "merge.yaml": claim(m, reports[0]), "the merged report": claim(m, merge.value("pmem.reports")),
	} {
		if got != name {
			t.Errorf("%s: the claim is %q, want %q", where, got, name)
		}
	}
	if a, b := j.Spec.Template.Spec.Containers[0].Image, m.Spec.Template.Spec.Containers[0].Image; a != b {
		t.Errorf("the image is %s and %s", a, b)
	}
}

// TestDevicePlugin: the README has the plugin give a pod what the Job names.
func TestDevicePlugin(t *testing.T) {
	flag := regexp.MustCompile(`(?m)^ +--device=(\{.*\})$`).FindStringSubmatch(read(t, "README.md"))
	if flag == nil {
		t.Fatal("the README has no --device of the plugin")
	}
	var plugin struct {
		Name   string
		Groups []struct {
			Paths []struct{ Path, MountPath, Permissions, Type string }
		}
	}
	if err := json.Unmarshal([]byte(flag[1]), &plugin); err != nil {
		t.Fatal(err)
	}
	c := readJob(t, "job.yaml").Spec.Template.Spec.Containers[0]
	if c.Resources.Limits["squat.ai/"+plugin.Name] == nil {
		t.Errorf("the plugin offers squat.ai/%s, the pod asks for %v", plugin.Name, c.Resources.Limits)
	}
	p := given(t, strings.Fields(strings.ReplaceAll(strings.Join(c.Args, " "), "$(JOB_COMPLETION_INDEX)", "0")))
	paths := plugin.Groups[0].Paths
	if paths[0].MountPath != p.value("pmem.destroy") || paths[0].Permissions != "rw" || p.value("pmem.devdax") != p.value("pmem.destroy") {
		t.Errorf("the plugin gives %+v, the pod destroys %s of %s", paths[0], p.value("pmem.destroy"), p.value("pmem.devdax"))
	}
	if paths[1].Path != p.value("pmem.fsdax") || paths[1].Type != "Mount" {
		t.Errorf("the plugin gives %+v, the pod uses %s", paths[1], p.value("pmem.fsdax"))
	}
}
