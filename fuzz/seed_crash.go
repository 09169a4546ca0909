package fuzz

import (
	"slices"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// CrashSeedStep is a store, or what makes one durable, as a program has made it.
type CrashSeedStep struct {
	Kind           model.CrashKind
	Offset, Length uint64 // in what it has mapped
}

// CrashSeed is the input of the target Crash for the first of steps on a mapping of a
// granularity: on a line, the one beside it, or a last one.
func CrashSeed(g pmem2.Granularity, steps []CrashSeedStep) []byte {
	subject := 0
	for i, s := range crashSubjects {
		if s.name == [...]string{
			pmem2.GranularityByte: "a machine with eADR", pmem2.GranularityCacheLine: "a machine with ADR", pmem2.GranularityPage: "a machine's page cache",
		}[min(max(g, 0), pmem2.GranularityPage)] {
			subject = i
		}
	}
	input := Encode(nil, &crashInput{Subject: byte(subject)})
	for _, st := range steps[:min(len(steps), crashSteps)] {
		s := crashStep{Kind: byte(slices.Index(crashKinds[:], st.Kind)), Value: 1<<2 | 1}
		s.Where = byte(st.Offset/cacheLine%3) | nearest(crashOffsets[:], st.Offset%cacheLine)<<2
		switch st.Kind {
		case model.CrashCopyNT:
			s.Long = nearest(crashCopies[:], st.Length)
		case model.CrashFlush, model.CrashPersist:
			s.Long = nearest(crashFlushes[:], st.Length)
		default:
			s.Long = nearest(crashStores[:], st.Length)
		}
		input = Encode(input, &s)
	}
	return input
}

// nearest is the place of the number that is nearest to n.
func nearest(of []uint64, n uint64) byte {
	best := 0
	for i, v := range of {
		if max(v, n)-min(v, n) < max(of[best], n)-min(of[best], n) {
			best = i
		}
	}
	return byte(best)
}
