package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/check"
)

// row is a program and all that is wrong with it. The operations of the program are
// separated by semicolons and numbered from 1: goroutine, name, offset, length. A finding
// is its rule, with a question mark if it's only possible, its range, the numbers of
// its operations, and how often if that isn't once.
type row struct {
	name, program string
	want          []string
}

// fine is a program with nothing wrong.
func fine(name, program string) row { return row{name, program, nil} }

// rows are for each rule programs that break it, and others near the edge that don't.
// Before a colon stands what the machine is: exact, eadr or page.
var rows = map[check.Rule][]row{
	check.StoreNeverFlushed: {
		{"nothing follows", "1 store 0 8", []string{"store-never-flushed 0+8 1,0"}},
		{"found by a look", "1 found 8 4", []string{"store-never-flushed 8+4 1,0"}},
		{"a neighbour is flushed", "1 store 0 72; 1 persist 0 64", []string{"store-never-flushed 64+8 1,0"}},
		{"after the flush", "1 store 0 8; 1 flush 0 8; 1 store 8 8; 1 fence", []string{"store-never-flushed 8+8 3,0"}},
		{"after the flush of another", "1 store 0 8; 2 flush 0 8; 1 store 8 8; 2 fence", []string{"store-never-flushed 8+8 3,0"}},
		{"after clflush", "1 store 0 8; 1 clflush 0 8; 2 store 0 8", []string{"store-never-flushed 0+8 3,0"}},
		{"one of each, of one line", "1 store 0 8; 1 flush 0 8; 1 store 8 8",
			[]string{"flushed-never-fenced 0+8 1,2", "store-never-flushed 8+8 3,0"}},
		{"page cache: clwb is no msync", "page: 1 store 0 8; 1 persist 0 8", []string{"store-never-flushed 0+8 1,2"}},
		{"page cache: another sector", "page: 1 store 0 8; 1 sync 512 8", []string{"store-never-flushed 0+8 1,0"}},
		{"eADR is gone", "eadr: 1 store 0 8; adr; 1 store 64 8", []string{"store-never-flushed 64+8 3,0"}},
		{"stored anew after clear", "1 store 0 16; clear; 1 store 8 16", []string{"store-never-flushed 8+16 3,0"}},
		fine("persisted", "1 store 0 8; 1 persist 0 8"),
		fine("persisted by another", "1 store 0 8; 2 persist 0 8"),
		fine("found", "1 found 0 8; 1 persist 0 64"),
		fine("two stores, one persist", "1 store 0 8; 1 store 8 8; 1 persist 0 1"),
		fine("the line is what counts", "1 store 56 8; 1 persist 0 1"),
		fine("clflush", "1 store 0 8; 1 clflush 0 8"),
		fine("fsync", "1 store 0 8; 1 store 128 8; 2 sync 0 4096"),
		fine("eadr", "eadr: 1 store 0 8"),
		fine("eadr comes", "1 store 0 8; eadr"),
		fine("page cache", "page: 1 store 8 8; 1 sync 256 8"),
		fine("silent", "exact: 1 silent 0 8"),
		fine("before clear", "1 store 0 8; clear; 1 store 64 8; 1 persist 64 8"),
		fine("all of it overwritten non-temporally", "1 store 0 8; 1 nt 0 64; 1 fence"),
		fine("the last bytes there are", "1 store 18446744073709551608 8; 1 persist 18446744073709551608 8"),
	},
	check.FlushedNeverFenced: {
		{"clwb", "1 store 0 8; 1 flush 0 8", []string{"flushed-never-fenced 0+8 1,2"}},
		{"found", "1 found 0 8; 1 flush 0 8", []string{"flushed-never-fenced 0+8 1,2"}},
		{"fence first", "1 store 0 8; 1 private; 1 fence; 1 flush 0 8", []string{"flushed-never-fenced 0+8 1,4"}},
		{"non-temporal", "1 nt 0 64", []string{"flushed-never-fenced 0+64 1,0"}},
		{"non-temporal, eADR", "eadr: 1 nt 0 64", []string{"flushed-never-fenced 0+64 1,0"}},
		{"non-temporal, clflush", "1 nt 0 64; 1 clflush 0 64", []string{"flushed-never-fenced? 0+64 1,0"}},
		{"the goroutine is gone", "1 store 0 8; 1 flush 0 8; 1 exit; 1 private; 1 fence", []string{"flushed-never-fenced 0+8 1,2"}},
		{"others of its number aren't others", "1 nt 0 8; 1 exit; 1 private; 1 fence; 1 exit; 1 private; 1 fence",
			[]string{"flushed-never-fenced 0+8 1,0"}},
		{"other lines are clflushed", "1 store 0 8; 1 flush 0 8; 1 store 64 8; 1 clflush 64 8", []string{"flushed-never-fenced 0+8 1,2"}},
		{"non-temporal of another", "1 nt 0 8; 2 private; 2 fence; 1 nt 64 8", []string{
			"fenced-by-another-goroutine 0+8 1,3", "flushed-never-fenced 64+8 4,0"}},
		fine("fenced", "1 store 0 8; 1 flush 0 8; 1 fence"),
		fine("a batch", "1 store 0 8; 1 flush 0 8; 1 store 64 8; 1 flush 64 8; 1 nt 128 300; 1 fence"),
		fine("other goroutines between", "1 store 0 8; 1 flush 0 8; 2 store 64 8; 2 flush 64 8; 2 fence; 1 fence"),
		fine("clflush after clwb", "1 store 0 8; 1 flush 0 8; 2 clflush 0 8"),
		fine("another flushes and fences", "1 store 0 8; 1 flush 0 8; 2 persist 0 8"),
		fine("non-temporal with ragged ends", "1 nt 8 240; 1 flush 8 1; 1 flush 247 1; 1 fence"),
		fine("non-temporal, overwritten, persisted", "1 nt 0 8; 2 store 0 8; 2 persist 0 8"),
		fine("by msync", "1 store 0 8; 1 flush 0 8; 1 nt 64 8; 1 sync 4096 8"),
		fine("eadr", "eadr: 1 store 0 8; 1 flush 0 8"),
	},
	check.FencedByAnother: {
		{"handed over", "1 store 0 8; 1 flush 0 8; 2 private; 2 fence", []string{"fenced-by-another-goroutine 0+8 2,4"}},
		{"found", "1 found 0 8; 1 flush 0 8; 2 private; 2 fence", []string{"fenced-by-another-goroutine 0+8 2,4"}},
		{"non-temporal", "1 nt 0 8; 2 store 64 8; 2 persist 64 8", []string{"fenced-by-another-goroutine 0+8 1,3"}},
		{"the last other fence", "1 store 0 8; 1 flush 0 8; 2 private; 2 fence; 3 private; 3 fence", []string{"fenced-by-another-goroutine 0+8 2,6"}},
		{"own fence before", "1 private; 1 fence; 1 store 0 8; 1 flush 0 8; 2 sync 64 8", []string{"fenced-by-another-goroutine 0+8 4,5"}},
		{"another's fence has no other use", "1 store 0 8; 1 flush 0 8; 2 fence", []string{
			"fenced-by-another-goroutine 0+8 2,3", "fence-without-effect? 0+0 3,0"}},
		{"by a goroutine that is gone", "1 store 0 8; 1 flush 0 8; 2 private; 2 fence; 2 exit", []string{"fenced-by-another-goroutine 0+8 2,4"}},
		{"non-temporal, eADR", "eadr: 1 nt 0 8; 2 fence", []string{"fenced-by-another-goroutine 0+8 1,2"}},
		fine("own fence too", "1 store 0 8; 1 flush 0 8; 2 private; 2 fence; 1 fence"),
		fine("own fence, goroutine 0", "0 store 0 8; 0 flush 0 8; 2 private; 2 fence; 0 fence"),
		fine("the other flushes too", "1 store 0 8; 1 flush 0 8; 2 flush 0 8; 2 fence"),
		fine("the other has its own line", "1 store 0 8; 1 flush 0 8; 2 store 64 8; 2 persist 64 8; 1 fence"),
		fine("the other stores in the line", "1 store 0 8; 1 flush 0 8; 2 store 8 8; 2 persist 8 8"),
		fine("clflush", "1 store 0 8; 1 clflush 0 8; 2 private; 2 fence"),
		{"the fence came first", "2 private; 2 fence; 1 store 0 8; 1 flush 0 8", []string{"flushed-never-fenced 0+8 3,4"}},
		{"never flushed", "1 store 0 8; 2 private; 2 fence", []string{"store-never-flushed 0+8 1,0"}},
	},
	check.NotDurableAtCommit: {
		{"persisted too late", "1 store 0 8; 1 commit 0 8; 1 persist 0 8", []string{"not-durable-at-commit 0+8 1,2"}},
		{"not fenced", "1 store 0 8; 1 flush 0 8; 1 commit 0 8; 1 fence", []string{"not-durable-at-commit 0+8 1,3"}},
		{"another's fence", "1 found 0 8; 1 flush 0 8; 2 private; 2 fence; 2 commit 0 8; 1 fence", []string{"not-durable-at-commit 0+8 1,5"}},
		{"non-temporal", "1 nt 0 128; 1 commit 32 64; 1 fence", []string{"not-durable-at-commit 32+32 1,2 ×2"}},
		{"setup's", "1 store 0 8; clear; 1 commit 0 8; 1 persist 0 8", []string{"not-durable-at-commit 0+8 1,3"}},
		{"page cache", "page: 1 store 0 8; 1 commit 0 8; 1 sync 0 8", []string{"not-durable-at-commit 0+8 1,2"}},
		{"whose bytes", "1 store 0 4; 2 store 4 4; 1 commit 4 4; 1 persist 0 8", []string{"not-durable-at-commit 4+4 2,3"}},
		{"clflush of non-temporal", "1 nt 0 8; 1 clflush 0 8; 1 commit 0 8; 1 fence", []string{"not-durable-at-commit? 0+8 1,3"}},
		fine("persisted", "1 store 0 8; 1 persist 0 8; 1 commit 0 8"),
		fine("persisted by another", "1 store 0 8; 2 persist 0 8; 1 commit 0 8"),
		fine("scratch bytes in the line", "1 store 0 8; 1 persist 0 8; 1 store 8 8; 1 commit 0 8; 1 persist 8 8"),
		fine("never stored", "1 commit 0 4096"),
		fine("eadr", "eadr: 1 store 0 8; 1 commit 0 8"),
		fine("no bytes", "1 store 0 8; 1 commit 0 0; 1 persist 0 8"),
		fine("fsync", "page: 1 store 0 8; 1 sync 0 8; 1 commit 0 8"),
	},
	check.OverwrittenBeforeDurable: {
		{"no fence between", "1 store 0 8; 1 flush 0 8; 1 store 0 8; 1 persist 0 8", []string{"overwritten-before-durable 0+8 3,2"}},
		{"found at the next flush", "1 found 0 8; 1 flush 0 8; 1 found 0 8; 1 persist 0 8", []string{"overwritten-before-durable 0+8 3,2"}},
		{"found by another", "1 found 0 8; 1 flush 0 8; 2 found 0 8; 2 persist 0 8; 1 fence", []string{"overwritten-before-durable? 0+8 3,2"}},
		{"a part", "1 store 0 8; 1 flush 0 8; 1 store 6 8; 1 persist 0 8", []string{"overwritten-before-durable 6+2 3,2"}},
		{"non-temporal", "1 nt 0 64; 1 store 0 8; 1 persist 0 8", []string{"overwritten-before-durable? 0+8 2,1"}},
		{"by non-temporal", "1 store 0 8; 1 flush 0 8; 1 nt 0 8; 1 fence", []string{"overwritten-before-durable 0+8 3,2"}},
		fine("fenced", "1 store 0 8; 1 persist 0 8; 1 store 0 8; 1 persist 0 8"),
		fine("clflush", "1 store 0 8; 1 clflush 0 8; 1 store 0 8; 1 clflush 0 8"),
		fine("a record is built up", "1 store 0 8; 1 flush 0 8; 1 store 8 8; 1 flush 8 8; 1 fence"),
		fine("a scratch field", "1 store 0 8; 1 store 0 8; 1 store 0 4; 1 persist 0 8"),
		fine("a counter", "exact: 1 store 0 8; 1 persist 0 8; 1 store 0 8; 1 store 0 8; 1 persist 0 8"),
		fine("two goroutines' counter", "exact: 1 store 0 8; 1 flush 0 8; 2 store 0 8; 2 flush 0 8; 1 fence; 2 fence"),
		fine("the same content", "exact: 1 store 0 8; 1 flush 0 8; 1 silent 0 8; 1 fence"),
		fine("a goroutine's number is used again", "exact: 1 store 0 8; 1 flush 0 8; 1 exit; 1 store 0 8; 1 persist 0 8"),
		fine("another's persist made it durable", "1 store 0 8; 1 flush 0 8; 2 flush 0 8; 1 fence; 2 store 8 8; 2 flush 8 8; 1 store 16 8; 1 persist 16 8; 2 store 8 8; 2 persist 8 8"),
		fine("by another, non-temporally", "1 nt 0 8; 2 nt 0 8; 1 fence; 2 fence"),
		fine("eadr", "eadr: 1 store 0 8; 1 flush 0 8; 1 store 0 8"),
		fine("page cache", "page: 1 store 0 8; 1 flush 0 8; 1 store 0 8; 1 sync 0 8"),
	},
	check.FlushOutsideMapping: {
		{"an address", "1 outside 4096 8", []string{"flush-outside-mapping 4096+8 1,0"}},
		{"with a fence", "exact: 1 outside 4096 8; 1 fence", []string{"flush-outside-mapping 4096+8 1,0"}},
		{"eadr", "eadr: 1 outside 4096 1", []string{"flush-outside-mapping 4096+1 1,0"}},
		{"page cache", "page: 1 outside 4096 1", []string{"flush-outside-mapping 4096+1 1,0"}},
		fine("no bytes", "1 outside 4096 0; 1 fence"),
		fine("private", "exact: 1 private 0 8; 1 fence"),
		fine("inside", "1 store 4096 8; 1 persist 4096 8"),
		fine("before clear", "1 outside 4096 8; clear"),
		fine("mapping gone after", "1 store 0 8; 1 persist 0 8; 1 unmap 0 8"),
	},
	check.FlushLeftOutForEADR: {
		{"persist without an instruction", "1 store 0 8; 1 nopersist 0 8", []string{"flush-left-out-for-eadr 0+8 1,2"}},
		{"found", "1 found 0 8; 1 noflush 0 64; 1 fence", []string{"flush-left-out-for-eadr 0+8 1,2"}},
		{"made good later", "1 store 0 8; 1 nopersist 0 8; 1 persist 0 8", []string{"flush-left-out-for-eadr 0+8 1,2"}},
		{"again", "1 store 0 8; 1 nopersist 0 8; 1 nopersist 0 8; 1 store 0 8; 2 nopersist 0 8", []string{
			"flush-left-out-for-eadr 0+8 1,2", "flush-left-out-for-eadr 0+8 4,5"}},
		{"only a part", "1 store 0 16; 1 nopersist 8 8", []string{"flush-left-out-for-eadr 8+8 1,2", "store-never-flushed 0+8 1,0"}},
		{"msync, then stored anew", "1 store 0 8; 1 nopersist 0 8; 1 sync 0 8; 1 store 0 8", []string{
			"flush-left-out-for-eadr 0+8 1,2", "store-never-flushed 0+8 4,0"}},
		{"then half done", "1 store 0 8; 1 nopersist 0 8; 1 flush 0 8", []string{
			"flush-left-out-for-eadr 0+8 1,2", "flushed-never-fenced 0+8 1,3"}},
		fine("eadr", "eadr: 1 store 0 8; 1 nopersist 0 8"),
		fine("clean", "exact: 1 nopersist 0 8; 1 nopersist 0 8"),
		fine("flushed otherwise", "1 store 0 8; 1 flush 0 8; 1 nopersist 0 8"),
		fine("durable", "1 store 0 8; 1 persist 0 8; 1 nopersist 0 8"),
		fine("non-temporal needs no flush", "1 nt 0 8; 1 nopersist 0 8"),
		fine("no bytes", "1 store 0 8; 1 noflush 0 0; 1 persist 0 8"),
		fine("another part of the line", "1 store 0 8; 1 nopersist 8 8; 1 persist 0 8"),
		{"page cache", "page: 1 store 0 8; 1 nopersist 0 8", []string{"store-never-flushed 0+8 1,2"}},
	},
	check.UnmappedBeforeDurable: {
		{"never flushed", "1 store 0 8; 1 unmap 0 4096", []string{"unmapped-before-durable 0+8 1,2"}},
		{"never fenced", "1 found 0 8; 1 flush 0 8; 2 unmap 0 4096", []string{"unmapped-before-durable 0+8 1,3"}},
		{"page cache", "page: 1 store 0 8; 1 unmap 0 4096", []string{"unmapped-before-durable 0+8 1,2"}},
		{"a part", "1 store 60 8; 1 unmap 64 64", []string{"store-never-flushed 60+4 1,0", "unmapped-before-durable 64+4 1,2"}},
		{"non-temporal", "eadr: 1 nt 0 8; 1 unmap 0 64", []string{"unmapped-before-durable 0+8 1,2"}},
		fine("persisted", "1 store 0 8; 1 persist 0 8; 1 unmap 0 4096"),
		fine("fenced afterwards", "1 store 0 8; 1 flush 0 8; 1 unmap 0 4096; 1 fence"),
		fine("fsync afterwards", "page: 1 store 0 8; 1 unmap 0 4096; 1 sync 0 4096"),
		fine("flushed through another mapping", "1 store 0 8; 1 unmap 0 64; 1 persist 0 8"),
		fine("eadr", "eadr: 1 store 0 8; 1 unmap 0 4096"),
		fine("setup's", "1 store 0 8; clear; 1 unmap 0 4096"),
		{"stored anew", "1 store 0 8; 1 unmap 0 64; 1 store 0 8", []string{"store-never-flushed 0+8 3,0"}},
		fine("no bytes", "1 store 0 8; 1 unmap 0 0; 1 persist 0 8"),
	},
	check.FlushOfCleanLine: {
		{"default", "1 flush 0 8; 1 fence", []string{"flush-of-clean-line? 0+8 1,0"}},
		{"exact", "exact: 1 flush 0 8; 1 fence", []string{"flush-of-clean-line 0+8 1,0"}},
		{"a neighbour is dirty", "exact: 1 store 0 8; 1 flush 64 8; 1 persist 0 8", []string{"flush-of-clean-line 64+8 2,0"}},
		{"clflush, a page", "exact: 1 clflush 0 4096", []string{"flush-of-clean-line 0+4096 1,0"}},
		{"exact came late", "1 private; exact; 1 persist 0 8", []string{"flush-of-clean-line? 0+8 3,0"}},
		{"eADR came and went", "exact: 1 private; eadr; adr; 1 persist 0 8", []string{"flush-of-clean-line? 0+8 4,0"}},
		{"once each", "exact: 1 persist 0 8; 2 persist 0 8", []string{"flush-of-clean-line 0+8 1,0", "flush-of-clean-line 0+8 2,0"}},
		{"a machine without eADR now", "eadr: 1 store 0 8; adr; 1 persist 0 8", []string{"flush-of-clean-line? 0+8 3,0"}},
		fine("one line of the range", "exact: 1 store 128 8; 1 persist 0 4096"),
		fine("one line of a huge range", "exact: 1 store 128 8; 1 persist 0 1099511627776"),
		fine("silent", "exact: 1 silent 0 8; 1 persist 0 8"),
		fine("another goroutine persisted it", "exact: 1 store 0 8; 2 store 8 8; 1 persist 0 8; 2 persist 8 8"),
		fine("no bytes", "exact: 1 persist 0 0; 1 flush 0 0; 1 fence"),
		fine("eadr", "eadr: exact; 1 persist 0 8; 1 persist 0 8"),
		fine("no instruction", "exact: 1 nopersist 0 8"),
		fine("page cache", "page: exact; 1 persist 0 8; 1 sync 0 8"),
		fine("msync", "exact: 1 sync 0 4096; 1 sync 0 4096"),
		fine("private", "exact: 1 private 0 8"),
		fine("ragged ends", "exact: 1 nt 1 100; 1 flush 1 1; 1 flush 100 1; 1 fence"),
	},
	check.FlushedTwice: {
		{"before the fence", "exact: 1 store 0 8; 1 flush 0 8; 1 flush 0 8; 1 fence", []string{"flushed-twice 0+8 3,2"}},
		{"after it", "exact: 1 store 0 8; 1 persist 0 8; 1 persist 0 8", []string{"flushed-twice 0+8 3,2"}},
		{"default", "1 found 0 8; 1 persist 0 8; 1 persist 0 8", []string{"flushed-twice? 0+8 3,2"}},
		{"a larger range", "exact: 1 store 0 8; 1 persist 0 8; 1 persist 0 4096", []string{"flushed-twice 0+4096 3,2"}},
		{"after clflush", "exact: 1 store 0 8; 1 clflush 0 8; 1 flush 0 8; 1 fence", []string{"flushed-twice 0+8 3,2"}},
		{"after a non-temporal copy", "exact: 1 nt 0 64; 1 fence; 1 persist 0 64", []string{"flushed-twice 0+64 3,1"}},
		{"after msync", "exact: 1 store 0 8; 1 sync 0 8; 1 persist 0 8", []string{"flushed-twice 0+8 3,2"}},
		{"exact came between", "1 store 0 8; 1 persist 0 8; exact; 1 persist 0 8", []string{"flushed-twice? 0+8 4,2"}},
		{"exact came before", "1 private; exact; 1 store 0 8; 1 persist 0 8; 1 persist 0 8", []string{"flushed-twice 0+8 5,4"}},
		fine("stored between", "exact: 1 store 0 8; 1 persist 0 8; 1 store 8 8; 1 persist 0 8"),
		fine("stored between, the same", "exact: 1 store 0 8; 1 persist 0 8; 1 silent 0 8; 1 persist 0 8"),
		fine("for its own fence", "exact: 1 store 0 8; 2 store 8 8; 1 flush 0 8; 2 flush 8 8; 1 fence; 2 fence"),
		fine("by another, once", "exact: 1 store 0 8; 1 persist 0 8; 2 persist 0 8"),
		fine("the range has another dirty line", "exact: 1 store 0 8; 1 persist 0 8; 1 store 64 8; 1 persist 0 128"),
		fine("adjacent records", "exact: 1 store 0 100; 1 flush 0 100; 1 store 100 100; 1 flush 100 100; 1 fence"),
		fine("clflush makes clwb sure", "exact: 1 store 0 8; 1 flush 0 8; 1 clflush 0 8"),
		fine("eadr", "eadr: exact; 1 store 0 8; 1 persist 0 8; 1 persist 0 8"),
		fine("a goroutine's number is used again", "exact: 1 store 0 8; 1 flush 0 8; 1 exit; 1 flush 0 8; 1 fence"),
		fine("own store, non-temporal later", "exact: 1 store 0 8; 2 persist 0 8; 1 nt 8 8; 1 fence; 1 persist 0 8"),
	},
	check.FenceWithoutEffect: {
		{"first", "1 fence", []string{"fence-without-effect? 0+0 1,0"}},
		{"again", "exact: 1 store 0 8; 1 persist 0 8; 1 fence", []string{"fence-without-effect 0+0 3,2"}},
		{"of another goroutine", "exact: 1 store 0 8; 1 flush 0 8; 2 fence; 1 fence", []string{"fence-without-effect 0+0 3,0"}},
		{"after a store", "exact: 1 store 0 8; 1 fence; 1 persist 0 8", []string{"fence-without-effect 0+0 2,0"}},
		{"exact came between", "1 private; 1 fence; exact; 1 fence", []string{"fence-without-effect? 0+0 4,2"}},
		fine("a batch", "exact: 1 store 0 8; 1 flush 0 8; 1 store 64 8; 1 flush 64 8; 1 fence"),
		fine("non-temporal", "exact: 1 nt 0 8; 1 fence"),
		fine("silent, perhaps non-temporal", "exact: 1 silent 0 8; 1 fence"),
		fine("clflush", "exact: 1 store 0 8; 1 clflush 0 8; 1 fence"),
		fine("nothing flushed", "exact: 1 flush 0 0; 1 fence"),
		fine("nothing copied", "exact: 1 store 0 0; 1 fence"),
		fine("private", "exact: 1 private; 1 fence"),
		fine("msync", "exact: 1 store 0 8; 1 sync 0 8; 1 fence"),
		fine("no instruction", "exact: 1 noflush 0 8; 1 fence"),
		fine("eadr", "eadr: exact; 1 store 0 8; 1 fence; 1 fence"),
		fine("page cache", "page: exact; 1 fence; 1 fence"),
		fine("another has fenced all", "exact: 1 store 0 8; 1 flush 0 8; 2 persist 0 8; 1 fence"),
		fine("eadr, non-temporal", "eadr: exact; 1 nt 0 64; 1 fence"),
	},
}

