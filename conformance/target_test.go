package conformance

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

// fakeTarget is the emulated one with something wrong about it.
type fakeTarget struct {
	Target
	lacks   Need // says that it lacks this
	env     func(Env) Env
	failing error
}

func (f fakeTarget) Lacks(n Need) string {
	if n == f.lacks {
		return "for want of a nail"
	}
	return f.Target.Lacks(n)
}

func (f fakeTarget) Capabilities() []Need {
	return slices.DeleteFunc(f.Target.Capabilities(), func(n Need) bool { return n == f.lacks })
}

func (f fakeTarget) NewEnv(variant string) (Env, error) {
	if f.failing != nil {
		return nil, f.failing
	}
	e, err := f.Target.NewEnv(variant)
	if f.env != nil && err == nil {
		e = f.env(e)
	}
	return e, err
}

// brokenEnv can't make what it is asked for.
type brokenEnv struct {
	Env
	file, devDax, close error
}

func (b brokenEnv) File(size uint64) (Object, error) {
	if b.file != nil {
		return nil, b.file
	}
	return b.Env.File(size)
}

func (b brokenEnv) DevDax(size, alignment uint64) (Object, error) {
	if b.devDax != nil {
		return nil, b.devDax
	}
	return b.Env.DevDax(size, alignment)
}

func (b brokenEnv) PowerFails(f Failure, objects ...Object) (iter.Seq2[[][]byte, error], bool, error) {
	return b.Env.(PowerFailure).PowerFails(f, objects...)
}

func (b brokenEnv) Close() error { return errors.Join(b.Env.Close(), b.close) }

func TestBrokenPlaceIsAnError(t *testing.T) {
	broken := errors.New("out of paper")
	useFile := Case{Name: "x/file", Rows: []string{fileRow}, Run: func(c *T) { c.FileSource(4096) }}
	for _, row := range []struct {
		name   string
		target fakeTarget
	}{
		{"no place", fakeTarget{failing: broken}},
		{"no file", fakeTarget{env: func(e Env) Env { return brokenEnv{Env: e, file: broken} }}},
		{"not closed", fakeTarget{env: func(e Env) Env { return brokenEnv{Env: e, close: broken} }}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.target.Target = Emulated()
			run := runCases(t, Go, row.target, useFile)
			wantRow(t, run, fileRow, report.Error, "out of paper")
		})
	}
}

func TestDeclarationAndProbeMustAgree(t *testing.T) {
	needsLinux(t)
	for _, n := range Needs() {
		t.Run("hidden "+string(n), func(t *testing.T) {
			wrong := probeTarget(fakeTarget{Target: Emulated(), lacks: n})
			if len(wrong) != 1 || !strings.Contains(wrong[0], "capability "+string(n)+" is there, declared is that it isn't") {
				t.Errorf("got %q, want one contradiction about %s", wrong, n)
			}
		})
	}
	t.Run("declared and missing", func(t *testing.T) {
		target := fakeTarget{Target: Emulated(), env: func(e Env) Env { return brokenEnv{Env: e, devDax: errors.New("no slot")} }}
		run := runCases(t, Go, target, passing("x/c", anyRow))
		wantRow(t, run, anyRow, report.Pass, "")
		got := suiteErrors(run)
		// eADR and the editing of sysfs are probed on a device DAX.
		if len(got) != 3 {
			t.Errorf("suite errors %q, want 3", got)
		}
		for _, g := range got {
			if !strings.Contains(g, "is declared and isn't there: no slot") {
				t.Errorf("suite error %q, want that a declared capability isn't there", g)
			}
		}
	})
	t.Run("as they are", func(t *testing.T) {
		for _, target := range []Target{Emulated(), Files(FilesConfig{})} {
			if wrong := probeTarget(target); wrong != nil {
				t.Errorf("%s: %q, want no contradiction", target.Name(), wrong)
			}
		}
	})
}

func TestFilesWithoutAVariant(t *testing.T) {
	needsLinux(t)
	disk := t.TempDir()
	if isTmpfs(disk) == nil {
		disk = "."
	}
	target := Files(FilesConfig{Tmpfs: filepath.Join(disk, "missing"), Disk: disk})
	run := runCases(t, Go, target, passing("x/c", anyRow))
	wantRow(t, run, anyRow, report.Pass, "")
	cases := rowOf(t, run, anyRow).Cases
	if len(cases) != 2 || cases[0].Status != report.NotSupported || !strings.Contains(cases[0].Reason, "no directory on a tmpfs") {
		t.Errorf("cases are %+v, want the one on tmpfs not supported", cases)
	}
	if cases[1].Status != report.Pass {
		t.Errorf("on the disk: %+v, want pass", cases[1])
	}
	if wrong := suiteErrors(run); wrong != nil {
		t.Errorf("suite errors %q, want none", wrong)
	}
	if left, err := filepath.Glob(filepath.Join(disk, testDirPrefix+"*")); err != nil || left != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestFilesTakesTheRightFileSystem(t *testing.T) {
	needsLinux(t)
	disk := t.TempDir()
	if isDisk(disk) != nil {
		t.Skip("the directory for temporary files is a tmpfs")
	}
	target := Files(FilesConfig{Tmpfs: disk, Disk: disk}).(VariantTarget)
	if why := target.LacksIn("tmpfs", NeedFile); !strings.Contains(why, "no tmpfs") {
		t.Errorf("a disk as tmpfs: lacks %q, want that it's no tmpfs", why)
	}
	if why := target.LacksIn("disk", NeedFile); why != "" {
		t.Errorf("a disk as disk: lacks %q, want nothing", why)
	}
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() && isTmpfs("/dev/shm") == nil {
		target := Files(FilesConfig{Tmpfs: "/dev/shm", Disk: "/dev/shm"}).(VariantTarget)
		if why := target.LacksIn("disk", NeedFile); !strings.Contains(why, "a tmpfs") {
			t.Errorf("a tmpfs as disk: lacks %q, want that it's a tmpfs", why)
		}
	}
}

// refusing is an Env that has refused something once why says so.
type refusing struct {
	Env
	why *string
}

func (r refusing) Refused() string { return *r.why }

// TestRefused: a case that was refused something isn't supported, but a failure before
// that is one.
func TestRefused(t *testing.T) {
	needsLinux(t)
	for _, row := range []struct {
		name string
		run  func(c *T, refuse func())
		want report.Status
	}{
		{"passes", func(_ *T, refuse func()) { refuse() }, report.NotSupported},
		{"fails then", func(c *T, refuse func()) { refuse(); c.Failf("seen") }, report.NotSupported},
		{"failed before", func(c *T, refuse func()) { c.Cleanup(refuse); c.Failf("seen") }, report.Fail},
		{"breaks then", func(c *T, refuse func()) { refuse(); c.Brokenf("broke") }, report.Error},
		{"refused nothing", func(*T, func()) {}, report.Pass},
	} {
		t.Run(row.name, func(t *testing.T) {
			why := ""
			target := fakeTarget{Target: Emulated(), env: func(e Env) Env { return refusing{e, &why} }}
			r := newRunner(Go, target, Rows(), []Case{{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
				row.run(c, func() { why = "refused" })
			}}})
			got := r.RunCase(r.cases[0])
			if len(got) != 1 || got[0].Status != row.want {
				t.Errorf("results are %+v, want %s", got, row.want)
			}
		})
	}
}
