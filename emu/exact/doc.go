// Package exact records every store that a Go program makes to chosen memory, in order,
// with its content, its goroutine and its place in the source, and which lines it loads.
// The emulated machine uses it where the comparison of memory can't tell the order of
// stores.
//
// # Use
//
// A program has to be built for it, with an overlay that is made from the installed Go:
//
//	$ go run ./emu/exact/overlay -o /tmp/exact
//	CGO_ENABLED=1 GOFLAGS='-race -tags=netgo,osusergo -overlay=/tmp/exact/overlay.json' go test ./...
//
// The printed line runs the tests in exact mode. It's a build of its own: the first one
// compiles the standard library again, which takes a minute or two. No C compiler is
// needed, although the go command asks for cgo with -race; the tags leave out the parts of
// net and os/user that are C (add your own tags to them), and the binary is static. The
// overlay changes nothing outside its folder, and has to be made again for another Go.
//
// In an ordinary build [Enabled] is false and all calls but [Ticket] do nothing. In exact
// mode:
//
//	exact.Watch(addr, n)                       // a mapping, as soon as it's there
//	…                                          // the program runs
//	seq := exact.Ticket()                      // at each flush and fence
//	lost := exact.Drain(func(r exact.Record) { … })
//	exact.Unwatch(addr, n)                     // before it's unmapped
//
// # How it works
//
// With -race the compiler puts a call before each load and store, and leaves the functions
// of sync/atomic uninlined. The overlay takes away the race detector behind these calls (so
// races aren't reported) and puts a recorder there. Outside the watched memory a call costs 2
// to 3 ns; inside, a store takes some 85 ns of CPU time and 128 bytes, an atomic operation
// 110 ns, a load 20 ns, and a drain 200 ns for each record (on a busy two-core machine;
// BenchmarkHooks and BenchmarkDrain measure it). The whole program is slower by that, so
// time-outs may want to be longer. -race also makes the compiler check conversions of
// unsafe pointers; -gcflags=all=-d=checkptr=0 turns that off.
//
// # What is seen
//
//   - Stores of variables, structs and arrays; copy, append and clear of a slice whose length
//     isn't constant; stores by package reflect; the functions of sync/atomic, also
//     through its types; in all packages, those of the standard library too.
//   - Order: that of one goroutine's stores is exact. Between goroutines it's the order of
//     the calls before the stores, which is that of the stores if the program has no data
//     race. Atomics are in the order in which they took place.
//   - Content: it's read after the store, at the goroutine's next store, atomic, unlock,
//     channel operation or ticket, or at the drain. In a program without data races nobody
//     else can have overwritten it by then. Those who race get some content that was there.
//   - Size: of a variable that isn't a struct or an array it isn't known. Its data end with the
//     last byte that changed: bytes that it left as they were make no difference to any image
//     of memory. A store that changes nothing has one byte of data.
//   - The stores of one byte each that PutUint16, PutUint32 and PutUint64 of encoding/binary
//     make are joined, as the compiler does in an ordinary build, unless a drain comes
//     between. Others that it may join,
//     such as the fields of a small struct, aren't: they may be reported as torn where the
//     ordinary build's can't tear.
//   - Callers: up to four.
//
// # What isn't seen
//
//   - clear of a slice or an array of constant size that the compiler turns into
//     instructions, as in clear(b[:64]).
//   - Assembly, the runtime's own memory routines except clear, cgo, and system calls that
//     write to memory. Of read and pread by way of package syscall, os or golang.org/x/sys
//     a record is made afterwards. A routine that stores unseen should take a [Ticket]
//     first.
//   - Functions with //go:norace, and packages built with -gcflags=-race=false.
//   - Stores through another mapping of the same memory that isn't watched.
//   - A block that begins before a watched range and reaches into it.
//
// So whoever relies on the records compares the memory with them too, and reports a change
// that none of them explains. Stores of an instrumented build also differ in shape from
// those of an ordinary one: it may keep a variable in a register where this one stores it
// twice, and the other way round.
//
// # Which Go
//
// The overlay patches the runtime, so it knows each minor version by name and refuses
// others, and one whose files aren't as expected: now go1.26, for linux/amd64. For arm64
// there's none: it needs race_arm64.s patched in the same places.
package exact
