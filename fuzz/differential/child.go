//go:build libpmem2

package main

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"pmemlab/conformance"
	"pmemlab/fuzz"
)

// childVariable is in the environment of a child process, which runs programs with C.
const childVariable = "PMEMLAB_DIFFERENTIAL_CHILD"

// task is an input that is run.
type task struct {
	Kind  int // of kinds
	Input []byte
	// NoRoom says that a long mapping has no room on this machine.
	NoRoom bool
	// Only is how many calls of the program are made before everything is deleted, if Cut.
	Only int
	Cut  bool
}

// plan makes the input into a program.
func (t task) plan(h fuzz.Host) plan {
	h.Machine.NoRoom = t.NoRoom
	p := kinds[t.Kind].plan(t.Input, h)
	if t.Cut {
		p.calls, p.want = p.calls[:t.Only], p.want[:t.Only]
		p.end()
	}
	return p
}

// runChild runs what comes over standard input and answers each over standard output, until
// there is nothing more. Its files come behind those.
func runChild(s conformance.Subject) error {
	f := &files{}
	for fd := 3; ; fd++ {
		file := os.NewFile(uintptr(fd), "")
		if _, err := file.Stat(); err != nil || len(f.fds) == 2*len(openFlags) {
			break
		}
		f.fds = append(f.fds, file)
	}
	f.size = unknownSize // until the first input
	on, h := newSubject(s, f), hostOf(f)
	in, out := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	for {
		var t task
		if err := in.Decode(&t); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		o, err := on.run(t.plan(h))
		if err != nil {
			return err
		}
		if err := out.Encode(&o); err != nil {
			return err
		}
	}
}

// child is a child process.
type child struct {
	cmd     *exec.Cmd
	in, out *os.File
	encoder *gob.Encoder
	decoder *gob.Decoder
	said    bytes.Buffer
}

// answerTime is how long a child may take for an input: then it is said to hang.
const answerTime = 10 * time.Second

func newChild(f *files, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), theirIn.Close())
	}
	c := &child{cmd: exec.Command(self, args...), in: in, out: out, encoder: gob.NewEncoder(in), decoder: gob.NewDecoder(out)}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PMEM2_") && !strings.HasPrefix(e, "PMEM_") {
			c.cmd.Env = append(c.cmd.Env, e)
		}
	}
	c.cmd.Env = append(c.cmd.Env, childVariable+"=1", "GOTRACEBACK=none")
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr, c.cmd.ExtraFiles = theirIn, theirOut, &c.said, f.fds
	err = c.cmd.Start()
	if left := errors.Join(theirIn.Close(), theirOut.Close()); err == nil {
		err = left
	}
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return c, nil
}

// run has tasks run, up to one that the child isn't of use after. It returns the outcomes of
// those that were, and how the child has died of the next if it has.
func (c *child) run(tasks []task) (done []outcome, died string) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, t := range tasks {
			if c.encoder.Encode(t) != nil {
				return // it has died: there will be no answer either
			}
		}
	}()
	for range tasks {
		var o outcome
		err := c.out.SetReadDeadline(time.Now().Add(answerTime))
		if err == nil {
			err = c.decoder.Decode(&o)
		}
		if err != nil {
			died = c.end(errors.Is(err, os.ErrDeadlineExceeded))
			break
		}
		if done = append(done, o); o.Stuck {
			break
		}
	}
	if len(done) < len(tasks) && died == "" {
		// It has more to read than it gets to.
		_ = c.cmd.Process.Kill()
	}
	<-sent
	return done, died
}

// end waits for the end of the child, and says how it was.
func (c *child) end(hangs bool) string {
	if hangs {
		_ = c.cmd.Process.Kill()
	}
	err := c.cmd.Wait()
	_, _ = c.in.Close(), c.out.Close()
	said, _, _ := strings.Cut(c.said.String(), "\n")
	switch {
	case hangs:
		return "no end after " + answerTime.String()
	case err == nil:
		return "the end of the process"
	}
	return strings.TrimSpace(fmt.Sprintf("the end of the process: %v %s", err, said))
}

// close ends a child that has nothing more to do, or must not do anything more.
func (c *child) close() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
	_ = c.out.Close()
}
