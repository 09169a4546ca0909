package suite

import (
	"flag"
	"os"
	"runtime/debug"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/command"
)

var (
	options command.Options
	result  command.Result
)

func TestMain(m *testing.M) {
	if c := cSubject(); c != nil {
		conformance.RunChild(c)
	} else {
		conformance.RunChild()
	}
	// Emulated machines are short-lived and big: to collect less often is much faster.
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(1 << 30)
	}
	options.Register(flag.CommandLine)
	flag.Parse()
	os.Exit(command.Main(&options, cSubject(), m.Run, &result))
}
