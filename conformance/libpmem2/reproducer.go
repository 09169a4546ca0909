package libpmem2

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed reproducers
var reproducerFiles embed.FS

// Reproducer is a few lines of C that show a difference: a file in reproducers, which is
// the body of main behind prelude.h. It begins with a comment that holds the title and
// three fields.
type Reproducer struct {
	Name  string
	Title string
	Rows  []string // of the contract
	Why   string   // it matters
	// Prints is what libpmem2 1.12.1 makes of it: a line, or in parentheses how the
	// process ends.
	Prints string
	Body   string
}

// Reproduced is a reproducer that was run on this machine.
type Reproduced struct {
	Reproducer
	// Printed is what it made of it, as Prints; "" if it can't be run here, for lack of
	// a privilege.
	Printed string
}

// Live reports whether the difference is there, on this machine.
func (r Reproduced) Live() bool { return r.Printed == r.Prints }

// Reproducers are all there are, by name.
func Reproducers() ([]Reproducer, error) {
	names, err := reproducerFiles.ReadDir("reproducers")
	if err != nil {
		return nil, err
	}
	var all []Reproducer
	for _, n := range names {
		name, ok := strings.CutSuffix(n.Name(), ".c")
		if !ok {
			continue
		}
		text, err := reproducerFiles.ReadFile("reproducers/" + n.Name())
		if err != nil {
			return nil, err
		}
		r, err := parseReproducer(name, string(text))
		if err != nil {
			return nil, fmt.Errorf("reproducers/%s: %w", n.Name(), err)
		}
		all = append(all, r)
	}
	return all, nil
}

func parseReproducer(name, text string) (Reproducer, error) {
	head, body, ok := strings.Cut(text, "\n */\n")
	lines := strings.Split(head, "\n")
	if !ok || lines[0] != "/*" || len(lines) != 5 {
		return Reproducer{}, errors.New("it doesn't begin with a comment of four lines: title, rows, why, prints")
	}
	r := Reproducer{Name: name, Title: strings.TrimPrefix(lines[1], " * "), Body: body}
	for i, field := range []struct {
		name string
		set  func(text string)
	}{
		{"rows", func(text string) { r.Rows = strings.Split(text, ", ") }},
		{"why", func(text string) { r.Why = text }},
		{"prints", func(text string) { r.Prints = text }},
	} {
		text, ok := strings.CutPrefix(lines[2+i], " * "+field.name+": ")
		if !ok || text == "" {
			return Reproducer{}, fmt.Errorf("line %d is no field %q", 3+i, field.name)
		}
		field.set(text)
	}
	return r, nil
}

// reproducerTime is how long one may take: then it is said to hang.
const reproducerTime = 2 * time.Second

// notHere is the exit status of a reproducer that lacks a privilege.
const notHere = 77

// Reproduce compiles every reproducer with cc, which is $CC if that is set, and runs it.
// It is an error if one can't be compiled, not if one prints something else.
func Reproduce() ([]Reproduced, error) {
	all, err := Reproducers()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pmemlab-reproducers-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	prelude, err := reproducerFiles.ReadFile("reproducers/prelude.h")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "prelude.h"), prelude, 0o600)
	}
	if err != nil {
		return nil, err
	}
	var done []Reproduced
	for _, r := range all {
		printed, err := r.run(dir)
		if err != nil {
			return nil, fmt.Errorf("reproducer %s: %w", r.Name, err)
		}
		done = append(done, Reproduced{r, printed})
	}
	return done, nil
}

// Source is the whole program.
func (r Reproducer) Source() string {
	return "#include \"prelude.h\"\nint main(void) {\nsetvbuf(stdout, NULL, _IOLBF, 0);\n" + r.Body + "return 0;\n}\n"
}

// run compiles a reproducer in dir, where prelude.h is, and runs it.
func (r Reproducer) run(dir string) (printed string, err error) {
	source, program := filepath.Join(dir, r.Name+".c"), filepath.Join(dir, r.Name)
	if err := os.WriteFile(source, []byte(r.Source()), 0o600); err != nil {
		return "", err
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if out, err := exec.Command(cc, "-O1", "-Wno-unused-result", "-o", program, source, "-lpmem2").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cc, err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), reproducerTime)
	defer cancel()
	var stdout bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdout = &stdout
	cmd.WaitDelay = time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "PMEM") })
	err = cmd.Run()
	printed = strings.TrimSuffix(stdout.String(), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return printed + "(no end after " + reproducerTime.String() + ")", nil
	case errors.As(err, &exit) && exit.ExitCode() == notHere:
		return "", nil
	case errors.As(err, &exit):
		return printed + "(" + endOf(exit) + ")", nil
	}
	return printed, err
}

// endOf says how a process ended that didn't end well.
func endOf(exit *exec.ExitError) string {
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return exit.Error()
	}
	for signal, name := range map[syscall.Signal]string{
		syscall.SIGSEGV: "SIGSEGV", syscall.SIGABRT: "SIGABRT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE",
	} {
		if status.Signal() == signal {
			return "dies of " + name
		}
	}
	return "dies of " + status.Signal().String()
}
