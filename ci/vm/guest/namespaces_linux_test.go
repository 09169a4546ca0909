package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pmemlab/ci/vm/plan"
)

// sysfs makes a folder with these files.
func sysfs(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRegionAt(t *testing.T) {
	dir := sysfs(t, map[string]string{
		"region0/resource": "0x104000000\n", "region1/resource": "0x100000000\n", "region10/resource": "0x108000000\n", "namespace0.0/resource": "0x200000000\n",
	})
	for address, want := range map[uint64]string{0x100000000: "region1", 0x104000000: "region0", 0x108000000: "region10"} {
		if got, err := regionAt(dir, address); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("0x%x: %s, %v: want %s", address, got, err, want)
		}
	}
	_, err := regionAt(dir, 0x200000000)
	if err == nil || !strings.Contains(err.Error(), "no region begins at 0x200000000; there are: region0 at 0x104000000, region1 at 0x100000000") {
		t.Errorf("%v: want the regions that there are", err)
	}
	if _, err := regionAt(t.TempDir(), 1); err == nil {
		t.Error("there's a region where there is none")
	}
	if _, err := regionAt(sysfs(t, map[string]string{"region0/size": "1"}), 1); err == nil || !strings.Contains(err.Error(), "region0/resource") {
		t.Errorf("%v: want one that says what can't be read", err)
	}
}

func TestDeviceOf(t *testing.T) {
	dir := sysfs(t, map[string]string{
		"dax0.1/dax0.0/size":            "31457280\n", // after a second boot
		"pfn1.0/block/pmem1/size":       "61440\n",
		"btt2.0/block/pmem2s/size":      "1000\n",
		"namespace3.0/size":             "4096\n", // without a driver
		"two/block/pmem1/size":          "1\n",
		"two/block/pmem2/size":          "1\n",
		"odd/block/pmem1/size":          "many\n",
		"dax9.0/dax_region/size":        "1\n",
		"dax9.0/dax9.0/uevent":          "",
		"namespace4.0/block/pmem4/size": "8\n",
	})
	for holder, want := range map[string]struct {
		node string
		size uint64
	}{
		"dax0.1": {"/dev/dax0.0", 31457280}, "pfn1.0": {"/dev/pmem1", 61440 * 512}, "btt2.0": {"/dev/pmem2s", 512000}, "namespace4.0": {"/dev/pmem4", 4096},
	} {
		if node, size, err := deviceOf(filepath.Join(dir, holder)); node != want.node || size != want.size || err != nil {
			t.Errorf("%s: %s of %d, %v: want %+v", holder, node, size, err, want)
		}
	}
	for _, holder := range []string{"namespace3.0", "two", "odd", "dax9.0", "none"} {
		if node, size, err := deviceOf(filepath.Join(dir, holder)); err == nil {
			t.Errorf("%s: %s of %d: want an error", holder, node, size)
		}
	}
}

func TestExisting(t *testing.T) {
	dir := sysfs(t, map[string]string{
		// The first is a seed: what is there has a device.
		"region0/dax0.0/size": "", "region0/dax0.1/dax0.0/size": "1\n", "region0/pfn0.0/size": "", "region0/namespace0.0/size": "1\n",
		"region1/pfn1.0/block/pmem1/size": "1\n", "region2/btt2.0/block/pmem2s/size": "1\n", "region3/namespace3.0/block/pmem3/size": "1\n",
	})
	for _, c := range []struct {
		region string
		kind   plan.Kind
		want   string
	}{
		{"region0", plan.DevDax, "dax0.1"}, {"region1", plan.FSDax, "pfn1.0"}, {"region2", plan.BTT, "btt2.0"}, {"region3", plan.Raw, "namespace3.0"},
		{"region0", plan.FSDax, ""}, {"region0", plan.Raw, ""}, {"region1", plan.DevDax, ""}, {"region4", plan.DevDax, ""}, {"region0", "", ""},
	} {
		got, err := existing(filepath.Join(dir, c.region), plan.Namespace{Kind: c.kind})
		if (err != nil) != (c.want == "") || err == nil && filepath.Base(got) != c.want {
			t.Errorf("%s, %s: %s, %v: want %q", c.region, c.kind, got, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), c.region) || !strings.Contains(err.Error(), string(c.kind))) {
			t.Errorf("%v: want region and kind", err)
		}
	}
}

func TestSetAttribute(t *testing.T) {
	file := filepath.Join(sysfs(t, map[string]string{"align": ""}), "align")
	if err := setAttribute(file, "4096"); err != nil {
		t.Fatal(err)
	}
	if got, err := attribute(file); got != "4096" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := setAttribute(file+"s", "1"); err == nil {
		t.Error("an attribute that isn't there was made")
	}
	if err := setAttribute("/dev/full", "7"); err == nil || !strings.Contains(err.Error(), `write "7": write /dev/full`) {
		t.Errorf("%v: want what was written where", err)
	}
}

func TestNewUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		u := newUUID()
		if !form.MatchString(u) || seen[u] {
			t.Fatalf("%q, seen before: %v", u, seen[u])
		}
		seen[u] = true
	}
}
