package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// apt has the programs in testdata/bin in place of Debian's: what they answer is in a folder.
type apt struct {
	t      *testing.T
	folder string
	said   []string
}

func newApt(t *testing.T) *apt {
	t.Helper()
	a := &apt{t: t, folder: t.TempDir()}
	bin, err := filepath.Abs("testdata/bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAKE", a.folder)
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	for _, name := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if got, err := exec.LookPath(name); err != nil || got != filepath.Join(bin, name) {
			t.Fatalf("%s is %s, %v: the real one isn't to be run", name, got, err)
		}
	}
	return a
}

// has writes a file of the folder.
func (a *apt) has(name, content string) *apt {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.folder, name), []byte(content), 0o644); err != nil {
		a.t.Fatal(err)
	}
	return a
}

// calls are those of apt-get that began so.
func (a *apt) calls(what string) (n int) {
	text, err := os.ReadFile(filepath.Join(a.folder, "calls"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

func (a *apt) cache() *Cache {
	return &Cache{Dir: filepath.Join(a.t.TempDir(), "cache"), Say: func(format string, args ...any) {
		a.said = append(a.said, fmt.Sprintf(format, args...))
	}}
}

// wants fails the test unless err has the texts in it.
func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "%!") {
			t.Errorf("error %v: want one with %q", err, want)
		}
	}
}

const names = `linux-image-6.1.0-9-amd64
linux-image-6.1.0-31-cloud-amd64
linux-image-6.1.0-32-amd64-unsigned
linux-image-6.1.0-30-amd64
linux-image-6.1.0-40-amd64
linux-image-6.1.0-10-amd64
`

const n9, n30 = "linux-image-6.1.0-9-amd64", "linux-image-6.1.0-30-amd64"

func TestNewestThatAptKnows(t *testing.T) {
	a := newApt(t).has("names", names).has("gone", "linux-image-6.1.0-40-amd64\n")
	c := a.cache()
	got, err := c.Newest(t.Context(), prefix, suffix)
	if err != nil || got != n30 {
		t.Errorf("%q, %v: want %s", got, err, n30)
	}
	c.Offline = true
	_, err = c.Newest(t.Context(), prefix, suffix)
	wants(t, err, prefix+"*"+suffix, c.Dir)
}

func TestNewestThatAptDoesNotKnow(t *testing.T) {
	a := newApt(t).has("names", "linux-image-6.12.0-1-amd64\n").has("update", "100")
	_, err := a.cache().Newest(t.Context(), prefix, suffix)
	wants(t, err, "apt knows no package linux-image-6.1.*-amd64", "Debian 12", system())
	if os.Geteuid() == 0 {
		wants(t, err, "apt-get update -qq: exit status 100")
	}
	os.Remove(filepath.Join(a.folder, "names"))
	_, err = a.cache().Newest(t.Context(), prefix, suffix)
	wants(t, err, "apt-cache pkgnames", "E: no lists")
}

func TestWithoutApt(t *testing.T) {
	a := newApt(t)
	t.Setenv("PATH", t.TempDir())
	_, err := a.cache().Newest(t.Context(), prefix, suffix)
	wants(t, err, "apt-cache", "Debian's apt", "this is "+system())
	_, err = a.cache().Unpacked(t.Context(), n9)
	wants(t, err, "apt-get", "Debian's apt", "this is "+system())
}

// keep puts a package into the cache that was unpacked so long ago.
func keep(t *testing.T, c *Cache, name string, ago time.Duration) {
	t.Helper()
	for file, content := range map[string]string{filepath.Join(c.Dir, name, "files/boot/content"): "kept", c.seal(name): made + "1  a.deb\n"} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(c.seal(name), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestNewestOfCacheAndApt(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for name, c := range map[string]struct {
		known   string
		age     time.Duration
		offline bool
		want    string
		young   bool // afterwards
	}{
		"young":             {names, week - time.Hour, false, n9, false},
		"old, and a newer":  {names, week + time.Hour, false, "linux-image-6.1.0-40-amd64", false},
		"old, the newest":   {n9 + "\n", week + time.Hour, false, n9, true},
		"old, and no apt":   {"", week + time.Hour, false, n9, false},
		"old, and not asks": {names, week + time.Hour, true, n9, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApt(t)
			if c.known != "" {
				a.has("names", c.known)
			}
			cache := a.cache()
			cache.Offline = c.offline
			keep(t, cache, n9, c.age)
			got, err := cache.Newest(t.Context(), prefix, suffix)
			if err != nil || got != c.want {
				t.Errorf("%q, %v: want %s", got, err, c.want)
			}
			if _, age := cache.newestCached(prefix, suffix); (age < time.Hour) != c.young {
				t.Errorf("the cached one is now %v old; looked for a week from now on: want %v", age, c.young)
			}
			if told := slices.ContainsFunc(a.said, func(s string) bool { return strings.Contains(s, "is old") }); told != (c.known == "") {
				t.Errorf("said: %q", a.said)
			}
		})
	}
}

func TestInstall(t *testing.T) {
	a := newApt(t)
	c := a.cache()
	if err := c.Install(t.Context(), map[string]string{"sh": "dash"}); err != nil || a.calls("") > 0 {
		t.Errorf("what is there: %v, %d calls of apt-get", err, a.calls(""))
	}
	programs := map[string]string{"sh": "dash", "no-such-1": "package-b", "no-such-2": "package-a", "no-such-3": "package-b"}
	c.Offline = true
	wants(t, c.Install(t.Context(), programs), "lacking: package-a package-b;", "apt-get install")
	if a.calls("") > 0 {
		t.Errorf("offline: %d calls of apt-get", a.calls(""))
	}
	c.Offline = false
	if os.Geteuid() != 0 {
		wants(t, c.Install(t.Context(), programs), "lacking: package-a package-b;")
		return
	}
	a.has("hook", "exit 100")
	wants(t, c.Install(t.Context(), programs), "apt-get install -y -qq --no-install-recommends package-a package-b: exit status 100")
	a.has("hook", "exit 0")
	wants(t, c.Install(t.Context(), programs), "is installed, and no-such-")
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	a.has("hook", "cd "+bin+" && for i in 1 2 3; do cp /bin/true no-such-$i; done")
	if err := c.Install(t.Context(), programs); err != nil {
		t.Error(err)
	}
	if a.calls("update") != 1 {
		t.Errorf("apt-get update was run %d times", a.calls("update"))
	}
}

func TestProgram(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if got, err := Program("no-such-program"); err == nil {
		t.Errorf("found %s", got)
	}
	want := filepath.Join(bin, "no-such-program")
	if err := os.WriteFile(want, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Program("no-such-program"); got != want || err != nil {
		t.Errorf("%s, %v: want %s", got, err, want)
	}
}

func TestAptIsEndedWithTheContext(t *testing.T) {
	a := newApt(t).has("hook", "echo >\"$FAKE/started\"; exec sleep 600")
	started := filepath.Join(a.folder, "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	c := a.cache()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if _, err := os.ReadFile(started); err != nil {
			t.Error(err)
		}
		cancel()
	}()
	_, err := c.Unpacked(ctx, n9)
	wants(t, err, "download -qq "+n9)
	left(t, c)
}

// left fails the test unless just these are in the cache.
func left(t *testing.T, c *Cache, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("in the cache: %q, want %q", got, want)
	}
}
