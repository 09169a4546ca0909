package lab

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// unit are the settings of a unit file, each with its values in their order.
type unit map[string][]string

// readUnit reads a unit as the instance dax0.0.
func readUnit(t *testing.T, name string) unit {
	t.Helper()
	u := unit{}
	for line := range strings.Lines(read(t, name)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s: %q sets nothing", name, line)
		}
		u[key] = append(u[key], strings.NewReplacer("%i", "dax0.0", "%%", "%", "$$", "$").Replace(value))
	}
	return u
}

// one is the value of a setting that is there once.
func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s is set to %q, want one value", key, u[key])
	}
	return u[key][0]
}

// TestService: the device of the instance is the only one that can be opened and the one
// that may be destroyed, and reports go where the service may write.
func TestService(t *testing.T) {
	u := readUnit(t, "pmemlab-conformance@.service")
	script, begins := strings.CutPrefix(u.one(t, "ExecStart"), `/bin/sh -c 'exec /usr/local/bin/pmemlab-conformance `)
	script, ends := strings.CutSuffix(script, "'")
	if !begins || !ends {
		t.Fatalf("ExecStart=%s doesn't run the program", u["ExecStart"])
	}
	script = strings.ReplaceAll(script, `"$STATE_DIRECTORY/$(date +%F)"`, "/var/lib/"+u.one(t, "StateDirectory")+"/2026-11-22")
	if strings.ContainsAny(script, `$"'%`) {
		t.Fatalf("%s: what does the shell make of that?", script)
	}
	p := given(t, strings.Fields(script))
	const device = "/dev/dax0.0"
	for _, row := range []struct{ what, got, want string }{
		{"-pmem.devdax", p.value("pmem.devdax"), device},
		{"-pmem.destroy", p.value("pmem.destroy"), device},
		{"-pmem.reports", p.value("pmem.reports"), "/var/lib/pmemlab-conformance/dax0.0/2026-11-22"},
		{"DeviceAllow", u.one(t, "DeviceAllow"), device + " rw"},
		{"DevicePolicy", u.one(t, "DevicePolicy"), "closed"},
		{"ConditionPathExists", u.one(t, "ConditionPathExists"), device},
		{"ProtectSystem", u.one(t, "ProtectSystem"), "strict"},
		{"NoNewPrivileges", u.one(t, "NoNewPrivileges"), "yes"},
		{"OnFailure", u.one(t, "OnFailure"), "pmemlab-conformance-failed@dax0.0.service"},
	} {
		if row.got != row.want {
			t.Errorf("%s is %q, want %q", row.what, row.got, row.want)
		}
	}
	if u["Install"] != nil || u["WantedBy"] != nil {
		t.Error("the service can be enabled: every boot would destroy")
	}
	failed := strings.ReplaceAll(u.one(t, "OnFailure"), "@dax0.0", "@")
	if _, err := os.Stat(failed); err != nil {
		t.Error(err)
	}
	if timer := readUnit(t, "pmemlab-conformance@.timer"); timer["OnCalendar"] == nil || timer["Persistent"][0] != "no" || timer["Unit"] != nil {
		t.Errorf("the timer is %v, want every night, none made up for, of the service of its name", timer)
	}
}

// TestEnvironment has the program take the example, as it is and with all that is behind
// a '#' there, in a directory that the service may write to.
func TestEnvironment(t *testing.T) {
	u := readUnit(t, "pmemlab-conformance@.service")
	const name = "pmemlab-conformance.env"
	if got := u.one(t, "EnvironmentFile"); got != "-/etc/"+name {
		t.Errorf("EnvironmentFile=%s", got)
	}
	set, more := map[string]string{}, map[string]string{}
	for line := range strings.Lines(read(t, name)) {
		comment, isComment := strings.CutPrefix(strings.TrimSpace(line), "#")
		key, value, ok := strings.Cut(comment, "=")
		switch {
		case !ok || !strings.HasPrefix(key, "PMEMLAB_"):
			if !isComment && comment != "" {
				t.Errorf("%q sets no flag", line)
			}
			continue
		case !isComment:
			set[key] = value
		}
		more[key] = value
	}
	if len(set) < 2 || len(more) < 4 {
		t.Errorf("the example sets %v, and offers %v", set, more)
	}
	for _, env := range []map[string]string{set, more} {
		p := newProgram()
		if err := p.flags.Parse([]string{"-pmem.devdax=/dev/dax0.0", "-pmem.destroy=/dev/dax0.0"}); err != nil {
			t.Fatal(err)
		}
		lookup := func(key string) (string, bool) { v, ok := env[key]; return v, ok }
		if err := p.options.FromEnvironment(lookup); err != nil {
			t.Error(err)
		}
		if err := p.options.Check(); err != nil {
			t.Error(err)
		}
		for _, key := range slices.Sorted(maps.Keys(env)) {
			if p.value("pmem."+strings.ToLower(strings.TrimPrefix(key, "PMEMLAB_"))) != env[key] {
				t.Errorf("%s=%s isn't heard", key, env[key])
			}
		}
	}
	if got, want := more["PMEMLAB_FSDAX"], strings.TrimPrefix(u.one(t, "ReadWritePaths"), "-"); got != want {
		t.Errorf("PMEMLAB_FSDAX=%s, the service may write to %s", got, want)
	}
	if got, want := more["PMEMLAB_PAGEFS"]+"/dax0.0", "/var/lib/"+u.one(t, "StateDirectory"); got != want {
		t.Errorf("PMEMLAB_PAGEFS is %s above the instance, the state directory is %s", got, want)
	}
}
