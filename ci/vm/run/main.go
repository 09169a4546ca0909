// Command vm runs virtual machines with a stock kernel and emulated NVDIMMs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"pmemlab/ci/vm"
	"pmemlab/ci/vm/plan"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// run boots one machine, for a program given in the arguments.
func run(ctx context.Context, args []string) (int, error) {
	f := flag.NewFlagSet("vm", flag.ContinueOnError)
	name := f.String("machine", "adr", "the `machine`")
	guest := f.String("guest", "bin/vm-guest", "the static `program` that is the first process")
	out := f.String("out", "reports/vm", "`folder` for what it brings out")
	limit := f.Duration("limit", 2*time.Minute, "how long it may take")
	cpus := f.Int("cpus", 1, "CPUs")
	file := f.String("file", "", "a program to take along as /bin/program; the arguments are its own")
	if err := f.Parse(args); err != nil {
		return 2, err
	}
	m, err := vm.MachineNamed(*name)
	if err != nil {
		return 2, err
	}
	m.CPUs = *cpus
	lab, err := vm.NewLab(ctx, vm.LabConfig{Guest: *guest, Say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }})
	if err != nil {
		return 1, err
	}
	media, err := os.MkdirTemp("", "pmemlab-media-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(media)
	boot := vm.Boot{Machine: m, Media: media, Out: filepath.Join(*out, m.Name), Limit: *limit}
	if *file != "" {
		boot.Files = map[string]string{"/bin/program": *file}
		boot.Steps = []plan.Step{{Name: "program", Args: append([]string{"/bin/program"}, f.Args()...), Limit: *limit}}
	} else if f.NArg() > 0 {
		boot.Steps = []plan.Step{{Name: f.Arg(0), Args: append([]string{"/init"}, f.Args()...), Limit: *limit}}
	}
	r, err := lab.Run(ctx, boot)
	fmt.Printf("%s: status %d after %.1f s; %s\n", lab, r.Status, r.Took.Seconds(), boot.Out)
	return r.Status, err
}
