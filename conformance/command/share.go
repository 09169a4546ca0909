package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// share runs this program in several processes, each with a shard, and makes one report
// of theirs. code is the worst of their exit codes.
func (o *Options) share(procs int) (rep report.Report, code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return rep, 0, err
	}
	dir, err := os.MkdirTemp("", "pmemlab-shards-")
	if err != nil {
		return rep, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, stop := signal.NotifyContext(context.Background(), endingSignals...)
	defer stop()

	line := NewProgress(len(o.targetNames()) * len(conformance.Cases()))
	shards := make([]shard, procs)
	var wg sync.WaitGroup
	for i := range shards {
		s := &shards[i]
		s.reports = filepath.Join(dir, fmt.Sprint(i+1))
		wg.Go(func() { s.run(ctx, line, self, conformance.Shard{Index: i + 1, Count: procs}) })
	}
	wg.Wait()
	line.End()

	var parts []report.Report
	for i, s := range shards {
		if s.code != 0 || s.err != nil {
			_, _ = os.Stdout.Write(s.output.Bytes())
		}
		part, readErr := report.ReadFile(filepath.Join(s.reports, "conformance.json"))
		if readErr != nil {
			return rep, 0, errors.Join(fmt.Errorf("process %d of %d has left no report", i+1, procs), s.err, readErr)
		}
		if code = max(code, s.code); s.code < 0 || s.err != nil {
			return rep, 0, fmt.Errorf("process %d of %d has ended before its time: %w", i+1, procs, s.err)
		}
		parts = append(parts, part)
	}
	rep, err = conformance.Merge(parts...)
	return rep, code, err
}

// shard is a process that does a part.
type shard struct {
	reports string
	output  bytes.Buffer
	code    int
	err     error // of starting it or following it
}

// run starts the process and waits for it.
func (s *shard) run(ctx context.Context, line *Progress, self string, part conformance.Shard) {
	reader, writer, err := os.Pipe()
	if err != nil {
		s.err = err
		return
	}
	// Flags come before arguments, and the last of two wins.
	args := append([]string{}, os.Args[1:]...)
	args = append(args, "-pmem.procs=1", "-pmem.divergences=", "-pmem.shard="+part.String(), "-pmem.reports="+s.reports)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin = new(bytes.Reader) // there may be no /dev/null
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	cmd.ExtraFiles = []*os.File{writer}
	cmd.Env = append(os.Environ(), progressVariable+"=1")
	err = cmd.Start()
	_ = writer.Close()
	if err == nil {
		line.follow(reader)
		err = cmd.Wait()
	}
	_ = reader.Close()
	s.code = cmd.ProcessState.ExitCode()
	if s.code < 0 || err != nil && s.code == 0 {
		s.err = fmt.Errorf("%s %s: %w", self, strings.Join(args, " "), err)
	}
}
