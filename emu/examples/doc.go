// Package examples holds programs on persistent memory with their crash tests: four as they
// are written for production, on pmem2 alone, and twins, which look like the bugs that a
// crash test is after, and are right.
//
//   - [pmemlab/emu/examples/appendlog]: a log; a durable tail commits its records.
//   - [pmemlab/emu/examples/hashtable]: a hash table; a change is written where nobody
//     looks and switched to by one word.
//   - [pmemlab/emu/examples/doublebuffer]: a value that is replaced as a whole.
//   - [pmemlab/emu/examples/twofile]: changes of two files, all or none.
//   - [pmemlab/emu/examples/twins]: one persist for payload and flag in one line; torn
//     records with a checksum; a batch with one drain; stores that change nothing;
//     non-temporal copies; goroutines that persist side by side, and one for the other.
//
// A program asks for persistent memory through [pmem.Memory], so that
// [pmemlab/emu/examples/mutate] can stand between and break it: at each line that flushes,
// drains or copies, one thing at a time.
//
// # Track record
//
// What is found in the programs with one call broken. A call goes by its function and its
// number among the calls of persistent memory there. What recovery or check say is wrong;
// the call before which power fails then; what the machine says is missing; and what its
// checker finds without a power failure, when the program ends.
//
//	append log (appendlog)
//	  Log.Append 1: Memcpy: with NOFLUSH: refused, before Log.Append 3; missing flush for what Log.Append 1 stored; store-never-flushed
//	  Log.Append 1: Memcpy: without NODRAIN: equivalent, A
//	  Log.Append 1: Memcpy: with NONTEMPORAL: equivalent, B
//	  Log.Append 2: Drain: left out: refused, before Log.Append 3; missing fence for what Log.Append 1 stored
//	  Log.Append 2: Drain: drained by another goroutine: refused, before Log.Append 3; missing fence by the goroutine that flushed for what Log.Append 1 stored
//	  Log.Append 3: Persist: left out: lost, before Log.Append 1; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  Log.Append 3: Persist: flush only: lost, before Log.Append 1; missing fence for what was stored before Log.Append 3; flushed-never-fenced
//	  Log.Append 3: Persist: drain only: lost, before Log.Append 1; missing flush for what was stored before Log.Append 3; store-never-flushed
//	  Log.Append 3: Persist: drained by another goroutine: lost, before Log.Append 1; missing fence by the goroutine that flushed for what was stored before Log.Append 3; fenced-by-another-goroutine
//
//	hash table (hashtable)
//	  Table.Put 1: Persist: left out: refused, before Table.set 1; missing flush for what was stored before Table.set 1; store-never-flushed
//	  Table.Put 1: Persist: flush only: refused, before Table.set 1; missing fence for what was stored before Table.Put 1
//	  Table.Put 1: Persist: drain only | without the first line: refused, before Table.set 1; missing flush for what was stored before Table.Put 1; store-never-flushed
//	  Table.Put 1: Persist: drained by another goroutine: refused, before Table.set 1; missing fence by the goroutine that flushed for what was stored before Table.Put 1
//	  Table.Put 1: Persist: without the last line: torn, before Table.set 1; missing flush for what was stored before Table.Put 1; store-never-flushed
//	  Table.set 1: Persist: left out: lost, before Table.Put 1; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  Table.set 1: Persist: flush only: lost, before Table.Put 1; missing fence for what was stored before Table.set 1; flushed-never-fenced
//	  Table.set 1: Persist: drain only: lost, before Table.Put 1; missing flush for what was stored before Table.set 1; store-never-flushed
//	  Table.set 1: Persist: drained by another goroutine: lost, before Table.Put 1; missing fence by the goroutine that flushed for what was stored before Table.set 1; fenced-by-another-goroutine
//
//	double buffer (doublebuffer)
//	  Buffer.Publish 1: Memcpy: with NOFLUSH: torn, before Buffer.Publish 4; missing flush for what Buffer.Publish 1 stored; store-never-flushed
//	  Buffer.Publish 1: Memcpy: without NODRAIN: equivalent, A
//	  Buffer.Publish 1: Memcpy: TEMPORAL, not NONTEMPORAL: equivalent, B
//	  Buffer.Publish 2: Memset: with NOFLUSH: torn, before Buffer.Publish 4; missing flush for what Buffer.Publish 2 stored; overwritten-before-durable store-never-flushed
//	  Buffer.Publish 2: Memset: without NODRAIN: equivalent, A
//	  Buffer.Publish 2: Memset: with NONTEMPORAL: equivalent, B
//	  Buffer.Publish 3: Drain: left out: torn, before Buffer.Publish 4; missing fence for what Buffer.Publish 1 stored
//	  Buffer.Publish 3: Drain: drained by another goroutine: torn, before Buffer.Publish 4; missing fence by the goroutine that flushed for what Buffer.Publish 1 stored
//	  Buffer.Publish 4: Persist: left out: torn, before Buffer.Publish 2; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  Buffer.Publish 4: Persist: flush only: torn, before Buffer.Publish 2; missing fence for what was stored before Buffer.Publish 4; flushed-never-fenced
//	  Buffer.Publish 4: Persist: drain only: torn, before Buffer.Publish 2; missing flush for what was stored before Buffer.Publish 4; store-never-flushed
//	  Buffer.Publish 4: Persist: drained by another goroutine: torn, before Buffer.Publish 2; missing fence by the goroutine that flushed for what was stored before Buffer.Publish 4; fenced-by-another-goroutine
//
//	two-file commit (twofile)
//	  Store.Commit 1: Memcpy: with NOFLUSH: refused, before Store.Commit 3; missing flush for what Store.Commit 1 stored; store-never-flushed
//	  Store.Commit 1: Memcpy: without NODRAIN: equivalent, A
//	  Store.Commit 1: Memcpy: with NONTEMPORAL: equivalent, B
//	  Store.Commit 2: Drain: left out: refused, before Store.Commit 3; missing fence for what Store.Commit 1 stored
//	  Store.Commit 2: Drain: drained by another goroutine: refused, before Store.Commit 3; missing fence by the goroutine that flushed for what Store.Commit 1 stored
//	  Store.Commit 3: Persist: left out: torn, before Store.apply 1; missing flush for what was stored before Store.apply 1
//	  Store.Commit 3: Persist: flush only: torn, before Store.apply 1; missing fence for what was stored before Store.Commit 3
//	  Store.Commit 3: Persist: drain only: torn, before Store.apply 1; missing flush for what was stored before Store.Commit 3
//	  Store.Commit 3: Persist: drained by another goroutine: torn, before Store.apply 1; missing fence by the goroutine that flushed for what was stored before Store.Commit 3
//	  Store.apply 1: Memcpy: with NOFLUSH: torn, before Store.apply 3; missing flush for what Store.apply 1 stored; store-never-flushed
//	  Store.apply 1: Memcpy: without NODRAIN: equivalent, A
//	  Store.apply 1: Memcpy: with NONTEMPORAL: equivalent, C
//	  Store.apply 2: Drain: left out: torn, before Store.apply 3; missing fence for what Store.apply 1 stored
//	  Store.apply 2: Drain: drained by another goroutine: torn, before Store.apply 3; missing fence by the goroutine that flushed for what Store.apply 1 stored
//	  Store.apply 3: Persist: left out: refused, before Store.Commit 1; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  Store.apply 3: Persist: flush only: refused, before Store.Commit 1; missing fence for what was stored before Store.apply 3; flushed-never-fenced
//	  Store.apply 3: Persist: drain only: refused, before Store.Commit 1; missing flush for what was stored before Store.apply 3; store-never-flushed
//	  Store.apply 3: Persist: drained by another goroutine: refused, before Store.Commit 1; missing fence by the goroutine that flushed for what was stored before Store.apply 3; fenced-by-another-goroutine
//
//	payload and flag in one line (twins)
//	  OneLine.Append 1: Persist: left out: lost, at the end; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  OneLine.Append 1: Persist: flush only: lost, before OneLine.Append 1; missing fence for what was stored before OneLine.Append 1; flushed-never-fenced
//	  OneLine.Append 1: Persist: drain only: lost, before OneLine.Append 1; missing flush for what was stored before OneLine.Append 1; store-never-flushed
//	  OneLine.Append 1: Persist: drained by another goroutine: lost, before OneLine.Append 1; missing fence by the goroutine that flushed for what was stored before OneLine.Append 1; fenced-by-another-goroutine
//
//	torn records with a checksum (twins)
//	  Torn.Append 1: Memcpy: with NOFLUSH: lost, at the end; missing flush for what Torn.Append 1 stored; store-never-flushed
//	  Torn.Append 1: Memcpy: with NODRAIN: lost, before Torn.Append 1; missing fence for what Torn.Append 1 stored; flushed-never-fenced
//	  Torn.Append 1: Memcpy: with NONTEMPORAL: equivalent, D
//
//	batch with one drain (twins)
//	  Words.Set 1: Memcpy: with NOFLUSH: lost, before Words.Set 2; missing flush for what Words.Set 1 stored; store-never-flushed
//	  Words.Set 1: Memcpy: without NODRAIN: equivalent, A
//	  Words.Set 1: Memcpy: with NONTEMPORAL: equivalent, E
//	  Words.Set 2: Drain: left out: lost, before Words.Set 1; missing fence for what Words.Set 1 stored; flushed-never-fenced overwritten-before-durable
//	  Words.Set 2: Drain: drained by another goroutine: lost, before Words.Set 1; missing fence by the goroutine that flushed for what Words.Set 1 stored; fenced-by-another-goroutine overwritten-before-durable
//
//	silent stores (twins)
//	  Words.Save 1: Persist: left out: lost, at the end; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  Words.Save 1: Persist: flush only: lost, before Words.Save 1; missing flush for what was stored before Words.Save 1; flushed-never-fenced
//	  Words.Save 1: Persist: drain only | without the first line | without the last line: lost, before Words.Save 1; missing flush for what was stored before Words.Save 1; store-never-flushed
//	  Words.Save 1: Persist: drained by another goroutine: lost, before Words.Save 1; missing flush for what was stored before Words.Save 1; fenced-by-another-goroutine
//
//	non-temporal copies (twins)
//	  Blocks.Add 1: Memcpy: with NOFLUSH: torn, before Blocks.Add 2; missing flush for what Blocks.Add 1 stored; store-never-flushed
//	  Blocks.Add 1: Memcpy: with NODRAIN: torn, before Blocks.Add 2; missing fence for what Blocks.Add 1 stored
//	  Blocks.Add 1: Memcpy: TEMPORAL, not NONTEMPORAL: equivalent, B
//	  Blocks.Add 2: Persist: left out: lost, before Blocks.Add 1; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  Blocks.Add 2: Persist: flush only: lost, before Blocks.Add 1; missing fence for what was stored before Blocks.Add 2; flushed-never-fenced
//	  Blocks.Add 2: Persist: drain only: lost, before Blocks.Add 1; missing flush for what was stored before Blocks.Add 2; store-never-flushed
//	  Blocks.Add 2: Persist: drained by another goroutine: lost, before Blocks.Add 1; missing fence by the goroutine that flushed for what was stored before Blocks.Add 2; fenced-by-another-goroutine
//
//	two goroutines, each its own (twins)
//	  journal.appendSteps 1: Flush: left out: torn, before journal.appendSteps 3; missing flush for what was stored before journal.appendSteps 2; store-never-flushed
//	  journal.appendSteps 2: Drain: left out: torn, before journal.appendSteps 3; missing fence for what was stored before journal.appendSteps 1
//	  journal.appendSteps 2: Drain: drained by another goroutine: torn, before journal.appendSteps 3; missing fence by the goroutine that flushed for what was stored before journal.appendSteps 1
//	  journal.appendSteps 3: Persist: left out: lost, before journal.appendSteps 2; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  journal.appendSteps 3: Persist: flush only: lost, before journal.appendSteps 2; missing fence for what was stored before journal.appendSteps 3; flushed-never-fenced
//	  journal.appendSteps 3: Persist: drain only: lost, before journal.appendSteps 2; missing flush for what was stored before journal.appendSteps 3; store-never-flushed
//	  journal.appendSteps 3: Persist: drained by another goroutine: lost, before journal.appendSteps 2; missing fence by the goroutine that flushed for what was stored before journal.appendSteps 3; fenced-by-another-goroutine
//
//	two goroutines, handed over (twins)
//	  journal.handOver 1: Persist: left out: torn, before journal.handOver 2; missing flush for what was stored before journal.handOver 2; store-never-flushed
//	  journal.handOver 1: Persist: flush only: torn, before journal.handOver 2; missing fence for what was stored before journal.handOver 1
//	  journal.handOver 1: Persist: drain only: torn, before journal.handOver 2; missing flush for what was stored before journal.handOver 1; store-never-flushed
//	  journal.handOver 1: Persist: drained by another goroutine: torn, before journal.handOver 2; missing fence by the goroutine that flushed for what was stored before journal.handOver 1
//	  journal.handOver 2: Persist: left out: lost, before journal.handOver 1; missing flush for what was stored before the acknowledgement; store-never-flushed
//	  journal.handOver 2: Persist: flush only: lost, before journal.handOver 1; missing fence for what was stored before journal.handOver 2; flushed-never-fenced
//	  journal.handOver 2: Persist: drain only: lost, before journal.handOver 1; missing flush for what was stored before journal.handOver 2; store-never-flushed
//	  journal.handOver 2: Persist: drained by another goroutine: lost, before journal.handOver 1; missing fence by the goroutine that flushed for what was stored before journal.handOver 2; fenced-by-another-goroutine
//
// refused: the file isn't consistent, and recovery fails. torn: it holds what was never
// written. lost: an operation that was acknowledged isn't there. The equivalent programs
// have a proof each, since no test can tell them from the correct one:
//
//   - A: A drain more makes durable sooner what has been flushed. So power failures leave some
//     of the images that they could leave before, and no others.
//   - B: Recovery doesn't read what is copied before the word that is stored after the next
//     drain names it, and that drain waits for both kinds of stores: temporal ones are flushed
//     by the copy itself.
//   - C: The log that is applied stays committed until the drain that follows, which waits for
//     both kinds of stores; after a power failure before that, recovery writes all of it again,
//     whatever is there.
//   - D: Words may become durable in any order, with either kind of stores: what lacks some of
//     them has the wrong checksum. The drain at the end of the copy waits for both kinds.
//   - E: Each copy is one word, and words may become durable in any order. The drain that
//     follows waits for both kinds of stores.
package examples
