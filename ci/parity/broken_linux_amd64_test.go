package parity

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pmemlab/ci/survey"
	"pmemlab/ci/vm/plan"
)

// small is a machine with a place of each kind that deviations concern.
var small = []plan.Place{
	{Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax, Address: 5 << 30}, Bytes: 30 << 20},
	{Namespace: plan.Namespace{Name: "dax4K", Kind: plan.DevDax, Address: 4 << 30, Align: 4096}, Bytes: 30 << 20},
	{Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, Address: 6 << 30, FS: "ext4", Options: "dax=always"}, Bytes: 62 << 20},
	{Namespace: plan.Namespace{Name: "tmpfs", Kind: plan.Tmpfs}},
}

// reference is what the emulated machine itself answers, in the place of a kernel.
func reference(t *testing.T) *survey.Report {
	t.Helper()
	h := survey.Header{Machine: "adr", Kernel: "emulated", Places: small, Spoiled: true}
	answers, err := surveyEmulated(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &survey.Report{Header: h, Answers: answers}
}

// The survey asks the same questions each time and gets the same answers, which a file keeps;
// and no deviation is unseen.
func TestDeviationsAreCaught(t *testing.T) {
	report := reference(t)
	name := filepath.Join(t.TempDir(), "report.json.gz")
	if err := report.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	read, err := survey.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, report) {
		t.Error("what is read of the file isn't what was written")
	}
	c, err := newComparison("")
	if err != nil {
		t.Fatal(err)
	}
	again := reference(t)
	c.add("adr", again.Answers, read.Answers)
	if c.Err() != nil {
		var b bytes.Buffer
		_ = c.Write(&b)
		t.Errorf("the same machine once more:\n%s", b.String())
	}
	for _, name := range survey.Families() {
		if c.families[name] == nil {
			t.Errorf("nothing was asked of family %s", name)
		}
	}
	// Another kernel was asked one family alone.
	part := &survey.Report{Header: read.Header}
	part.Only = []string{"deep_flush"}
	for _, a := range read.Answers {
		if a.Family == part.Only[0] {
			part.Answers = append(part.Answers, a)
		}
	}
	var b bytes.Buffer
	if err := CompareBroken(&b, []*survey.Report{read, part}, "all"); err != nil {
		t.Errorf("%v\n%s", err, b.String())
	}
	if !strings.HasSuffix(b.String(), "\nparity: ten deviations, ten caught\n") {
		t.Errorf("got\n%s", b.String())
	}
	if err := CompareBroken(&b, []*survey.Report{read}, "no such"); err == nil {
		t.Error("a deviation that there isn't was no error")
	}
	// On a machine without device DAX most are unseen.
	b.Reset()
	read.Places = read.Places[3:]
	if err := CompareBroken(&b, []*survey.Report{read}, "all"); err == nil || !strings.Contains(b.String(), "ten deviations, one caught") {
		t.Errorf("without device DAX: got %v and\n%s", err, b.String())
	}
}

func TestEmulate(t *testing.T) {
	m, places, err := Emulate("adr", small)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range places {
		if p.Name != small[i].Name || p.Bytes != small[i].Bytes {
			t.Errorf("place %d is %s of %d bytes, want %s of %d", i, p.Name, p.Bytes, small[i].Name, small[i].Bytes)
		}
		if want := p.Kind != plan.Tmpfs; (p.Device != "") != want || (p.Region != "") != want {
			t.Errorf("%s: device %q, region %q", p.Name, p.Device, p.Region)
		}
	}
	// DIMMs have the numbers of their addresses.
	for i, want := range []string{"nmem1,", "nmem0,", "nmem2,"} {
		if text, err := m.ReadAttr(places[i].Region + "/mapping0"); err != nil || !strings.HasPrefix(text, want) {
			t.Errorf("%s is on %q, %v, want %s", places[i].Name, text, err, want)
		}
	}
	if err := m.Shutdown(); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		machine string
		place   plan.Place
	}{
		"an unknown machine":        {"no such", small[0]},
		"no size":                   {"adr", plan.Place{Namespace: plan.Namespace{Name: "x", Kind: plan.DevDax}}},
		"another file system":       {"adr", plan.Place{Namespace: plan.Namespace{Name: "x", Kind: plan.FSDax, FS: "btrfs"}, Bytes: 1 << 30}},
		"device DAX on virtio-pmem": {"virtio-pmem", small[0]},
	} {
		if m, _, err := Emulate(c.machine, []plan.Place{c.place}); err == nil {
			t.Errorf("%s: no error", name)
			_ = m.Shutdown()
		}
	}
}
