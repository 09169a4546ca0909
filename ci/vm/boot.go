package vm

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pmemlab/ci/vm/label"
	"pmemlab/ci/vm/plan"
)

// Boot says what to do on a machine.
type Boot struct {
	Machine
	Steps []plan.Step
	// Files are added to the initramfs: a file of this machine for each path of the guest.
	Files map[string]string
	// Media is the folder of the DIMMs' images, which are made if they aren't there.
	Media string
	// Out is the folder for what the guest brings out, and for console.txt; it's made.
	Out string
	// Keep boots on what an earlier boot has left on the media.
	Keep bool
	// Limit is how long it may take, all in all.
	Limit time.Duration
	// Init is run as the first process instead of the guest program.
	Init string
	// Watch is given the file of the data line, which grows as the guest sends, the function
	// that cuts the power, and what is closed when the machine has ended. Run waits for it to
	// return. nil watches nothing.
	Watch func(data string, cut func(), done <-chan struct{})
}

// kernelArguments have the kernel print to the first serial line and end, not wait, when it
// panics; the second line leaves out what takes an emulated CPU much time and no answer
// depends on: protection from other users of the CPU, and the zeroing of memory that is
// handed out inside the kernel.
const kernelArguments = "console=ttyS0 panic=-1 nokaslr quiet " +
	"mitigations=off init_on_alloc=0 tsc=reliable nowatchdog audit=0"

// check says what can't be.
func (b Boot) check() error {
	if b.Limit <= 0 {
		return fmt.Errorf("limit %v: want more than nothing", b.Limit)
	}
	seen := map[string]bool{}
	for _, s := range b.Steps {
		if s.Name == "" || strings.ContainsAny(s.Name, "/ ") || seen[s.Name] {
			return fmt.Errorf("step %q: want a name of its own, without slashes and spaces", s.Name)
		}
		seen[s.Name] = true
		if len(s.Args) == 0 || s.Limit <= 0 {
			return fmt.Errorf("step %s: program and arguments %q, limit %v: want some, and more than nothing", s.Name, s.Args, s.Limit)
		}
	}
	return b.Machine.check()
}

// Result is how a boot ended.
type Result struct {
	plan.End
	// Cut says that the power was cut: there is no status then.
	Cut bool
	// Took is how long QEMU ran.
	Took time.Duration
	// Accelerator is "tcg" or "kvm".
	Accelerator string
}

// Run boots a machine and waits for its end. A guest that has taken its steps is no error,
// whatever its status. One that dies, hangs, ends without a status, or can't make its machine,
// is: the error has the end of its console, and the status isn't 0.
func (l *Lab) Run(ctx context.Context, b Boot) (Result, error) {
	if err := b.check(); err != nil {
		return Result{}, fmt.Errorf("machine %s: %w", b.Name, err)
	}
	if err := os.MkdirAll(b.Out, 0o755); err != nil {
		return Result{}, err
	}
	work, err := os.MkdirTemp("", "pmemlab-vm-")
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	images, err := b.media()
	if err != nil {
		return Result{}, err
	}
	initrd := filepath.Join(work, "initramfs.cpio")
	if err := l.pack(b, initrd); err != nil {
		return Result{}, err
	}
	// What an earlier boot has left isn't to be taken for this one's.
	if err := os.RemoveAll(filepath.Join(b.Out, plan.EndFile)); err != nil {
		return Result{}, err
	}
	console, data := filepath.Join(b.Out, "console.txt"), filepath.Join(work, "data")
	for _, file := range []string{console, data} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return Result{}, err
		}
	}
	accelerator := l.accelerator()
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", accelerator,
		"-kernel", l.kernel.Image, "-initrd", initrd,
		"-append", kernelArguments,
		"-serial", "file:" + console, "-serial", "file:" + data,
		"-device", fmt.Sprintf("isa-debug-exit,iobase=0x%x,iosize=0x04", plan.ExitPort),
	}, b.arguments(images)...)
	result, err := l.qemu(ctx, b, args, data)
	result.Accelerator, _, _ = strings.Cut(accelerator, ",")
	if err == nil && !result.Cut {
		err = unpack(data, b.Out, &result.End)
	}
	if err != nil && result.Status == 0 {
		result.Status = plan.Died
	}
	if err != nil {
		err = fmt.Errorf("machine %s: %w\nThe end of its console, %s:\n%s", b.Name, err, console, tail(console))
	}
	return result, err
}

