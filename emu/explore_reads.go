package emu

import (
	"encoding/binary"
	"slices"

	"pmemlab/emu/exact"
)

// readRange is lines of an object that a recovery has loaded from, in bytes.
type readRange struct {
	Object     int
	Start, End uint64
}

// readBy are the lines that the last recovery on a stage has read; ok is false if that isn't
// known, as without exact mode.
func (s *stage) readBy() (lines []readRange, ok bool) {
	if !exact.Enabled() {
		return nil, false
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for _, r := range s.m.reads {
		lines = append(lines, readRange{r.object.number, r.start, r.end})
	}
	return lines, true
}

// pruner knows images that a recovery can't tell from those that it has passed on: they differ
// in lines that it never reads.
type pruner struct {
	v *crashVersion
	// passed are, for each list of cells that a recovery has read, the versions of these with
	// which check found nothing wrong.
	passed map[string]map[string]struct{}
	cells  map[string][]int
}

// skip says whether an image is one that passed, as far as a recovery reads it.
func (p *pruner) skip(choices []choice) bool {
	for key, cells := range p.cells {
		if _, ok := p.passed[key][versionsOf(choices, cells)]; ok {
			return true
		}
	}
	return false
}

// pass notes that a recovery which read these lines was satisfied with an image.
func (p *pruner) pass(choices []choice, read []readRange) {
	var cells []int
	for i := range p.v.images.Cells() {
		off, size, _ := p.v.images.Cell(i)
		object, at := p.v.where(off)
		if slices.ContainsFunc(read, func(r readRange) bool {
			return r.Object == object && r.Start < at+uint64(size) && at < r.End
		}) {
			cells = append(cells, i)
		}
	}
	var key []byte
	for _, c := range cells {
		key = binary.AppendUvarint(key, uint64(c))
	}
	if p.passed == nil {
		p.passed, p.cells = map[string]map[string]struct{}{}, map[string][]int{}
	}
	if p.passed[string(key)] == nil {
		p.passed[string(key)] = map[string]struct{}{}
		p.cells[string(key)] = cells
	}
	p.passed[string(key)][versionsOf(choices, cells)] = struct{}{}
}

// versionsOf spells the versions of some cells.
func versionsOf(choices []choice, cells []int) string {
	var s []byte
	for _, cell := range cells {
		version := uint64(0)
		for _, c := range choices {
			if c.Cell == cell {
				version = c.Version
			}
		}
		s = binary.AppendUvarint(s, version)
	}
	return string(s)
}
