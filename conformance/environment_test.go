package conformance

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

// TestForcedGranularityOfTheUser runs the cases about granularity in an environment
// that forces one: they come out as they do without.
func TestForcedGranularityOfTheUser(t *testing.T) {
	about := slices.DeleteFunc(Cases(), func(c Case) bool {
		return !strings.Contains(strings.ToLower(c.Name+" "+strings.Join(c.Rows, " ")), "granularity")
	})
	if len(about) < 10 {
		t.Fatalf("%d cases are about granularity, want 10 at least", len(about))
	}
	for _, target := range []Target{Emulated(), Files(FilesConfig{})} {
		t.Run(target.Name(), func(t *testing.T) {
			t.Setenv(forceGranularity, "")
			os.Unsetenv(forceGranularity)
			want := runCases(t, Go, target, about...)
			for _, value := range []string{"BYTE", "CACHE_LINE", "PAGE", ""} {
				os.Setenv(forceGranularity, value)
				got := runCases(t, Go, target, about...)
				for i, r := range want.Rows {
					if got.Rows[i].ID != r.ID || got.Rows[i].Status != r.Status {
						t.Errorf("with %q forced: %s: %s (%s), want %s", value, r.ID, got.Rows[i].Status, got.Rows[i].Reason, r.Status)
					}
				}
				if now, set := os.LookupEnv(forceGranularity); now != value || !set {
					t.Errorf("after the run with %q forced the variable is %q (set: %t)", value, now, set)
				}
			}
		})
	}
}

func TestForceOfACase(t *testing.T) {
	for _, user := range []struct {
		name, value string
		set         bool
	}{{"unset", "", false}, {"empty", "", true}, {"CACHE_LINE", "CACHE_LINE", true}} {
		t.Run(user.name, func(t *testing.T) {
			t.Setenv(forceGranularity, user.value)
			if !user.set {
				os.Unsetenv(forceGranularity)
			}
			run := runCases(t, Go, Emulated(),
				Case{Name: "x/forces", Rows: []string{anyRow}, Run: func(c *T) {
					value, set := os.LookupEnv(forceGranularity)
					c.Check(!set, "the case sees the user's %q", value)
					c.Cleanup(func() {
						_, set := os.LookupEnv(forceGranularity)
						c.Check(!set, "set again before the clean-ups are over")
					})
					c.Force("PAGE")
					c.Force("BYTE")
					if value := os.Getenv(forceGranularity); value != "BYTE" {
						c.Brokenf("forced BYTE, the environment says %q", value)
					}
					c.Failf("as planned")
				}},
				Case{Name: "x/next", Rows: []string{fileRow}, Run: func(c *T) {
					_, set := os.LookupEnv(forceGranularity)
					c.Check(!set, "left by the case before")
				}})
			wantRow(t, run, anyRow, report.Fail, "as planned")
			wantRow(t, run, fileRow, report.Pass, "")
			if value, set := os.LookupEnv(forceGranularity); value != user.value || set != user.set {
				t.Errorf("after the run: %q (set: %t), want %q (set: %t)", value, set, user.value, user.set)
			}
		})
	}
}
