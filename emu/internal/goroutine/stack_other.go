//go:build !(linux && gc && (amd64 || arm64))

package goroutine

const fast = false

func word(uintptr) uintptr { return 0 }

func callers(_ int, pcs *[Depth]uintptr) { *pcs = [Depth]uintptr{} }
