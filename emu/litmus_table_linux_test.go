package emu_test

// The litmus tests of the machine. A, B, … lie in pages of their own; A and A2 in words of one line.
// Instructions, by real goroutines:
//
//	A  A=2         store 1, or 2, in the whole word
//	A/16=3  A+4/8  the machine's copy of so many bytes, each 3 (or 1); from byte 4 of the word on
//	NT A           the machine's non-temporal copy of the whole line, each byte 1; NT A/8 of 8 bytes
//	look A B=2     ordinary stores to A and B, then a look
//	FL A  FO A     CLFLUSH; CLWB or CLFLUSHOPT, or DC CVAP
//	SF             the machine's fence: SFENCE, or DSB SY
//	RMW A          a locked store
//	ld A           a load
//	A?             load A and stop if it's 0
//	r=A  A=r       load A, store what was loaded
//	DMB            a barrier that completes nothing, of which no machine is told
//	lock  unlock   of L
//	msync A        of A's page
//	check          the power fails after this only; otherwise at any moment
//
// | separates goroutines. States have a digit for each location, in the order of the second
// column.

const (
	// What the rules of the axiomatic and operational model of Cho, Lee, Raad and Kang
	// (PLDI 2021; Coq sources in view-hw, TsoPromising.v) give, enumerated, with one cut per
	// line. The programs are derived, not published. eADR: prefixes of the order in which
	// stores become visible (Intel, eADR, 2021; SDM vol. 3, memory ordering).
	enumerated = "Cho et al., PLDI 2021 (view-hw TsoPromising.v), enumerated, one cut per line"
	streaming  = "Intel Optimization manual, streaming stores; SDM vol. 3, memory ordering (derived)"
	so65439089 = "Stack Overflow 65439089, clflush at a crash"
	so65558114 = "Stack Overflow 65558114, movnti at a crash"
	rmem       = "rmem-persistency (kaist-cp), README"
	viewArm    = "Cho et al., PLDI 2021 (view-hw Axiomatic.v), derived"
	kernelDocs = "Linux: msync(2), fsync(2); sectors are what a disk writes whole"
	unseen     = "what nobody saw is possible, not proven: doc of CrashStates"
)

type litmus struct {
	name, program, order string
	// The proven states on each machine; "": not run, "same": as on the one before.
	x86, eadr, arm, page string
	possible             string // those on the first machine; "": not fixed
	// published is the outcome there on the first machine where the machine's is another: a
	// machine isn't told of locked instructions, and then has more states. early is the program
	// as the processor may run it, which a machine's run is one of: both together have those
	// published.
	published, early string
	// Words are stored by assignments, with a look after each operation, and by the machine's
	// copy. copied and plain are one way alone.
	copied, plain bool
	on            backing
	source        string
}

