package pmem2

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// Debugging is what the debug build of the C library does, see libpmem2(7); here
// the environment variable PMEM2_DEBUG=1 at the start of the process chooses it.
// PMEM2_LOG_LEVEL and PMEM2_LOG_FILE then count, and without it they don't.
//
// Run-time assertions: a flush, copy or set of memory that belongs to no map is
// EINVAL, but for a flush at GranularityPage, which passes over it, as is Memcpy of
// ranges that overlap.
var (
	debugging = os.Getenv("PMEM2_DEBUG") == "1"
	debugLog  = newDebugLogger(os.Getenv)
)

// The levels of PMEM2_LOG_LEVEL.
const (
	logErrors     = 1 // every error, with the text that it has
	logOperations = 2 // what was mapped, unmapped, reserved, cleared
	logCalls      = 3 // every function called
	logDetails    = 4 // how decisions were made
)

// debugLogger writes lines to stderr or to a file.
type debugLogger struct {
	level int

	mu  sync.Mutex
	out io.Writer
}

func newDebugLogger(env func(string) string) *debugLogger {
	l := &debugLogger{out: os.Stderr}
	if env("PMEM2_DEBUG") != "1" {
		return l
	}
	if n, err := strconv.Atoi(env("PMEM2_LOG_LEVEL")); err == nil && n > 0 {
		l.level = n
	}
	name := env("PMEM2_LOG_FILE")
	if name == "" {
		return l
	}
	if strings.HasSuffix(name, "-") {
		name += strconv.Itoa(os.Getpid())
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		l.printf(logErrors, "PMEM2_LOG_FILE: %v; logging to stderr", err)
		return l
	}
	l.out = f
	return l
}

// printf writes a line. Callers look at the level, so that arguments cost nothing
// where there is no log.
func (l *debugLogger) printf(level int, format string, args ...any) {
	line := fmt.Sprintf("pmem2: <%d> %s\n", level, fmt.Sprintf(format, args...))
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.out, line) // there is nobody to tell
}

// called logs that a function was called with what it can work on.
func called(op string) {
	if debugLog.level >= logCalls {
		debugLog.printf(logCalls, "%s", op)
	}
}

// logged logs an error and returns it.
func logged(e *Error) *Error {
	if debugLog.level >= logErrors {
		debugLog.printf(logErrors, "%v", e)
	}
	return e
}

// assertMapped is a run-time assertion: every byte of b belongs to a map.
func (m *Map) assertMapped(op string, b []byte) error {
	if !debugging || len(b) == 0 {
		return nil
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	last := at + uintptr(len(b)-1)
	for {
		found := registered(at, last)
		switch {
		case found == nil || found.addr > at:
			return invalid(op, fmt.Sprintf("the byte at %#x belongs to no map", at))
		case found.lastByte() >= last:
			return nil
		}
		at = found.lastByte() + 1
	}
}
