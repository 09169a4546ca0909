package conformance

import (
	"sync"

	"pmemlab/pmem2/platform"
)

// heldFiles is a machine that tells which descriptors were opened through it and not
// closed, whatever else has happened to their numbers.
type heldFiles struct {
	platform.Platform

	mu   sync.Mutex
	open map[int]bool
}

func newHeldFiles(p platform.Platform) *heldFiles {
	return &heldFiles{Platform: p, open: map[int]bool{}}
}

// Open is platform.Files.Open.
func (h *heldFiles) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := h.Platform.Open(path, flags, mode)
	if err == nil {
		h.mu.Lock()
		h.open[fd] = true
		h.mu.Unlock()
	}
	return fd, err
}

// Close is platform.Files.Close.
func (h *heldFiles) Close(fd int) error {
	h.mu.Lock()
	delete(h.open, fd)
	h.mu.Unlock()
	return h.Platform.Close(fd)
}

// Holds reports whether fd was opened here and not closed.
func (h *heldFiles) Holds(fd int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[fd]
}