// run runs a program and returns its checker.
func run(t *testing.T, program string) *check.Checker {
	t.Helper()
	cfg, exact := check.Config{}, false
	if machine, rest, ok := strings.Cut(program, ": "); ok {
		program = rest
		switch machine {
		case "eadr":
			cfg.EADR = true
		case "page":
			cfg.Unit = 512
		case "exact":
			exact = true
		default:
			t.Fatalf("no such machine: %q", machine)
		}
	}
	c := check.New(cfg)
	c.Exact(exact)
	for i, text := range strings.Split(program, "; ") {
		switch text {
		case "eadr", "adr":
			c.SetEADR(text == "eadr")
			continue
		case "exact":
			c.Exact(true)
			continue
		case "clear":
			c.Clear()
			continue
		}
		e := event{op: check.Op{Seq: uint64(i + 1), Stack: uint32(i + 1)}}
		if n, err := fmt.Sscan(text, &e.op.G, &e.call, &e.off, &e.n); n < 2 {
			t.Fatalf("%q: %v", text, err)
		}
		short := map[string]event{
			"store": {call: "changed"}, "found": {call: "changed", how: check.Found}, "nt": {call: "changed", how: check.NonTemporal},
			"clflush": {call: "flush", kind: check.Strong}, "noflush": {call: "flush", kind: check.None},
			"nopersist": {call: "persist", kind: check.None}, "unmap": {call: "unmapped"},
		}
		if s, ok := short[e.call]; ok {
			e.call, e.how, e.kind = s.call, s.how, s.kind
		}
		apply(c, e)
	}
	return c
}

