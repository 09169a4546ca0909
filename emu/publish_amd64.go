package emu

import "sync/atomic"

// publish stores v in ready, after all that was stored before. The hardware keeps stores in
// their order, so that no locked instruction is needed, which on this path would wait for
// the line that is being flushed.
//
//go:noinline
//go:norace
func publish(ready *uint64, v uint64) { *ready = v }

// published reads what publish has stored.
func published(ready *uint64) uint64 { return atomic.LoadUint64(ready) }