var litmusTests = []litmus{
	{name: "X1", program: "A; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	// The model has an order for each location: 01 is possible, not proven.
	{name: "X2", program: "A; A2", order: "A A2", x86: "00 10 11", eadr: "same", possible: "all", source: enumerated + "; " + so65439089 + "; Jaaru"},
	{name: "X3", program: "A; FL A; B", order: "A B", x86: "00 10 11", eadr: "same", possible: "00 10 11", source: enumerated + "; Intel SDM, CLFLUSH"},
	{name: "X4", program: "A; FO A; B", order: "A B", x86: "all", eadr: "00 10 11", possible: "all", source: enumerated + "; Intel SDM, CLWB"},
	{name: "X5 (and X6: MFENCE)", program: "A; FO A; SF; B", order: "A B", x86: "00 10 11", eadr: "same", possible: "00 10 11", source: enumerated},
	{name: "X7", program: "A; FO A; RMW B", order: "A B", x86: "all", published: "00 10 11", source: enumerated},
	{name: "X7, eADR", program: "A; FO A; RMW B", order: "A B", eadr: "00 10 11", source: enumerated},
	{name: "X7b", program: "A; FO A; RMW L; B", order: "A B L", x86: "all", published: "000 100 101 110 111", source: enumerated},
	{name: "X7b, eADR", program: "A; FO A; RMW L; B", order: "A B L", eadr: "000 100 101 111", source: enumerated},
	{name: "X8", program: "A; B; FO A; FL B; C", order: "A B C", x86: "000 010 011 100 110 111", eadr: "000 100 110 111", source: enumerated},
	{name: "X8b", program: "A; FO A; B; FL B; C", order: "A B C", x86: "000 010 011 100 110 111", eadr: "000 100 110 111", source: enumerated},
	{name: "X9", program: "A; FL B; C", order: "A C", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "X10", program: "FO A; A; SF; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "X11", program: "FL A; A; SF; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "X12", program: "A; SF; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "X13", program: "A; FO A; FL A; B", order: "A B", x86: "00 10 11", eadr: "same", source: enumerated},
	{name: "X14", program: "A=1; FO A; A=2; SF; B", order: "A B", x86: "00 10 11 20 21", eadr: "00 10 20 21", source: enumerated},
	{name: "X15", program: "A; A2; FO A; SF; B", order: "A A2 B", x86: "000 100 110 111", eadr: "same", source: enumerated},
	{name: "X16", program: "A; FO A2; SF; B", order: "A B", x86: "00 10 11", eadr: "same", source: enumerated},
	{name: "X17", program: "A; B; FO B; SF; C", order: "A B C", x86: "000 010 011 100 110 111", eadr: "000 100 110 111", source: enumerated},
	{name: "X18", program: "A; B; FO A; FO B; SF; C", order: "A B C", x86: "000 010 100 110 111", eadr: "000 100 110 111", source: enumerated},
	{name: "X19", program: "A; FO A; ld C; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "X20", program: "A=1; FL A; A=2; B", order: "A B", x86: "00 10 11 20 21", eadr: "00 10 20 21", source: enumerated},
	{name: "X21", program: "A; RMW A2; B", order: "A A2 B", x86: "000 001 100 101 110 111", eadr: "000 100 110 111", plain: true, source: enumerated},

	{name: "T1", program: "A; FO A; F | F?; SF; B", order: "A B F", x86: "all", eadr: "000 100 101 111", source: enumerated},
	{name: "T2", program: "A; F | F?; FO A; SF; B", order: "A B F", x86: "000 001 100 101 110 111", eadr: "000 100 101 111", source: enumerated},
	{name: "T3", program: "A | A?; FL A; B", order: "A B", x86: "00 10 11", eadr: "same", source: enumerated},
	{name: "T4", program: "A | A?; FO A; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "T5", program: "A | A?; B", order: "A B", x86: "all", eadr: "00 10 11", source: enumerated},
	{name: "T6", program: "A; FL A; F | F?; B", order: "A B F", x86: "000 100 101 110 111", eadr: "000 100 101 111", source: enumerated},
	{name: "T7", program: "A; FO A; SF; F | F?; B", order: "A B F", x86: "000 100 101 110 111", eadr: "000 100 101 111", source: enumerated},
	// A CLWB can pass an earlier store to another line. On the machine it comes after it:
	// the recorder sees the store.
	{name: "T8b", program: "A; FO B; SF; C | B; FO A; SF; D", order: "A B C D", x86: "all but 0011", published: "all",
		early: "FO B; A; SF; C | FO A; B; SF; D", source: enumerated},
	{name: "T8b, eADR", program: "A; FO B; SF; C | B; FO A; SF; D", order: "A B C D", eadr: "needs C>A D>B", source: enumerated},
	{name: "T8c", program: "A; SF; FO B; SF; C | B; SF; FO A; SF; D", order: "A B C D", x86: "all but 0011", eadr: "needs C>A D>B", source: enumerated},
	{name: "T8d", program: "A; FL B; C | B; FL A; D", order: "A B C D", x86: "all but 0011", eadr: "needs C>A D>B", source: enumerated},
	{name: "T9", program: "A=1; FO A; SF; B | A=2", order: "A B", x86: "00 10 11 20 21", eadr: "same", source: enumerated},
	{name: "T10", program: "A; FO A | SF; B", order: "A B", x86: "all", eadr: "all", source: enumerated},
	{name: "T11", program: "A | A?; FO A; RMW B", order: "A B", x86: "all", published: "00 10 11", source: enumerated},
	{name: "T11, eADR", program: "A | A?; FO A; RMW B", order: "A B", eadr: "00 10 11", source: enumerated},
	{name: "T12", program: "A; A2 | A2?; FO A; SF; B", order: "A A2 B", x86: "000 100 110 111", eadr: "same", source: enumerated},
	{name: "T13", program: "A | A?; FO A; B; SF; C", order: "A B C", x86: "000 010 100 101 110 111", eadr: "000 100 110 111", source: enumerated},

	// Under eADR no source says it; that the buffers are kept isn't said either.
	{name: "N1, two lines", program: "NT A; NT B", order: "A B", x86: "all", eadr: "all", possible: "all", source: streaming},
	{name: "N1, one line", program: "NT A", order: "A A2 A8", x86: "all", eadr: "all", possible: "all", source: streaming},
	{name: "N1, one line twice", program: "NT A=1; NT A=2", order: "A A2", x86: "00 01 02 10 11 12 20 21 22", eadr: "same", source: streaming},
	{name: "N2, then ordinary", program: "NT A; B", order: "A B", x86: "all", eadr: "all", source: streaming},
	{name: "N2, then ordinary, one line", program: "NT A; A2=2", order: "A A2", x86: "00 01 10 11 02 12", eadr: "same", source: streaming},
	{name: "N2, ordinary first", program: "B; NT A", order: "A B", x86: "all", source: streaming},
	// The store becomes visible before the copy on the machine, and is durable then.
	{name: "N2, ordinary first, eADR", program: "B; NT A", order: "A B", eadr: "00 01 11", published: "all", early: "NT A; B", source: streaming},
	{name: "N3", program: "NT A; SF; B", order: "A B", x86: "00 10 11", eadr: "same", possible: "00 10 11", source: "Intel SDM, MOVNTI and SFENCE; PMDK"},
	{name: "N4: a fence elsewhere", program: "NT A; F | F?; SF; B", order: "A B F", x86: "all", eadr: "000 001 100 101 011 111", source: streaming},
	{name: "N5: the last wins", program: "NT A=1; NT A=2; SF; B", order: "A B", x86: "00 10 20 21", eadr: "same", source: streaming},
	{name: "N6: one word, ordinary last", program: "NT A=1; A=2; SF; B", order: "A B", x86: "00 10 11 20 21", eadr: "00 10 20 21", source: streaming + "; coherence"},
	{name: "N7: one word, non-temporal last", program: "A=1; NT A=2; SF; B", order: "A B", x86: "00 10 20 21", eadr: "same", source: streaming + "; coherence"},
	{name: "N8: a line with both", program: "NT A; A2=2; SF; B", order: "A A2 B", x86: "000 010 100 110 020 120 111 121",
		eadr: "000 010 100 110 020 120 121", source: streaming},
	// The SDM has no write pass a CLFLUSH, the Optimization manual has these stores unordered.
	{name: "N9: CLFLUSH", program: "NT A; FL A; B", order: "A B", x86: "00 10 11", eadr: "same", possible: "all", source: "Intel SDM vol. 3 against " + streaming},
	{name: "N10: CLFLUSH of another line", program: "NT A; FL B; C", order: "A C", x86: "all", eadr: "all", source: streaming},
	{name: "N11: CLFLUSH elsewhere", program: "NT A; F | F?; FL A; B", order: "A B", x86: "all", eadr: "all", source: "AMD64 APM vol. 3 (2005): a CLFLUSH empties the buffers of its own processor"},
	{name: "N12: CLWB is no fence", program: "NT A; FO A; B", order: "A B", x86: "all", eadr: "all", source: streaming},
	{name: "N13: a ragged end is stored and flushed", program: "NT A/8; B", order: "A B", x86: "all", eadr: "00 10 11", possible: "all", source: "CacheOps.CopyNT; Intel SDM, CLWB"},
	{name: "N14: so that a fence completes it", program: "NT A/8; SF; B", order: "A B", x86: "00 10 11", eadr: "same", possible: "00 10 11", source: "CacheOps.CopyNT; Intel SDM, CLWB"},
	{name: "N15: with what it flushed", program: "NT A/8; A=2; SF; B", order: "A B", x86: "00 10 20 11 21", eadr: "00 10 20 21", source: "CacheOps.CopyNT; Intel SDM, CLWB"},

	{name: "P1, one line", program: "A; A2; FL A", order: "A A2", x86: "00 10 11", eadr: "same", source: so65439089 + " (question)"},
	{name: "P1, two lines", program: "A; B; FL A", order: "A B", x86: "all", source: so65439089 + " (question)"},
	{name: "P1, write-combining", program: "NT A; FL A", order: "A A2", x86: "all", source: so65439089 + " (question)"},
	{name: "P2", program: "A; FL A; A2", order: "A A2", x86: "00 10 11", eadr: "same", source: so65439089 + " (on Intel; AMD's older manuals want MFENCE)"},
	{name: "P3, 8 bytes", program: "NT A/8=3", order: "A", x86: "0 3", eadr: "same", source: so65558114},
	{name: "P3, 4 bytes", program: "NT A+4/4=3", order: "A", x86: "0 3", eadr: "same", source: so65558114},
	{name: "P3, 64 bytes", program: "NT A", order: "A A2 A3 A4 A5 A6 A7 A8", x86: "all", eadr: "all", source: so65558114},
	{name: "P4", program: "A; FO A; SF; check", order: "A", x86: "1", eadr: "1", source: "Agamotto flush_and_fence"},
	{name: "P5", program: "A; FO A; check", order: "A", x86: "0 1", eadr: "1", source: "Agamotto flush_no_fence"},
	{name: "P6", program: "A; A2; FL A; SF; check", order: "A A2", x86: "11", eadr: "11", source: "Agamotto double_flush_no_err"},
	{name: "P7, one line", program: "A; FL A2; SF; check", order: "A", x86: "1", source: "Agamotto sym_mmap"},
	{name: "P7, two lines", program: "A; FL B; SF; check", order: "A", x86: "0 1", source: "Agamotto sym_mmap"},
	{name: "P8, no fence", program: "NT A/16; check", order: "A A2", x86: "all", source: "Agamotto nontemporal_err"},
	{name: "P8, a line, no fence", program: "NT A; check", order: "A A2", x86: "all", eadr: "all", source: "Agamotto nontemporal_err"},
	{name: "P8", program: "NT A/16; SF; check", order: "A A2", x86: "11", eadr: "11", source: "Agamotto nontemporal_noerr"},
	{name: "P8, a line", program: "NT A; SF; check", order: "A A2", x86: "11", eadr: "11", source: "Agamotto nontemporal_noerr"},
	{name: "P9", program: "A; FL A; B; FO B; FL B; C; FO C; FO C; check", order: "A B C", x86: "110 111", eadr: "111", source: "pmemcheck isa_check"},
	{name: "P10", program: "NT A/16; NT B/4; check", order: "A A2 B", x86: "all", source: "pmemcheck nt_stores"},
	{name: "P11", program: "RMW A; ld A; RMW B; ld B; check", order: "A B", x86: "all", eadr: "11", source: "pmemcheck cas"},
	{name: "P12", program: "A=1; A=5; FO A; SF; B; FO A; SF", order: "A B", x86: "00 10 50 51", eadr: "same", source: "Jaaru test2 (no outcome there)"},
	{name: "P13, one line", program: "A; FL A; A2=2; A3=5", order: "A A2 A3", x86: "000 100 120 125", eadr: "same", source: "Jaaru testraceclflush (no outcome there)"},
	{name: "P13, two lines", program: "A; FL A; A2=2; B=5", order: "A A2 B", x86: "000 100 120 105 125", eadr: "000 100 120 125", source: "Jaaru testraceclflush, TEST1 (no outcome there)"},
	{name: "P14", program: "A; FO A; A3=5; SF; A2=2; FO A; SF; A=3; A2=4; FO A; SF", order: "A A3 A2",
		x86: "000 100 150 152 352 354", eadr: "same", source: "Jaaru testraceclwb (no outcome there)"},

	{name: "R1: a long store tears", program: "A/16", order: "A A2", x86: "all", arm: "all", page: "00 11", possible: "all", source: so65558114 + "; Vinter"},
	{name: "R1, eADR: amid it only", program: "A/16", order: "A A2", eadr: "00 11", possible: "all", source: "Intel, eADR, 2021"},
	{name: "R2: so does one across words", program: "A+4/8", order: "A A2", x86: "all", eadr: "00 11", arm: "all", source: so65558114},
	{name: "R3: but in its place in the line", program: "A2; A3/16; A", order: "A A2 A3 A4", x86: "0000 0100 0110 0101 0111 1111", eadr: "0000 0100 0111 1111",
		copied: true, source: so65439089 + "; " + so65558114},
	{name: "R4: a clean line's flush", program: "FO A; SF; A; FO A; SF; FO A; SF; B", order: "A B", x86: "00 10 11", eadr: "same", source: "Intel SDM, CLWB"},
	{name: "R5: another's fence between", program: "A; FO A; F; SF; B | F?; SF; C", order: "A B C", x86: "000 100 110 101 111 001", eadr: "000 100 101 110 111", source: enumerated},
	{name: "R6: msync on DAX", program: "A; B; msync A; C", order: "A B C", x86: "000 010 100 110 101 111", eadr: "000 100 110 111", on: onDaxFile, source: kernelDocs + "; Linux pmem driver"},
	{name: "R6, without MAP_SYNC", program: "A; B; msync A; C", order: "A B C", x86: "000 010 100 110 101 111", on: onVirtio, source: kernelDocs + "; Linux virtio-pmem driver"},
	{name: "R7: msync fences its own", program: "A; FO A; NT B; msync D; C", order: "A B C", x86: "000 100 010 110 111", eadr: "000 100 110 111", on: onDaxFile, source: kernelDocs + "; Linux pmem driver"},
	{name: "R8: eADR in the visible order", program: "A; F; B | F?; C", order: "A F B C", eadr: "0000 1000 1100 1110 1101 1111", source: "Intel, eADR, 2021; SDM vol. 3, memory ordering"},
	{name: "R9: eADR, fence after non-temporal", program: "NT A; NT B; SF; C", order: "A B C", eadr: "needs C>A C>B", source: "PMDK (fences after non-temporal stores); " + streaming},
	{name: "R10: DAX without MAP_SYNC is lines, too", program: "A; A2; FO A; SF; B", order: "A A2 B", x86: "000 100 110 111", on: onVirtio, source: "Linux virtio-pmem driver; " + enumerated},

	{name: "L1: a look, one line", program: "look A A2", order: "A A2", x86: "00 11", eadr: "same", arm: "all", page: "00 11", possible: "all", source: unseen},
	{name: "L2: a look, two lines", program: "look A B", order: "A B", x86: "all", eadr: "00 11", arm: "all", page: "all", possible: "all", source: unseen},
	{name: "L2, eADR", program: "look A B", order: "A B", eadr: "00 11", possible: "all", source: unseen},
	{name: "L3: a flush after a look", program: "look A A2; FO A; SF; B", order: "A A2 B", x86: "000 110 111", eadr: "same", possible: "000 100 010 110 111", source: unseen},
	{name: "L4: two looks", program: "look A A2; look A3", order: "A A2 A3", x86: "000 110 111", eadr: "same", source: so65439089 + ": the second came later"},
	{name: "L5: eADR between two looks", program: "look A B; look C; look D E", order: "A B C D E", eadr: "00000 11000 11100 11111",
		possible: "00000 10000 01000 11000 11100 11110 11101 11111", source: unseen},

	// d and c, or d1 and d2, are A, B and C; x, y, z, w are A, B, C, D.
	{name: "commit_weak", program: "A; B", order: "A B", arm: "all", source: rmem},
	{name: "commit_weak_opt", program: "A; FO A; B", order: "A B", arm: "all", source: rmem},
	{name: "commit1", program: "A; FO A; SF; B", order: "A B", arm: "00 10 11", possible: "00 10 11", source: rmem},
	{name: "commit2", program: "A | A?; FO A; SF; B", order: "A B", arm: "00 10 11", source: rmem},
	{name: "commit2_opt", program: "A | A?; FO A; B", order: "A B", arm: "all", source: rmem},
	{name: "commit_opt", program: "A; DMB; B | B?; DMB; FO A; FO B; SF; C", order: "A B C", arm: "000 100 010 110 111", source: rmem},
	{name: "fob", program: "A; DMB; B | r=B; DMB; FO A; SF; C=r", order: "A B C", arm: "000 100 010 110 101 111", source: rmem},
	{name: "flush_mca", program: "A; SF; FO B; SF; C | B; SF; FO A; SF; D", order: "A B C D", arm: "all but 0011", source: rmem},
	{name: "atomic_persists", program: "lock; A; B; FO A; SF; FO B; SF; unlock | lock; A?; C; FO C; SF; unlock", order: "A B C L",
		arm: "0000 0001 1000 1001 0100 0101 1100 1101 1110 1111", source: rmem},
	{name: "DMB, or DSB ST, for DSB SY", program: "A; FO A; DMB; B", order: "A B", arm: "all", source: viewArm},
	{name: "another's DSB", program: "A; FO A; F | F?; SF; B", order: "A B F", arm: "all", source: viewArm},
	{name: "another word's CVAP", program: "A; FO A2; SF; B", order: "A B", arm: "00 10 11", source: viewArm},
	{name: "words of a line", program: "A; A2; A3", order: "A A2 A3", arm: "all", source: viewArm},
	{name: "words until a drain", program: "A; A2; FO A; SF; A3; A4", order: "A A2 A3 A4", arm: "0000 1000 0100 1100 1110 1101 1111", source: viewArm},
	{name: "versions of a word", program: "A=1; A2; A=2; FO A; A=3; SF; B", order: "A A2 B", arm: "000 100 200 010 110 210 300 310 211 311", source: viewArm},
	{name: "STNP is a hint", program: "NT A; A=2; FO A; SF; B", order: "A B", arm: "00 10 20 21", source: viewArm},
	{name: "CLFLUSH isn't Arm's", program: "A; FL A; B", order: "A B", arm: "all", source: viewArm},

	{name: "K1", program: "A; B", order: "A B", page: "all", source: kernelDocs},
	{name: "K2", program: "A; A2", order: "A A2", page: "00 10 11", possible: "all", source: kernelDocs},
	{name: "K3", program: "A; msync A; B", order: "A B", page: "00 10 11", possible: "00 10 11", source: kernelDocs},
	{name: "K4: flushes do nothing", program: "A; FO A; SF; FL A; SF; B", order: "A B", page: "all", source: kernelDocs},
	{name: "K5: msync by another", program: "A; F | F?; msync A; B", order: "A B", page: "00 10 11", source: kernelDocs},
	{name: "K6: after the msync", program: "A=1; msync A; A=2; msync B; B", order: "A B", page: "00 10 11 20 21", source: kernelDocs},
	{name: "K7: non-temporal stores", program: "NT A; A2=2; SF; B", order: "A A2 B", page: "000 110 120 001 111 121", source: kernelDocs},
	{name: "K8: lines of a sector", program: "A; A9; A10", order: "A A9 A10", page: "000 100 110 111", source: kernelDocs},
	{name: "K9: two sectors of a page", program: "A; A65", order: "A A65", page: "all", source: kernelDocs},
}