func spell(f check.Finding) string {
	possible, times := "?", ""
	if f.Proven {
		possible = ""
	}
	if f.Count != 1 {
		times = fmt.Sprintf(" ×%d", f.Count)
	}
	return fmt.Sprintf("%s%s %d+%d %d,%d%s", f.Rule, possible, f.Off, f.Len, f.First.Seq, f.Related.Seq, times)
}

func TestRules(t *testing.T) {
	for _, rule := range check.Rules() {
		positive, negative := 0, 0
		for _, r := range rows[rule] {
			if strings.Contains(strings.Join(r.want, "\n"), string(rule)) {
				positive++
			} else {
				negative++
			}
			t.Run(string(rule)+"/"+r.name, func(t *testing.T) {
				findings := run(t, r.program).Findings()
				var got []string
				for _, f := range findings {
					got = append(got, spell(f))
					if f.Text == "" || strings.Contains(f.Text, "%!") || f.Text == string(f.Rule) {
						t.Errorf("%s: text %q", f.Rule, f.Text)
					}
				}
				if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(r.want))) {
					t.Errorf("%s:\n got %q\nwant %q", r.program, got, r.want)
				}
			})
		}
		if positive < 3 || negative < 5 {
			t.Errorf("%s: %d programs break it and %d don't, want 3 and 5", rule, positive, negative)
		}
	}
	if len(rows) != len(check.Rules()) {
		t.Errorf("rows for %d rules, want %d", len(rows), len(check.Rules()))
	}
}
