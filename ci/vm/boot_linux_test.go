package vm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pmemlab/ci/vm/kernel"
	"pmemlab/ci/vm/kernel/kerneltest"
	"pmemlab/ci/vm/plan"
)

// scripted is a lab whose QEMU is a shell script: it finds the files of the serial lines in
// $console and $data, the initramfs in $initrd, and the folder of the test in $here.
func scripted(t *testing.T, script string) (*Lab, string) {
	t.Helper()
	here := t.TempDir()
	none := kerneltest.Module()
	if err := kerneltest.Write(filepath.Join(here, "kernel"), kerneltest.Image(kerneltest.Gzip(kerneltest.Vmlinux())), map[string][]byte{
		"nfit.ko": none, "nd_pmem.ko": kerneltest.Module("depends=libnvdimm"), "libnvdimm.ko": none, "dax_pmem.ko": none, "device_dax.ko": none,
	}); err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(filepath.Join(here, "kernel"), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\nhere='" + here + `'
for a; do
	case $a in file:*) [ "$console" ] && data=${a#file:} || console=${a#file:} ;; esac
	[ "$before" = -initrd ] && initrd=$a
	before=$a
done
` + script
	for name, content := range map[string]string{"qemu": text, "init": "the guest"} {
		if err := os.WriteFile(filepath.Join(here, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// What is left in the folder of temporary files is found.
	temporary := filepath.Join(here, "tmp")
	if err := os.Mkdir(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temporary)
	t.Cleanup(func() {
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("left among temporary files: %v, %v", left, err)
		}
	})
	return &Lab{qemuProgram: filepath.Join(here, "qemu"), kernel: k, guest: filepath.Join(here, "init")}, here
}

func simple(here string) Boot {
	return Boot{
		Machine: Machine{Name: "m", DIMMs: []DIMM{{Size: 2 * mib, Namespace: plan.Namespace{Name: "dax", Kind: plan.DevDax}}}},
		Media:   filepath.Join(here, "media"), Out: filepath.Join(here, "out"), Limit: time.Minute,
	}
}

// parcel is what a guest sends.
func parcel(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	archive := tar.NewWriter(zip)
	for name, content := range files {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func ended(status int, steps ...plan.StepResult) map[string]string {
	text, err := json.Marshal(plan.End{Status: status, Steps: steps})
	if err != nil {
		panic(err)
	}
	return map[string]string{plan.EndFile: string(text), "log/a.txt": "A"}
}

// exits is what QEMU exits with for a guest's status.
func exits(status int) string { return fmt.Sprintf("exit %d", 2*(plan.FirstExit+status)+1) }

const says = "echo 'Linux says so' >\"$console\"\n"

func TestHowAGuestEnds(t *testing.T) {
	good := parcel(t, ended(0, plan.StepResult{Name: "s"}))
	const send = says + "cat \"$here/parcel\" >\"$data\"\n"
	for name, c := range map[string]struct {
		parcel, script string
		status         int
		want           []string // what the error says; none if there is none
	}{
		"well":               {good, send + exits(0), 0, nil},
		"with status 7":      {parcel(t, ended(7)), send + exits(7), 7, nil},
		"with the largest":   {parcel(t, ended(plan.MaxStatus)), send + exits(plan.MaxStatus), plan.MaxStatus, nil},
		"0 is no status":     {good, send + "exit 0", plan.Died, []string{"panicked, powered off or rebooted", "125"}},
		"31 isn't either":    {good, send + "exit 31", plan.Died, []string{"QEMU failed: exit status 31"}},
		"34 isn't either":    {good, send + "exit 34", plan.Died, []string{"QEMU failed: exit status 34"}},
		"QEMU's own error":   {good, send + "echo 'no such CPU' >&2; exit 1", plan.Died, []string{"QEMU failed: exit status 1", "no such CPU"}},
		"a signal":           {good, send + "echo 'no room' >&2; kill -BUS $$", plan.Died, []string{"QEMU was ended by a signal: bus error", "room on the disk", "no room"}},
		"nothing sent":       {"", send + exits(0), plan.Died, []string{"the guest ended with status 0, and sent nothing that can be read: EOF"}},
		"nothing sent, 9":    {"", send + exits(9), 9, []string{"the guest ended with status 9, and sent nothing"}},
		"garbage":            {strings.Repeat("garbage ", 100), send + exits(0), plan.Died, []string{"status 0, and sent nothing that can be read: gzip: invalid header"}},
		"cut short":          {good[:len(good)-40], send + exits(0), plan.Died, []string{"status 0", "unexpected EOF"}},
		"without its sum":    {good[:len(good)-8], send + exits(0), plan.Died, []string{"status 0", "damaged: unexpected EOF"}},
		"another sum":        {good[:len(good)-8] + "00000000", send + exits(0), plan.Died, []string{"status 0", "damaged: gzip: invalid checksum"}},
		"more behind it":     {good + "a line of the kernel", send + exits(0), 0, nil},
		"no word of its end": {parcel(t, map[string]string{"a": "b"}), send + exits(0), plan.Died, []string{"status 0, and doesn't say how", plan.EndFile}},
		"says it's another":  {parcel(t, ended(0)), send + exits(3), plan.Died, []string{"ended with status 3, and says that it's 0"}},
		"says it's good":     {parcel(t, ended(3)), send + exits(0), plan.Died, []string{"ended with status 0, and says that it's 3"}},
		"rubbish of its end": {parcel(t, map[string]string{plan.EndFile: "{"}), send + exits(0), plan.Died, []string{plan.EndFile + ": unexpected end of JSON"}},
		"a file outside":     {parcel(t, map[string]string{"../a": ""}), send + exits(0), plan.Died, []string{`the guest sent a file "../a"`}},
		"it couldn't begin": {parcel(t, map[string]string{plan.EndFile: `{"status": 100, "error": "namespace x: no"}`}), send + exits(100), 100,
			[]string{"the guest: namespace x: no (status 100)"}},
	} {
		t.Run(name, func(t *testing.T) {
			l, here := scripted(t, c.script)
			b := simple(here)
			// An earlier boot's end isn't this one's.
			if err := errors.Join(os.Mkdir(b.Out, 0o755), os.WriteFile(filepath.Join(b.Out, plan.EndFile), []byte(`{"status": 0}`), 0o644),
				os.WriteFile(filepath.Join(here, "parcel"), []byte(c.parcel), 0o644)); err != nil {
				t.Fatal(err)
			}
			r, err := l.Run(t.Context(), b)
			if (err != nil) != (c.want != nil) || r.Status != c.status || r.Cut || r.Accelerator != "tcg" {
				t.Fatalf("%+v, %v: want status %d, an error: %v", r, err, c.status, c.want != nil)
			}
			if err == nil {
				if text, err := os.ReadFile(filepath.Join(b.Out, "log/a.txt")); string(text) != "A" || err != nil {
					t.Errorf("what it sent: %q, %v", text, err)
				}
				return
			}
			for _, want := range append(c.want, "machine m: ", "\nThe end of its console, "+filepath.Join(b.Out, "console.txt")+":\nLinux says so") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: want %q in it", err, want)
				}
			}
		})
	}
}

func TestHang(t *testing.T) {
	l, here := scripted(t, says+"exec sleep 600")
	b := simple(here)
	b.Limit = 300 * time.Millisecond
	r, err := l.Run(t.Context(), b)
	if r.Status != plan.TimedOut || err == nil || !strings.Contains(err.Error(), "it hangs: no end after 300ms (status 124)") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCancelEndsQEMU(t *testing.T) {
	l, here := scripted(t, says+`echo $$ >"$here/pid"; exec sleep 600`)
	pid := filepath.Join(here, "pid")
	if err := unix.Mkfifo(pid, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan []byte, 1)
	go func() {
		text, _ := os.ReadFile(pid)
		cancel()
		read <- text
	}()
	r, err := l.Run(ctx, simple(here))
	if !errors.Is(err, context.Canceled) || r.Status != plan.Died || r.Cut {
		t.Errorf("%+v, %v", r, err)
	}
	var n int
	if _, err := fmt.Sscan(string(<-read), &n); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(n, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d: %v: want none", n, err)
	}
}

func TestCutPower(t *testing.T) {
	l, here := scripted(t, `echo acknowledged >"$data"; exec sleep 600`)
	b := simple(here)
	b.Watch = func(data string, cut func(), done <-chan struct{}) {
		for {
			text, err := os.ReadFile(data)
			if err != nil || string(text) == "acknowledged\n" {
				break
			}
			select {
			case <-done:
				t.Error("it ended by itself")
				return
			default:
			}
		}
		cut()
		<-done
	}
	if r, err := l.Run(t.Context(), b); !r.Cut || err != nil {
		t.Errorf("%+v, %v: want it cut", r, err)
	}
	// One that has ended by itself isn't cut any more.
	l, here = scripted(t, "exit 0")
	b = simple(here)
	b.Watch = func(_ string, cut func(), done <-chan struct{}) { <-done; cut() }
	if r, err := l.Run(t.Context(), b); r.Cut || err == nil || r.Status != plan.Died {
		t.Errorf("%+v, %v: want it to have ended", r, err)
	}
}

func TestWhatTheGuestGets(t *testing.T) {
	l, here := scripted(t, `cp "$initrd" "$here/initrd"; cp "$here/parcel" "$data"; `+exits(0))
	b := simple(here)
	script := filepath.Join(here, "script")
	if err := errors.Join(os.WriteFile(filepath.Join(here, "parcel"), []byte(parcel(t, ended(0))), 0o644),
		os.WriteFile(script, []byte("#!"), 0o755)); err != nil {
		t.Fatal(err)
	}
	b.Files = map[string]string{"/bin/script": script}
	b.Tables = map[string][]byte{"kernel/firmware/acpi/nfit.aml": []byte("NFIT")}
	b.Steps = []plan.Step{{Name: "s", Args: []string{"/bin/script", "{dax}"}, Limit: time.Second}}
	if _, err := l.Run(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(here, "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for _, line := range listed(t, f) {
		_, line, _ = strings.Cut(line, " ")
		mode, rest, _ := strings.Cut(line, " ")
		name, content, _ := strings.Cut(rest, " ")
		switch name {
		case "init", "bin/script":
			if mode != "755" {
				t.Errorf("%s: mode %s", name, mode)
			}
		case "plan.json":
			var p plan.Plan
			if err := json.Unmarshal([]byte(content), &p); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.Modules, " "); got != "dax_pmem device_dax libnvdimm nd_pmem nfit" {
				t.Errorf("modules: %s", got)
			}
			if len(p.Namespaces) != 2 || p.Namespaces[0].Address != firstAddress || len(p.Steps) != 1 || p.Keep {
				t.Errorf("plan: %+v", p)
			}
		}
		names = append(names, name)
	}
	const want = "kernel kernel/firmware kernel/firmware/acpi kernel/firmware/acpi/nfit.aml bin bin/script init" +
		" modules modules/dax_pmem.ko modules/device_dax.ko modules/libnvdimm.ko modules/nd_pmem.ko modules/nfit.ko plan.json"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("initramfs: %s; want %s", got, want)
	}
}

func TestMedia(t *testing.T) {
	l, here := scripted(t, says+"exit 0")
	b := simple(here)
	image := filepath.Join(b.Media, "nv0.img")
	b.Keep = true
	if _, err := l.Run(t.Context(), b); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: want no image to keep", err)
	}
	for _, c := range []struct {
		keep bool
		want byte
	}{{false, 0}, {true, 'x'}, {false, 0}} {
		b.Keep = c.keep
		_, _ = l.Run(t.Context(), b) // it dies
		content, err := os.ReadFile(image)
		if err != nil || len(content) != 2*mib || content[0] != c.want {
			t.Fatalf("keep %v: %d bytes, %v: want 2 MiB, the first %q", c.keep, len(content), err, c.want)
		}
		content[0] = 'x'
		if err := os.WriteFile(image, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	l, here := scripted(t, "exit 0")
	for want, change := range map[string]func(b *Boot){
		"machine a b: name":     func(b *Boot) { b.Name = "a b" },
		"no such file":          func(b *Boot) { b.Files = map[string]string{"/a": filepath.Join(here, "gone")} },
		"/init: no such file":   func(b *Boot) { b.Init = filepath.Join(here, "gone/init") },
		"has no module no_such": func(b *Boot) { b.Modules = []string{"no-such"} },
		"not a directory":       func(b *Boot) { b.Out = filepath.Join(here, "init", "out") },
		"init: not a directory": func(b *Boot) { b.Media = filepath.Join(here, "init", "media") },
	} {
		b := simple(here)
		change(&b)
		if _, err := l.Run(t.Context(), b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	l.qemuProgram = filepath.Join(here, "gone")
	if _, err := l.Run(t.Context(), simple(here)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: want no QEMU", err)
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "console.txt")
	for content, want := range map[string]string{
		"":                          "(it printed nothing)",
		"one":                       "one",
		"one\r\ntwo\r\n":            "one\ntwo\n",
		strings.Repeat("x\n", 1000): strings.Repeat("x\n", 25),
		"Kernel panic\n" + strings.Repeat("x\n", 24):       "Kernel panic\n" + strings.Repeat("x\n", 24),
		"a\nKernel panic: b\n" + strings.Repeat("x\n", 25): "Kernel panic: b\n...\n" + strings.Repeat("x\n", 25),
		strings.Repeat("x", 10000):                         strings.Repeat("x", 8192),
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := tail(file); got != want {
			t.Errorf("%.20q: %q, want %q", content, got, want)
		}
	}
	if got := tail(file + "x"); !strings.Contains(got, "no such file") {
		t.Errorf("of no file: %q", got)
	}
}
