package emu_test

import (
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/check"
	"pmemlab/emu/trace"
)

// exploreGreeting explores a program that stores a text and then a flag, which says that it's
// there. persisted says whether the text is persisted before.
func exploreGreeting(t *testing.T, persisted bool) *emu.Exploration {
	t.Helper()
	workload := func(run *emu.Run) error {
		p := device(run.Machine)
		b := p.Bytes()
		copy(b[64:], "Hello")
		var err error
		if persisted {
			err = p.Persist(b[64:69])
		}
		b[0] = 1
		return errors.Join(err, p.Persist(b[:1]), p.Delete())
	}
	x, err := emu.Explore(workload, nil, func(c *emu.Crashed) error { return checkGreeting(c.Machine) },
		emu.ExploreOptions{Setup: addDevice, InProcess: true})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func checkGreeting(m *emu.Machine) error {
	p := device(m)
	b := p.Bytes()
	var err error
	if b[0] == 1 && string(b[64:69]) != "Hello" {
		err = errors.New("the flag is <set>, the text isn't there")
	}
	return errors.Join(err, p.Delete())
}

// savedImage is the variable with the path of the image for the process that boots from it.
const savedImage = "PMEMLAB_TEST_IMAGE"

func bootSaved(t *testing.T, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := emu.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Machine()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("recovered: %v; lost %v; %d events", checkGreeting(m), img.Lost(), len(img.Trace().Events))
	if err := m.Shutdown(); err != nil {
		t.Error(err)
	}
}

// TestSaveFinding: a finding is wrong in another process too, and its files point at the
// guilty line.
func TestSaveFinding(t *testing.T) {
	if path := os.Getenv(savedImage); path != "" { // the other process
		bootSaved(t, path)
		return
	}
	if x := exploreGreeting(t, true); len(x.Findings) > 0 {
		t.Fatalf("the correct program has findings: %v", x.Findings)
	}
	x := exploreGreeting(t, false)
	if len(x.Findings) != 1 {
		t.Fatalf("got %d findings, want 1: %v", len(x.Findings), x.Findings)
	}
	f := &x.Findings[0]
	dir := filepath.Join(t.TempDir(), "a", "b")
	files, err := f.SaveTo(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.SaveTo(dir); err != nil || again != files {
		t.Errorf("saved again: got %v, %v, want %v", again, err, files)
	}
	if got := folder(t, dir); len(got) != 4 {
		t.Errorf("the folder holds %q, want 4 files", got)
	}

	cmd := exec.Command(os.Args[0], "-test.run=^TestSaveFinding$", "-test.v")
	cmd.Env = append(os.Environ(), savedImage+"="+files.Image)
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("recovered: the flag is <set>, the text isn't there; lost [line 0x40 of /dev/dax0.0]; %d events", len(f.Image.Trace().Events))
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("another process: got %v\n%s\nwant %q", err, out, want)
	}

	page := textOf(t, files.Page)
	for _, want := range []string{"/dev/dax0.0 at 0x40–0x7f", f.Lost[0].String(), f.Err.Error(), "power failure before"} {
		if !strings.Contains(html.UnescapeString(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	log, err := trace.ReadJSON(strings.NewReader(textOf(t, files.Trace)))
	if err != nil {
		t.Fatal(err)
	}
	if len(log.Guilty) != 1 || log.Guilty[0].Off != 0x40 || log.Objects[log.Guilty[0].Object].Name != "/dev/dax0.0" || log.Guilty[0].Seq != f.Point.Seq {
		t.Errorf("guilty are %+v of %+v, want line 0x40 of /dev/dax0.0 before event %d", log.Guilty, log.Objects, f.Point.Seq)
	}
	if last := log.Events[len(log.Events)-1].Seq; last > f.Point.Seq {
		t.Errorf("the trace goes on to event %d, power failed before %d", last, f.Point.Seq)
	}
	if _, err := parseStoreLog(textOf(t, files.Pmemcheck)); err != nil {
		t.Error(err)
	}
	if img := f.Image.Trace(); len(img.Guilty) > 0 {
		t.Errorf("the image's trace has %v pointed out now, want nothing", img.Guilty)
	}
}

// TestSaveNothingLost: with nothing lost the moment is pointed out.
func TestSaveNothingLost(t *testing.T) {
	x, err := emu.Explore(func(run *emu.Run) error { return nil }, nil,
		func(*emu.Crashed) error { return errors.New("never right\nat all") },
		emu.ExploreOptions{Setup: addDevice, InProcess: true})
	if err != nil || len(x.Findings) != 1 {
		t.Fatalf("got %v, %v, want 1 finding", x, err)
	}
	files, err := x.Findings[0].SaveTo(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if page := textOf(t, files.Page); !strings.Contains(page, "<b>check: never right</b>") {
		t.Errorf("the page points out nothing:\n%.2000s", page)
	}
}

// TestSaveNames: findings with different reasons get different names.
func TestSaveNames(t *testing.T) {
	dir := t.TempDir()
	names := map[string]bool{}
	n := 0
	for range 2 { // the same reasons the second time
		x, err := emu.Explore(func(run *emu.Run) error {
			p := device(run.Machine)
			b := p.Bytes()
			b[0] = 1
			run.Ack("too early")
			err := p.Persist(b[:1])
			b[0] = 2
			run.Ack("again, elsewhere")
			return errors.Join(err, p.Persist(b[:1]), p.Delete())
		}, nil, func(c *emu.Crashed) error {
			p := device(c.Machine)
			defer p.Delete()
			if got := int(p.Bytes()[0]); got < len(c.Acks) {
				return fmt.Errorf("got %d, want %d", got, len(c.Acks))
			}
			return nil
		}, emu.ExploreOptions{Setup: addDevice, InProcess: true})
		if err != nil {
			t.Fatal(err)
		}
		if n = len(x.Findings); n != 2 {
			t.Fatalf("got %d findings, want 2, of one line in two places: %v", n, x.Findings)
		}
		for i := range x.Findings {
			files, err := x.Findings[i].SaveTo(dir)
			if err != nil {
				t.Fatal(err)
			}
			names[files.Image] = true
		}
	}
	if len(names) != n || len(folder(t, dir)) != 4*n {
		t.Errorf("%d findings have the names %v, want one each; the folder holds %q", n, names, folder(t, dir))
	}
}

func TestSaveErrors(t *testing.T) {
	f := &exploreGreeting(t, false).Findings[0]
	dir := t.TempDir()
	t.Chdir(dir)
	if files, err := f.SaveTo(""); err == nil || files != (emu.SavedFiles{}) || !strings.Contains(err.Error(), `the folder for a finding is ""`) {
		t.Errorf(`folder "": got %v, %v`, files, err)
	}
	if got := folder(t, dir); len(got) > 0 {
		t.Errorf(`folder "": %q were written`, got)
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if files, err := f.SaveTo("file"); err == nil || files != (emu.SavedFiles{}) {
		t.Errorf("a file for a folder: got %v, %v", files, err)
	}
	files, err := f.SaveTo("there")
	if err != nil {
		t.Fatal(err)
	}
	// Something is in the way of the image: the others are written.
	if err := errors.Join(os.Remove(files.Page), os.Remove(files.Image), os.Mkdir(files.Image, 0o700)); err != nil {
		t.Fatal(err)
	}
	again, err := f.SaveTo("there")
	if err == nil || !strings.Contains(err.Error(), files.Image) || again.Image != "" || again.Page != files.Page {
		t.Errorf("without an image: got %v, %v, want an error about %s", again, err, files.Image)
	}
	if textOf(t, files.Page) == "" {
		t.Error("the page is empty")
	}
}

func TestSaveFindings(t *testing.T) {
	m := emu.NewMachine(emu.Config{})
	if err := addDevice(m); err != nil {
		t.Fatal(err)
	}
	p := device(m)
	p.Bytes()[100] = 1
	p.Flush(p.Bytes()[:1])
	findings := slices.DeleteFunc(m.Findings(), func(f emu.Finding) bool { return f.Rule != check.StoreNeverFlushed })
	dir := t.TempDir()
	files, err := m.SaveFindings(dir, findings)
	if err != nil || files.Image != "" {
		t.Fatalf("got %v, %v, want no image", files, err)
	}
	if got := folder(t, dir); len(got) != 3 {
		t.Errorf("the folder holds %q, want 3 files", got)
	}
	page := html.UnescapeString(textOf(t, files.Page))
	for _, want := range []string{"<b>store-never-flushed</b>", "/dev/dax0.0 at 0x64–0x64", "1 findings, the first: store-never-flushed"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%.3000s", want, page)
		}
	}
	if _, err := m.SaveFindings(t.TempDir(), nil); err != nil {
		t.Errorf("no findings: %v", err)
	}
	dir = t.TempDir()
	if files, err := m.SaveFindings(dir, []emu.Finding{{Off: 1 << 63, Len: 1}}); err == nil || files != (emu.SavedFiles{}) || len(folder(t, dir)) > 0 {
		t.Errorf("a finding that no log can hold: got %v, %v, files %q, want an error and none", files, err, folder(t, dir))
	}
	if err := errors.Join(p.Delete(), m.Shutdown()); err != nil {
		t.Error(err)
	}
}

func folder(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
