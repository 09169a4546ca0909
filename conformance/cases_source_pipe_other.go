//go:build !linux

package conformance

// No target runs cases here.

func openPipe(t *T) (r, w int) {
	t.NotSupportedf("pipes are made on Linux only")
	return -1, -1
}

func openSocketPair(t *T) (one, two int) {
	t.NotSupportedf("sockets are made on Linux only")
	return -1, -1
}
