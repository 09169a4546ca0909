//go:build !amd64

package emu

import "sync/atomic"

// publish stores v in ready, after all that was stored before.
func publish(ready *uint64, v uint64) { atomic.StoreUint64(ready, v) }

// published reads what publish has stored.
func published(ready *uint64) uint64 { return atomic.LoadUint64(ready) }
