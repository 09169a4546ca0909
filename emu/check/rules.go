package check

// Rule is the name of a rule that a program can break.
type Rule string

const (
	// StoreNeverFlushed: bytes were changed, and no flush of their line followed that could
	// do something: on a page cache, no msync or fsync. They become durable if the CPU happens to
	// write the line back. Persist them after the store. First is the change; Related, on a page
	// cache, a flush by instruction, which is the wrong means there.
	// Proven always: the content is there, and isn't durable.
	StoreNeverFlushed Rule = "store-never-flushed"

	// FlushedNeverFenced: bytes were flushed, or stored non-temporally, and no fence
	// followed, so the flush may still be under way. Drain in the goroutine that
	// flushed. First is the change, Related the last flush; none of a non-temporal store.
	// Proven, but for non-temporal bytes that a CLFLUSH of their goroutine covered:
	// whether that is enough isn't settled.
	FlushedNeverFenced Rule = "flushed-never-fenced"

	// FencedByAnother: as FlushedNeverFenced, and another goroutine fenced
	// afterwards, which orders nothing but its own flushes. Drain before handing over. First is the
	// flush or the non-temporal store, Related the last fence of another goroutine.
	// Proven likewise.
	FencedByAnother Rule = "fenced-by-another-goroutine"

	// NotDurableAtCommit: the program took bytes for durable that weren't; if they survive, it's
	// by luck. Flush and fence before the commit. First is the change, Related the commit.
	// Proven as FlushedNeverFenced is.
	NotDurableAtCommit Rule = "not-durable-at-commit"

	// OverwrittenBeforeDurable: bytes were flushed and got another content before a
	// fence of the flushing goroutine. Either the former content had to be durable first, and a
	// fence is missing, or it had not, and its flush was for nothing (MemNoFlush leaves
	// it out). First is the change that overwrote, Related the flush or non-temporal store.
	//
	// It's judged by bytes, and only once they were flushed: a record that several stores
	// build up, a field that is rewritten before its first flush and a counter that is counted up
	// between two persists are normal. Another goroutine that is seen to overwrite is too: the fence
	// that is still to come makes durable the flushed content or a later one.
	// Proven if the goroutine that flushed stored the new content, or found it at its own next
	// flush; possible if somebody else found it, who need not have stored it. Of
	// non-temporal stores possible: to clear a block and then fill it is one drain's work.
	OverwrittenBeforeDurable Rule = "overwritten-before-durable"

	// FlushOutsideMapping: a flush of addresses at which the machine has no mapping. On a
	// real one it faults, or writes back what is no persistent memory. First is
	// the flush; Off is an address. Proven always.
	FlushOutsideMapping Rule = "flush-outside-mapping"

	// FlushLeftOutForEADR: bytes that no flush had covered were flushed without an
	// instruction, as if the caches were kept, and this machine doesn't keep them.
	// Take the granularity that the machine has, not a forced one. First is the change, Related the
	// flush. The bytes aren't reported as never flushed too. Proven always.
	FlushLeftOutForEADR Rule = "flush-left-out-for-eadr"

	// UnmappedBeforeDurable: bytes were at risk when their last mapping went, and no fence or
	// fsync made them durable later; nothing else can. Persist before the mapping is
	// deleted. First is the change, Related the unmapping. Proven as FlushedNeverFenced is.
	UnmappedBeforeDurable Rule = "unmapped-before-durable"

	// FlushOfCleanLine: a flush of lines none of which had been stored to, as far as is
	// remembered. It takes as long as a useful one. Leave it out. First is the flush.
	// Proven if all stores were seen from the start.
	FlushOfCleanLine Rule = "flush-of-clean-line"

	// FlushedTwice: a flush of lines none of which had been stored to since the same goroutine
	// flushed them, or stored to them non-temporally. Leave it out, or leave the former to it
	// (MemNoFlush). First is the flush, Related the latest former one.
	// Proven if all stores since that one were seen.
	FlushedTwice Rule = "flushed-twice"

	// FenceWithoutEffect: a fence of a goroutine that since its last fence flushed
	// nothing and stored nothing non-temporally. Leave it out; if it was meant for another
	// goroutine's flushes, it belongs into that one. First is the fence, Related the last one.
	// Proven if all stores since that one were seen: a non-temporal store may be silent.
	FenceWithoutEffect Rule = "fence-without-effect"
)

// Rules returns all rules, those by which a program loses data first.
func Rules() []Rule {
	return []Rule{
		StoreNeverFlushed, FlushedNeverFenced, FencedByAnother, NotDurableAtCommit,
		OverwrittenBeforeDurable, FlushOutsideMapping, FlushLeftOutForEADR, UnmappedBeforeDurable,
		FlushOfCleanLine, FlushedTwice, FenceWithoutEffect,
	}
}

// Loses reports whether a program that breaks the rule may lose data; the other rules are about
// waste of time.
func (r Rule) Loses() bool {
	return r != FlushOfCleanLine && r != FlushedTwice && r != FenceWithoutEffect
}
