package survey

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"pmemlab/ci/vm/plan"
)

// Main surveys the kernel that it runs on, with the places that the guest's init has made,
// and writes the report; the status is that of a program. args are
//
//	-machine NAME   the machine's name, by which the emulated one is made (needed)
//	-out FILE       the report (needed); compressed if the name ends in .gz
//	-spoil          media may be made bad by machine checks, for family badblocks
//	-family NAME    a family of questions alone; can be given several times
func Main(args []string) int {
	if err := surveyHost(args, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func surveyHost(args []string, w io.Writer) error {
	flags := flag.NewFlagSet("survey", flag.ContinueOnError)
	machine := flags.String("machine", "", "the machine's `name`")
	out := flags.String("out", "", "the report's `file`")
	spoil := flags.Bool("spoil", false, "make media bad by machine checks")
	var only []string
	flags.Func("family", "ask this `family` of questions alone", func(name string) error {
		only = append(only, name)
		return nil
	})
	switch err := flags.Parse(args); {
	case err != nil:
		return err
	case *machine == "" || *out == "" || flags.NArg() > 0:
		return fmt.Errorf("survey: -machine is %q, -out %q, and %d arguments follow; allowed are two names and no arguments",
			*machine, *out, flags.NArg())
	}
	k := Host()
	if *spoil {
		k = spoilingHost()
	}
	if k == nil {
		return errors.New("survey: there is no Linux kernel to ask")
	}
	places, err := plan.ReadPlaces()
	if err != nil {
		return err
	}
	start := time.Now()
	answers, err := run(k, places, only, func(family string, n int, took time.Duration) {
		_, _ = fmt.Fprintf(w, "%-11s %6d answers in %.1f s\n", family, n, took.Seconds())
	})
	report := Report{Header: Header{Machine: *machine, Kernel: kernelVersion(), Places: places, Only: only, Spoiled: *spoil, Seconds: time.Since(start).Seconds()}, Answers: answers}
	err = errors.Join(err, report.WriteFile(*out))
	_, printErr := fmt.Fprintf(w, "survey %s: %d answers in %.1f s\n", *machine, len(answers), report.Seconds)
	return errors.Join(err, printErr)
}

func kernelVersion() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return string(text[:max(0, len(text)-1)])
}
