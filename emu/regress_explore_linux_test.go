package emu_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// onFS explores a workload and its check on a machine with a DAX file system.
func onFS(t *testing.T, workload func(*emu.Run, *emu.FileSystem) error, check func(*emu.Crashed) error) *emu.Exploration {
	t.Helper()
	x, err := emu.Explore(func(r *emu.Run) error {
		fs, err := r.FS("/mnt/pmem0")
		if err != nil {
			return err
		}
		return workload(r, fs)
	}, nil, check, emu.ExploreOptions{InProcess: true, Workers: 1, Setup: func(m *emu.Machine) error {
		m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
		return m.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// onDevice explores a workload and its check with the bytes of a device.
func onDevice(t *testing.T, opts emu.ExploreOptions, workload func(*emu.Run, []byte) error, check func(*emu.Crashed, []byte) error) *emu.Exploration {
	t.Helper()
	opts.Setup = addDevice
	x, err := emu.Explore(func(r *emu.Run) error {
		p := device(r.Machine)
		return errors.Join(workload(r, p.Bytes()), p.Delete())
	}, nil, func(c *emu.Crashed) error {
		p := device(c.Machine)
		return errors.Join(check(c, p.Bytes()), p.Delete())
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func createEmpty(fs *emu.FileSystem, name string) error {
	f, err := fs.Create(name, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func isThere(m *emu.Machine, path string) bool {
	fd, err := m.Open(path, platform.ORdonly, 0)
	return err == nil && m.Close(fd) == nil
}

func textOfFindings(x *emu.Exploration) string {
	var b strings.Builder
	for _, f := range x.Findings {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// TestExploreNamesOnly: a program whose only promise is a name, with no byte durable.
func TestExploreNamesOnly(t *testing.T) {
	x := onFS(t, func(r *emu.Run, fs *emu.FileSystem) error {
		err := createEmpty(fs, "a")
		r.Ack("a")
		return err
	}, func(c *emu.Crashed) error {
		if len(c.Acks) > 0 && !isThere(c.Machine, "/mnt/pmem0/a") {
			return errors.New("a was acknowledged and is gone")
		}
		return nil
	})
	want := "file /mnt/pmem0/a isn't there: missing fsync or msync"
	if len(x.Findings) != 1 || len(x.Findings[0].Names) != 1 || !strings.Contains(x.Findings[0].String(), want) {
		t.Errorf("%d points, %d images: got %v, want one finding that says %q", x.Points, x.Images, x.Findings, want)
	}
}

// TestExploreNames: a finding tells each thing that is as before.
func TestExploreNames(t *testing.T) {
	x := onFS(t, func(r *emu.Run, fs *emu.FileSystem) error {
		f, err := fs.Create("f", 0)
		if err != nil {
			return err
		}
		defer f.Close()
		err = errors.Join(createEmpty(fs, "old"), r.Fsync(f.FD()), fs.Remove("old"), createEmpty(fs, "new"), r.Ftruncate(f.FD(), 4096))
		r.Ack("all")
		return err
	}, func(c *emu.Crashed) error {
		if len(c.Acks) > 0 && isThere(c.Machine, "/mnt/pmem0/old") {
			return errors.New("old")
		}
		return nil
	})
	got := textOfFindings(x)
	for _, want := range []string{"file /mnt/pmem0/f has 0 bytes, not 4096", "file /mnt/pmem0/new isn't there", "file /mnt/pmem0/old is there still"} {
		if len(x.Findings) != 1 || !strings.Contains(got, want) {
			t.Errorf("got %q, want one finding with %q", got, want)
		}
	}
}

// TestExploreSameBytesOtherNames: the bytes before and after a marker file was made are the same.
func TestExploreSameBytesOtherNames(t *testing.T) {
	x := onFS(t, func(r *emu.Run, fs *emu.FileSystem) error {
		mp := mapFile(t, r.Machine, fs, 4096)
		b := mp.Bytes()
		b[0] = 1
		mp.Flush(b[:1]) // the fence is missing
		err := createEmpty(fs, "done")
		fd, _ := r.Open("/mnt/pmem0", platform.ORdonly, 0)
		return errors.Join(err, r.Fsync(fd), r.Close(fd), mp.Delete())
	}, func(c *emu.Crashed) error {
		if !isThere(c.Machine, "/mnt/pmem0/done") {
			return nil
		}
		p := make([]byte, 1)
		fd, _ := c.Open("/mnt/pmem0/f", platform.ORdonly, 0)
		_, err := c.Pread(fd, p, 0)
		if err == nil && p[0] != 1 {
			err = errors.New("done, and no payload")
		}
		return errors.Join(err, c.Close(fd))
	})
	if len(x.Findings) == 0 {
		t.Errorf("%d points, %d images: no finding", x.Points, x.Images)
	}
}

// TestExploreKnownAcrossVersions: what is wrong with the newest names hides nothing that is wrong
// with older ones.
func TestExploreKnownAcrossVersions(t *testing.T) {
	x := onFS(t, func(r *emu.Run, fs *emu.FileSystem) error {
		mp := mapFile(t, r.Machine, fs, 4096)
		mp.Bytes()[0] = 1
		err := errors.Join(mp.Persist(mp.Bytes()[:1]), mp.Delete(), createEmpty(fs, "a"))
		r.Ack("a")
		return err
	}, func(c *emu.Crashed) error {
		switch {
		case len(c.Acks) == 0:
			return nil
		case isThere(c.Machine, "/mnt/pmem0/a"):
			return errors.New("A: a is empty")
		}
		return errors.New("B: a was acknowledged and is gone")
	})
	if got := textOfFindings(x); len(x.Findings) != 2 || !strings.Contains(got, "A:") || !strings.Contains(got, "B:") {
		t.Errorf("got findings %q, want A and B", got)
	}
}

// TestExploreSameInAllVersions: what is wrong whatever the names are is one finding.
func TestExploreSameInAllVersions(t *testing.T) {
	const files = 5
	x := onFS(t, func(r *emu.Run, fs *emu.FileSystem) error {
		mp := mapFile(t, r.Machine, fs, 4096)
		mp.Bytes()[0] = 1
		r.Ack("stored")
		var err error
		for i := range files {
			err = errors.Join(err, createEmpty(fs, fmt.Sprint(i)))
		}
		return errors.Join(err, mp.Delete())
	}, func(c *emu.Crashed) error {
		if len(c.Acks) == 0 {
			return nil
		}
		p := make([]byte, 1)
		fd, _ := c.Open("/mnt/pmem0/f", platform.ORdonly, 0)
		_, err := c.Pread(fd, p, 0)
		if err == nil && p[0] != 1 {
			err = errors.New("it was acknowledged and is lost")
		}
		return errors.Join(err, c.Close(fd))
	})
	if len(x.Findings) != 1 || len(x.Findings[0].Names) != 0 || len(x.Findings[0].Lost) != 1 || x.Findings[0].Count <= files {
		t.Errorf("got %v, want one finding with a line lost, counted more than %d times", x.Findings, files)
	}
}

// TestExploreKnownHidesOther: the newest state is wrong for one reason, another state of the
// same point for another.
func TestExploreKnownHidesOther(t *testing.T) {
	x := onDevice(t, emu.ExploreOptions{InProcess: true}, func(_ *emu.Run, b []byte) error {
		b[0], b[64], b[128] = 1, 1, 1
		return nil
	}, func(_ *emu.Crashed, b []byte) error {
		switch {
		case b[0] == 1 && b[64] == 1:
			return errors.New("A")
		case b[0] == 1:
			return errors.New("B")
		}
		return nil
	})
	got, count := textOfFindings(x), 0
	for _, f := range x.Findings {
		count += f.Count
	}
	if len(x.Findings) != 2 || !strings.Contains(got, ": A") || !strings.Contains(got, ": B") || count != 4 {
		t.Errorf("got findings %q of %d images, want A and B of 4", got, count)
	}
}

// TestExploreLeftOpenInProcess: a recovery that leaves its mapping behind is a finding.
func TestExploreLeftOpenInProcess(t *testing.T) {
	x := onDevice(t, emu.ExploreOptions{InProcess: true}, func(_ *emu.Run, b []byte) error {
		b[0] = 1
		return nil
	}, func(c *emu.Crashed, _ []byte) error {
		device(c.Machine) // not deleted
		return nil
	})
	if len(x.Findings) != 1 || !strings.Contains(x.Findings[0].Err.Error(), "left behind: 0 descriptors, 1 mappings") {
		t.Errorf("got %v, want a mapping that was left behind", x.Findings)
	}
}

// TestExploreBetweenCopies: under eADR power fails between two copies of the machine, too.
func TestExploreBetweenCopies(t *testing.T) {
	for _, eadr := range []bool{true, false} {
		copies := 0
		x := onDevice(t, emu.ExploreOptions{InProcess: true, Workers: 1, Machine: emu.Config{EADR: eadr}}, func(r *emu.Run, b []byte) error {
			ops := r.CacheOps(platform.GranularityByte)
			one := []uint64{1, 7}
			ops.Copy(unsafe.Pointer(&b[0]), unsafe.Pointer(&one[0]), 8) // the flag, too early
			ops.Copy(unsafe.Pointer(&b[64]), unsafe.Pointer(&one[1]), 8)
			return nil
		}, func(c *emu.Crashed, b []byte) error {
			if c.Point.What == "copy" {
				copies++
			}
			if b[0] == 1 && b[64] != 7 {
				return errors.New("flag without payload")
			}
			return nil
		})
		if len(x.Findings) != 1 || (copies > 0) != eadr {
			t.Errorf("eADR %t: %d points, of which %d images before copies: got %v, want a finding", eadr, x.Points, copies, x.Findings)
			continue
		}
		if f := x.Findings[0].Point; eadr && (f.What != "copy" || !strings.Contains(f.Callers[0].String(), "regress_explore")) {
			t.Errorf("the finding is before %s at %v, want a copy here", f.What, f.Callers)
		}
	}
}

// TestExploreLateGoroutine: a goroutine of the workload is still at it when the workload has
// returned, and changes nothing of the result. The race detector looks on.
func TestExploreLateGoroutine(t *testing.T) {
	begun, stop, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	x, err := emu.Explore(func(r *emu.Run) error {
		p := device(r.Machine)
		go func() {
			defer close(done)
			for i, more := 0, 100; more > 0; i++ {
				p.Bytes()[64*(i%8)]++
				if err := p.Persist(p.Bytes()[64*(i%8):][:1]); err != nil {
					t.Error(err)
				}
				if i == 1 {
					close(begun)
				}
				select {
				case <-stop:
					more--
				default:
				}
			}
			_ = p.Delete()
		}()
		<-begun
		return nil
	}, nil, func(c *emu.Crashed) error { return nil }, emu.ExploreOptions{InProcess: true, Setup: addDevice})
	points, images := x.Points, x.Images
	close(stop)
	<-done
	if err == nil || !strings.Contains(err.Error(), "is mapped") || points < 5 {
		t.Errorf("got %d points, %v, want 5 at least, and what is mapped still", points, err)
	}
	if x.Points != points || x.Images != images {
		t.Errorf("the result went from %d points, %d images to %d, %d", points, images, x.Points, x.Images)
	}
}

// TestExploreRawWriteInRecovery: what a recovery writes by its descriptor, as os.File does, isn't
// seen by the next one.
func TestExploreRawWriteInRecovery(t *testing.T) {
	for _, off := range []int64{1000, 5000, 9000} { // durable before, never written, behind the end
		host := platform.Host()
		x := onFS(t, func(r *emu.Run, fs *emu.FileSystem) error {
			mp := mapFile(t, r.Machine, fs, 8192)
			mp.Bytes()[512] = 1
			err := mp.Persist(mp.Bytes()[512:513])
			for i := range 3 {
				mp.Bytes()[64*i] = 1
			}
			return errors.Join(err, mp.Persist(mp.Bytes()[:192]), mp.Delete())
		}, func(c *emu.Crashed) error {
			fd, err := c.Open("/mnt/pmem0/f", platform.ORdwr, 0)
			if err != nil {
				return nil // not made yet
			}
			p := make([]byte, 1)
			if n, err := host.Pread(fd, p, off); err != nil || n == 1 && p[0] != 0 {
				return errors.Join(err, c.Close(fd), errors.New("what an earlier recovery has written is there"))
			}
			_, err = host.Pwrite(fd, []byte{9}, off)
			return errors.Join(err, c.Close(fd))
		})
		if len(x.Findings) > 0 || x.Images < 8 {
			t.Errorf("at %d: got %d images, %v, want 8 at least and no findings", off, x.Images, x.Findings)
		}
	}
}

// TestExploreGoexit: a recovery that calls t.FailNow hasn't passed.
func TestExploreGoexit(t *testing.T) {
	for _, inProcess := range []bool{true, false} {
		t.Run(fmt.Sprintf("in process %t", inProcess), func(t *testing.T) {
			x := onDevice(t, emu.ExploreOptions{InProcess: inProcess, Test: t.Name(), Workers: 2}, func(_ *emu.Run, b []byte) error {
				b[0], b[64], b[128] = 1, 1, 1
				return nil
			}, func(_ *emu.Crashed, b []byte) error {
				if b[64] == 1 && b[0] == 0 {
					runtime.Goexit()
				}
				return nil
			})
			if len(x.Findings) != 1 || !strings.Contains(x.Findings[0].Err.Error(), "ended its goroutine") || x.Images != 8 {
				t.Errorf("got %d images, %v, want 8 and that goroutines were ended", x.Images, x.Findings)
			}
		})
	}
}

var workerFlag = flag.String("explored", "", "what the workers of TestExploreFlags are to see")

// TestExploreFlags: a worker gets the flags that decide what a test does before Explore, as
// that go test -cpu 1,2 runs it twice.
func TestExploreFlags(t *testing.T) {
	if *workerFlag == "" {
		profile := t.TempDir() + "/profile"
		cmd := exec.Command(os.Args[0], "-test.run=^TestExploreFlags$", "-test.cpu=1,2", "-test.count", "2", "-test.failfast",
			"--explored", "two words", "-test.memprofile="+profile, "rest")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%.2000s", err, out)
		}
		if st, err := os.Stat(profile); err != nil || st.Size() == 0 {
			t.Errorf("the profile: got %v, %v", st, err)
		}
		return
	}
	x := onDevice(t, emu.ExploreOptions{Test: t.Name(), Workers: 1}, func(_ *emu.Run, b []byte) error {
		b[0] = 1
		return nil
	}, func(_ *emu.Crashed, b []byte) error {
		return fmt.Errorf("%s, %d processors, %q, memprofile %q", *workerFlag, runtime.GOMAXPROCS(0), flag.Args(), flag.Lookup("test.memprofile").Value)
	})
	want := fmt.Sprintf(`two words, %d processors, ["rest"], memprofile ""`, runtime.GOMAXPROCS(0))
	if got := textOfFindings(x); len(x.Findings) != 1 || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
