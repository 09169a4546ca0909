package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pmemlab/ci/powercut"
	"pmemlab/ci/vm"
	"pmemlab/ci/vm/plan"
)

// powerCut boots a machine again and again, and cuts its power each time while it writes. What
// it had said to be durable is looked for after the next boot.
func powerCut(ctx context.Context, lab *vm.Lab, o options, w io.Writer) error {
	m, err := vm.MachineNamed("power-cut")
	if err != nil {
		return err
	}
	media, err := os.MkdirTemp("", "pmemlab-media-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(media) }()
	var places []string
	for _, d := range m.DIMMs {
		places = append(places, d.Name)
	}
	random := rand.New(rand.NewPCG(o.seed, 0))
	_, _ = fmt.Fprintf(w, "power-cut: %d runs from seed %d on\n", o.runs, o.seed)
	var results []powercut.Result
	var before powercut.Stream
	// One boot more than runs: the last looks for what the last run has written.
	for i := range o.runs + 1 {
		args := []string{
			"/init", "powercut", "cycle", "-seed", fmt.Sprint(o.seed + uint64(i)), "-records", "0",
			"-place", strings.Join(places, ","), "-ack", "/dev/ttyS1",
		}
		if i == 0 {
			args = append(args, "-first")
		} else {
			args = append(args, "-acked", before.Flag())
		}
		// There are two logs for each place, which are appended to in turn.
		logs := 2 * len(places)
		cutAt := logs + random.IntN(60*logs)
		var stream powercut.Stream
		var watchErr error
		r, err := lab.Run(ctx, vm.Boot{
			Machine: m, Media: media, Out: filepath.Join(o.reports, "vm", m.Name), Keep: i > 0, Limit: time.Minute,
			Steps: []plan.Step{{Name: "power-cut", Args: args, Limit: time.Minute}},
			Watch: func(data string, cut func(), done <-chan struct{}) {
				stream, watchErr = watchAcks(data, cutAt, cut, done)
			},
		})
		if err = errors.Join(err, watchErr); err != nil {
			return fmt.Errorf("power-cut: seed %d: %w", o.seed+uint64(i), err)
		}
		if !r.Cut {
			return fmt.Errorf("power-cut: seed %d: the machine ended with status %d before its power was cut", o.seed+uint64(i), r.Status)
		}
		if want := logs; i > 0 && len(stream.Found) != want {
			return fmt.Errorf("power-cut: seed %d: the machine looked at %d logs of %d", o.seed+uint64(i), len(stream.Found), want)
		}
		results = append(results, stream.Found...)
		before = stream
	}
	text, holds := powercut.Summarize(results)
	_, _ = fmt.Fprint(w, text)
	if !holds {
		return errors.New("power-cut: it doesn't hold")
	}
	return nil
}

// watchAcks cuts the power once so many records are acknowledged, and returns what the
// machine had told until then.
func watchAcks(data string, cutAt int, cut func(), done <-chan struct{}) (powercut.Stream, error) {
	for {
		ended := false
		select {
		case <-done:
			ended = true
		case <-time.After(2 * time.Millisecond):
		}
		text, err := os.ReadFile(data)
		if err != nil {
			return powercut.Stream{}, err
		}
		stream, err := powercut.ReadStream(bytes.NewReader(text))
		if err != nil || ended {
			return stream, err
		}
		acked := 0
		for _, n := range stream.Acked {
			acked += n
		}
		if acked >= cutAt {
			cut()
			// What it still told until it stopped counts too.
			cutAt = int(^uint(0) >> 1)
		}
	}
}
