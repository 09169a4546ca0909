package debian

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func content(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "boot/content"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUnpacked(t *testing.T) {
	a := newApt(t).has(n9+".deb", "a kernel")
	c := a.cache()
	for range 2 {
		dir, err := c.Unpacked(t.Context(), n9)
		if err != nil || dir != filepath.Join(c.Dir, n9, "files") || content(t, dir) != "a kernel" {
			t.Fatalf("%s, %v", dir, err)
		}
	}
	if a.calls("download") != 1 {
		t.Errorf("downloaded %d times", a.calls("download"))
	}
	left(t, c, n9)
	sum, err := Sum(filepath.Join(a.folder, n9+".deb"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Origin(n9); got != sum+"  "+n9+"_1_amd64.deb" || err != nil {
		t.Errorf("origin %q, %v", got, err)
	}
	if entries, _ := filepath.Glob(filepath.Join(c.Dir, n9, "*.deb")); len(entries) > 0 {
		t.Errorf("the package is still there: %s", entries)
	}
	c.Offline = true
	if _, err := c.Unpacked(t.Context(), n9); err != nil {
		t.Error(err)
	}
	_, err = c.Unpacked(t.Context(), n30)
	wants(t, err, n30, "isn't in "+c.Dir)
}

func TestUnpackedLeavesNothingHalfMade(t *testing.T) {
	a := newApt(t).has(n9+".deb", "damaged")
	c := a.cache()
	_, err := c.Unpacked(t.Context(), n9)
	wants(t, err, "dpkg-deb", "unexpected end of file")
	left(t, c)
	_, err = c.Unpacked(t.Context(), n30)
	wants(t, err, "Unable to locate package "+n30)
	left(t, c)
	a.has("hook", ">one.deb; >two.deb").has(n30+".deb", "a kernel")
	_, err = c.Unpacked(t.Context(), n30)
	wants(t, err, "left 3 packages, not one")
	left(t, c)
}

func TestUnpackedReplacesWhatHasNoSeal(t *testing.T) {
	a := newApt(t).has(n9+".deb", "a kernel")
	c := a.cache()
	keep(t, c, n9, time.Hour)
	if err := os.Remove(c.seal(n9)); err != nil {
		t.Fatal(err)
	}
	dir, err := c.Unpacked(t.Context(), n9)
	if err != nil || content(t, dir) != "a kernel" {
		t.Errorf("%s, %v", dir, err)
	}
	left(t, c, n9)
}

func TestUnpackedByAnotherOneMeanwhile(t *testing.T) {
	a := newApt(t).has(n9+".deb", "a kernel")
	other, c := a.cache(), a.cache()
	keep(t, other, n9, time.Hour)
	a.has("hook", "cp -r "+filepath.Join(other.Dir, n9)+" "+c.Dir)
	dir, err := c.Unpacked(t.Context(), n9)
	if err != nil || content(t, dir) != "kept" {
		t.Errorf("%s, %v, %q: want what is in use already", dir, err, content(t, dir))
	}
	left(t, c, n9)
}

func TestUnpackedByManyAtOnce(t *testing.T) {
	a := newApt(t).has(n9+".deb", "a kernel")
	dir := a.cache().Dir
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			c := &Cache{Dir: dir}
			got, err := c.Unpacked(t.Context(), n9)
			if err != nil {
				t.Error(err)
				return
			}
			verify, err := c.Verifier(n9)
			if err != nil {
				t.Error(err)
				return
			}
			if err := verify(filepath.Join(got, "boot/content")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	left(t, &Cache{Dir: dir}, n9)
}

func TestLeftoversAreSwept(t *testing.T) {
	a := newApt(t).has(n9+".deb", "a kernel")
	c := a.cache()
	for name, ago := range map[string]time.Duration{"unpacking-1": 25 * time.Hour, "unpacking-2": time.Hour, "mine": 25 * time.Hour} {
		dir, at := filepath.Join(c.Dir, name), time.Now().Add(-ago)
		if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Unpacked(t.Context(), n9); err != nil {
		t.Fatal(err)
	}
	left(t, c, n9, "mine", "unpacking-2")
}

func TestVerifier(t *testing.T) {
	a := newApt(t).has(n9+".deb", "a kernel").has(n30+".deb", "another")
	c := a.cache()
	dir, err := c.Unpacked(t.Context(), n9)
	if err != nil {
		t.Fatal(err)
	}
	verify, err := c.Verifier(n9)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "boot/content")
	if err := verify(file); err != nil {
		t.Error(err)
	}
	again := "remove " + filepath.Join(c.Dir, n9) + " to have it downloaded again"
	more := filepath.Join(dir, "boot/more")
	for name, c := range map[string]struct {
		change func() error
		file   string
		want   string
	}{
		"another content":    {func() error { return os.WriteFile(file, []byte("A kernel"), 0o644) }, file, "isn't what was unpacked"},
		"empty":              {func() error { return os.Truncate(file, 0) }, file, "isn't what was unpacked"},
		"gone":               {func() error { return os.Remove(file) }, file, "no such file"},
		"not of the package": {func() error { return os.WriteFile(more, nil, 0o644) }, more, "was not in the package"},
		"outside":            {func() error { return nil }, filepath.Join(a.folder, n9+".deb"), "was not in the package"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte("a kernel"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			wants(t, verify(c.file), c.file, c.want, again)
		})
	}
	if _, err := c.Verifier(n30); err == nil {
		t.Error("what isn't in the cache has checksums")
	}
	if _, err := c.Origin(n30); err == nil {
		t.Error("what isn't in the cache has an origin")
	}
	if err := os.WriteFile(c.seal(n9), []byte(strings.Repeat("0", 64)+"  files/boot/content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = c.Origin(n9)
	wants(t, err, "SHA256SUMS begins with")
}

func TestSum(t *testing.T) {
	file := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(file, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := Sum(file); got != want || err != nil {
		t.Errorf("%s, %v: want %s", got, err, want)
	}
	if _, err := Sum(file + "d"); err == nil {
		t.Error("what isn't there has a sum")
	}
}
