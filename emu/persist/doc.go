// Package persist is the persistence model of the emulated machine: given what a program
// did to persistent memory, which images a power failure can leave. It maps no memory
// and runs nothing; it's told of stores, flushes and fences and answers with sets of images.
//
//	m := persist.New(persist.X86, nil)
//	m.Store(0, one)   // A
//	m.Flush(g, 0, 8)  // CLWB A
//	m.Store(64, one)  // B: without a fence between, B may come without A
//	for range m.Proven().All(persist.Into(image, 0)) {
//		check(image)
//	}
//
// # Rules
//
// A power failure leaves each line at its floor, what is durable of it for certain, or
// at one of the versions since, whatever the other lines are at. The images that a
// program can leave are those of all moments of it.
//
// X86, write-back memory, a platform with ADR:
//   - The stores to a line persist in the order in which they became visible, by
//     whichever goroutine: one cut (answers on Stack Overflow 65439089; Jaaru). Models with an
//     order for each location instead (Cho, Lee, Raad and Kang, PLDI 2021) allow more:
//     possible, not proven.
//   - What lies in an aligned word of 8 bytes persists whole; a longer store is such
//     words, any of which may persist without the others (Stack Overflow 65558114; Vinter).
//   - CLFLUSH raises the floor at once, to what is visible: no store passes it (Intel SDM,
//     vol. 3, memory ordering, and CLFLUSH). Asynchronous flushes, which order only, leave
//     the same images, since the failure may come before (Khyzha and Lahav, POPL 2021).
//   - CLWB and CLFLUSHOPT cover what is visible in the line when they run, and count from
//     the next SFENCE or MFENCE of their own goroutine on; another's does nothing (SDM, CLWB;
//     Cho et al.). Locked instructions order them too, but aren't told of: without
//     them there are more images, never fewer.
//   - Non-temporal stores wait in the processor until a fence of their goroutine, and get to the
//     media on their own before that or not, in no order with anything (Intel Optimization
//     manual, streaming stores; SDM, MOVNTI). The word is the unit: those of a goroutine
//     to one word persist in order. Which store of the same bytes is the last is
//     decided by what was visible. Whether a CLFLUSH of their line by the same goroutine
//     makes them durable isn't settled: proven images have them, possible ones may not.
//
// X86EADR: what is visible is durable, of a long store amid it any words (Intel, eADR,
// 2021). Non-temporal stores wait as before: nothing says that their buffers are kept.
//
// Arm64: as X86 without CLFLUSH and non-temporal stores, and each aligned word of a
// line has an order of its own. DC CVAP counts from the next full DSB of the same
// goroutine on; DMB does nothing (Cho et al.; the tests of rmem-persistency).
//
// PageCache: a sector of 512 bytes is at any version since its last msync or fsync,
// a store in it being one version; that it was written back amid the store is possible.
//
// AMD's older manuals order CLFLUSH by MFENCE alone; X86 is Intel's.
//
// # Proven and possible
//
// [Memory.Proven] are the images that follow from what was recorded by all sources that give
// the rule; [Memory.Possible] adds those that some source allows, and those that need an
// order of stores that nobody saw ([Memory.Observe]): any word at any of its versions.
package persist