// qemu runs it until the machine ends.
func (l *Lab) qemu(ctx context.Context, b Boot, args []string, data string) (result Result, err error) {
	limited, cancel := context.WithTimeout(ctx, b.Limit)
	defer cancel()
	cmd := exec.CommandContext(limited, l.qemuProgram, args...)
	defer bind(cmd)()
	cmd.WaitDelay = 5 * time.Second
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return result, err
	}
	var cut atomic.Bool
	var watching sync.WaitGroup
	done := make(chan struct{})
	if b.Watch != nil {
		watching.Go(func() {
			b.Watch(data, func() {
				cut.Store(true)
				cmd.Process.Kill() //nolint:errcheck // it has ended by itself
			}, done)
		})
	}
	err = cmd.Wait()
	close(done)
	watching.Wait()
	result.Took = time.Since(start)
	if cut.Load() && cmd.ProcessState.ExitCode() == -1 {
		result.Cut = true
		return result, nil
	}
	code := cmd.ProcessState.ExitCode()
	if status := (code-1)/2 - plan.FirstExit; code > 0 && code%2 == 1 && status >= 0 {
		result.Status = status
		return result, nil
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case limited.Err() != nil:
		result.Status = plan.TimedOut
		err = fmt.Errorf("it hangs: no end after %v (status %d)", b.Limit, plan.TimedOut)
	case code == 0:
		result.Status = plan.Died
		err = fmt.Errorf("the guest panicked, powered off or rebooted: it ended without a status (status %d)", plan.Died)
	case code == -1:
		result.Status = plan.Died
		err = fmt.Errorf("QEMU was ended by a %w, which may be for want of memory or room on the disk (status %d)\n%s", err, plan.Died, errs.String())
	default:
		result.Status = plan.Died
		err = fmt.Errorf("QEMU failed: %w (status %d)\n%s", err, plan.Died, errs.String())
	}
	return result, err
}

// media makes the images of the DIMMs, sparse, where there are none.
func (b Boot) media() ([]string, error) {
	if err := os.MkdirAll(b.Media, 0o755); err != nil {
		return nil, err
	}
	var images []string
	for i, d := range b.DIMMs {
		image := filepath.Join(b.Media, fmt.Sprintf("nv%d.img", i))
		images = append(images, image)
		if b.Keep {
			if _, err := os.Stat(image); err != nil {
				return nil, err
			}
			continue
		}
		if err := makeImage(image, d); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func makeImage(file string, d DIMM) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(d.Size))
	if err == nil && d.LabelSize > 0 {
		err = label.Initialize(f, int64(d.Size), int64(d.LabelSize))
	}
	return errors.Join(err, f.Close())
}

// pack writes the initramfs.
func (l *Lab) pack(b Boot, file string) error {
	a := newInitramfs()
	for name, table := range b.Tables {
		a.add(name, table)
	}
	init := b.Init
	if init == "" {
		init = l.guest
	}
	if err := a.addFile("/init", init); err != nil {
		return err
	}
	modules, err := l.kernel.Modules(b.modules()...)
	if err != nil {
		return err
	}
	p := plan.Plan{Namespaces: b.namespaces(), Steps: b.Steps, Keep: b.Keep}
	for _, m := range modules {
		p.Modules = append(p.Modules, m.Name)
		if err := a.addFile(filepath.Join(plan.Modules, m.Name+".ko"), m.File); err != nil {
			return err
		}
	}
	makers, err := b.makers()
	if err != nil {
		return err
	}
	for name, from := range makers {
		if err := addProgram(a, name, from); err != nil {
			return err
		}
	}
	for name, from := range b.Files {
		if err := addProgram(a, name, from); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	a.add(plan.File, text)
	return a.save(file)
}

// unpack brings out what the guest has sent.
func unpack(data, dir string, end *plan.End) error {
	f, err := os.Open(data)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	status := end.Status
	zip, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("the guest ended with status %d, and sent nothing that can be read: %w", status, err)
	}
	zip.Multistream(false)
	archive := tar.NewReader(zip)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the guest ended with status %d, and what it sent is damaged or ends too early: %w", status, err)
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("the guest sent a file %q", h.Name)
		}
		file := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(file, 0o755)
		} else {
			err = saveFile(file, archive)
		}
		if err != nil {
			return fmt.Errorf("the guest ended with status %d; bring out %s: %w", status, h.Name, err)
		}
	}
	// The checksum is behind the archive.
	if _, err := io.Copy(io.Discard, zip); err != nil {
		return fmt.Errorf("the guest ended with status %d, and what it sent is damaged: %w", status, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, plan.EndFile))
	if err != nil {
		return fmt.Errorf("the guest ended with status %d, and doesn't say how: %w", status, err)
	}
	if err := json.Unmarshal(text, end); err != nil {
		return fmt.Errorf("%s: %w", plan.EndFile, err)
	}
	if said := end.Status; said != status {
		end.Status = plan.Died
		return fmt.Errorf("the guest ended with status %d, and says that it's %d", status, said)
	}
	if end.Error != "" {
		return fmt.Errorf("the guest: %s (status %d)", end.Error, status)
	}
	return nil
}

func saveFile(file string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// tail is the end of a console.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	text = text[max(0, len(text)-most):]
	lines := slices.Collect(strings.Lines(strings.ReplaceAll(string(text), "\r", "")))
	if len(lines) == 0 {
		return "(it printed nothing)"
	}
	last := lines[max(0, len(lines)-25):]
	// The reason of a panic is above its stack.
	for i, line := range slices.Backward(lines) {
		if strings.Contains(line, "Kernel panic") && i < len(lines)-len(last) {
			return line + "...\n" + strings.Join(last, "")
		}
	}
	return strings.Join(last, "")
}
