package pmemset

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// What the pages call the logs has two readers: the logger of SetLogger, and what the
// debug build of the C library writes, see libpmemset(7). For that the environment
// variable PMEMSET_DEBUG=1 at the start of the process stands here; PMEMSET_LOG_LEVEL
// and PMEMSET_LOG_FILE then count, and without it they don't.
var (
	logger   atomic.Pointer[slog.Logger]
	debugLog = newDebugLogger(os.Getenv)
)

// The levels of PMEMSET_LOG_LEVEL.
const (
	logErrors     = 1 // every error, with the text that it has
	logOperations = 2 // what was mapped, removed, created, grown
	logCalls      = 3 // every function called
	logDetails    = 4 // how decisions were made
)

// SetLogger has l told of every error that a function of this package returns, at
// level Error with the attributes "op", "code" (or "errno") and "cause", which is
// pmem2's error; of what was mapped, removed, created or grown at level Info; and of
// each call, with the reasons of what it does, at level Debug. nil, the default,
// switches that off. The logger serves the whole process. It may be called while a set is
// locked, so its handler mustn't call this package.
func SetLogger(l *slog.Logger) { logger.Store(l) }

// debugLogger writes lines to stderr or to a file.
type debugLogger struct {
	level int

	mu  sync.Mutex
	out io.Writer
}

func newDebugLogger(env func(string) string) *debugLogger {
	l := &debugLogger{out: os.Stderr}
	if env("PMEMSET_DEBUG") != "1" {
		return l
	}
	if n, err := strconv.Atoi(env("PMEMSET_LOG_LEVEL")); err == nil && n > 0 {
		l.level = n
	}
	name := env("PMEMSET_LOG_FILE")
	if name == "" {
		return l
	}
	if strings.HasSuffix(name, "-") {
		name += strconv.Itoa(os.Getpid())
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		l.printf(logErrors, "PMEMSET_LOG_FILE: %v; logging to stderr", err)
		return l
	}
	l.out = f
	return l
}

// printf writes a line.
func (l *debugLogger) printf(level int, format string, args ...any) {
	line := fmt.Sprintf("pmemset: <%d> %s\n", level, fmt.Sprintf(format, args...))
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.out, line) // there is nobody to tell
}

// listens reports whether anyone wants what is logged at level.
func listens(level int) bool {
	if debugLog.level >= level {
		return true
	}
	l := logger.Load()
	return l != nil && l.Enabled(context.Background(), severities[level])
}

// severities are those of the levels.
var severities = [...]slog.Level{
	logErrors: slog.LevelError, logOperations: slog.LevelInfo, logCalls: slog.LevelDebug, logDetails: slog.LevelDebug,
}

// called logs that a function was called with what it can work on.
func called(op string) {
	if listens(logCalls) {
		tell(logCalls, "%s", op)
	}
}

// operation logs what was done. The arguments are put together by the caller: where
// even that is too much, ask listens first.
func operation(format string, args ...any) {
	if listens(logOperations) {
		tell(logOperations, format, args...)
	}
}

// detail logs how a decision was made, as operation does.
func detail(format string, args ...any) {
	if listens(logDetails) {
		tell(logDetails, format, args...)
	}
}

func tell(level int, format string, args ...any) {
	if debugLog.level >= level {
		debugLog.printf(level, format, args...)
	}
	ctx := context.Background()
	if l := logger.Load(); l != nil && l.Enabled(ctx, severities[level]) {
		l.LogAttrs(ctx, severities[level], fmt.Sprintf(format, args...))
	}
}

// logged logs an error and returns it.
func logged(e *Error) *Error {
	if debugLog.level >= logErrors {
		debugLog.printf(logErrors, "%v", e)
	}
	ctx := context.Background()
	l := logger.Load()
	if l == nil || !l.Enabled(ctx, slog.LevelError) {
		return e
	}
	attrs := []slog.Attr{slog.String("op", e.Op)}
	switch {
	case e.Code != 0:
		attrs = append(attrs, slog.String("code", e.Code.Symbol()))
	case e.Errno != 0:
		attrs = append(attrs, slog.Int("errno", int(e.Errno)))
	}
	if e.cause != nil {
		attrs = append(attrs, slog.String("cause", e.cause.Error()))
	}
	l.LogAttrs(ctx, slog.LevelError, e.Error(), attrs...)
	return e
}
