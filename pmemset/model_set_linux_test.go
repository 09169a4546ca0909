package pmemset_test

import (
	"math"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// This file is the model: what a set must do, in plain lists. It knows no lock, no
// index and no kernel.

const (
	modelPage     = 4096
	modelHuge     = 2 << 20
	modelGigantic = 1 << 30
)

type modelGeneration int

const (
	modelParts modelGeneration = iota // NewPart, (*Part).Map
	modelMap                          // Map
	modelFinal                        // (*Set).Map
)

// modelFile is a file and what its first pages hold: the first and the last 8 bytes of
// each.
type modelFile struct {
	size        uint64
	heads, last [modelPages]uint64
}

// modelPages is how many pages of a file have contents worth looking at.
const modelPages = 32

// modelSource is what the model knows of a source.
type modelSource struct {
	file                 *modelFile
	growsOld, growsFinal bool // in the older ways to map, in the newest
	readOnly             bool
	granularity          pmem2.Granularity
	deleted              bool
}

// modelPiece is what one map call has mapped.
type modelPiece struct {
	addr, size uint64
	src        *modelSource
	offset     uint64 // in the file
}

func (p modelPiece) end() uint64 { return p.addr + p.size }

// modelPart is a part map. Its pieces lie side by side.
type modelPart struct {
	pieces []modelPiece
	refs   int
	region *modelRegion // nil in a configured reservation
}

func (p *modelPart) addr() uint64 { return p.pieces[0].addr }
func (p *modelPart) end() uint64  { return p.pieces[len(p.pieces)-1].end() }
func (p *modelPart) descriptor() pmemset.PartDescriptor {
	return pmemset.PartDescriptor{Addr: uintptr(p.addr()), Size: p.end() - p.addr()}
}

// modelRegion is a reservation of the library's own, as far as it is promised.
type modelRegion struct {
	start, end uint64
	slack      uint64 // to grow into; 0 for none
	extended   bool   // by the newest way to map, which takes more than it needs
}

// sizeFor is how large the region is for parts of n bytes.
func (r *modelRegion) sizeFor(n uint64) uint64 {
	if r.slack == 0 {
		return n
	}
	return (n+r.slack-1)/r.slack*r.slack + r.slack
}

// modelSpace is what lies in the addresses that the sets of a program share.
type modelSpace struct {
	sets       []*modelSet
	configured modelRange   // the reservation; size 0 for none
	foreign    []modelRange // the program's own mappings in it
}

type modelRange struct{ addr, size uint64 }

// occupied tells the end of the lowest mapping with a byte in [addr, addr+n).
func (sp *modelSpace) occupied(addr, n uint64) (end uint64, taken bool) {
	lowest := uint64(math.MaxUint64)
	hit := func(a, size uint64) {
		if a < lowest && a <= addr+(n-1) && a+(size-1) >= addr {
			lowest, end, taken = a, a+size, true
		}
	}
	for _, f := range sp.foreign {
		hit(f.addr, f.size)
	}
	for _, s := range sp.sets {
		for _, p := range s.parts {
			for _, q := range p.pieces {
				hit(q.addr, q.size)
			}
		}
	}
	return end, taken
}

// free tells whether [addr, addr+n) of the configured reservation is.
func (sp *modelSpace) free(addr, n uint64) bool {
	left := sp.configured.addr + sp.configured.size - addr
	if n > left {
		return false
	}
	_, taken := sp.occupied(addr, n)
	return !taken
}

// firstFit is the lowest free place of the configured reservation.
func (sp *modelSpace) firstFit(n uint64) (addr uint64, ok bool) {
	for addr = sp.configured.addr; ; {
		if n > sp.configured.addr+sp.configured.size-addr {
			return 0, false
		}
		end, taken := sp.occupied(addr, n)
		if !taken {
			return addr, true
		}
		addr = end
	}
}

// modelSet is a set.
type modelSet struct {
	space       *modelSpace
	required    pmem2.Granularity
	coalescing  pmemset.Coalescing
	parts       []*modelPart // by address
	previous    *modelPart
	granularity pmem2.Granularity // if there is a part
	quiet       bool              // the last part came from a Part
}

// modelOutcome is what a map call may lead to. Where the kernel has a say there is more
// than one possibility.
type modelOutcome struct {
	codes   []pmemset.Code // failing with one of these
	joins   bool           // becoming a part of the previous part map
	fresh   bool           // a part map of its own…
	at      uint64         // …here, in a configured reservation
	length  uint64         // that is mapped
	grows   bool           // the file, to offset+length
	rounded uint64         // what the address must be a multiple of
}

func modelFails(codes ...pmemset.Code) modelOutcome { return modelOutcome{codes: codes} }

// plan says what a map call may lead to.
func (s *modelSet) plan(gen modelGeneration, src *modelSource, offset, length uint64) modelOutcome {
	size := src.file.size
	mayGrow := src.growsOld
	tooSmall, unset := pmemset.ErrInvalidPmem2Map, pmemset.ErrInvalidPmem2Map
	if gen == modelFinal {
		mayGrow = src.growsFinal
		tooSmall, unset = pmemset.ErrSourceFileIsTooSmall, pmemset.ErrMapLengthUnset
	}
	if src.deleted {
		return modelFails(pmemset.ErrInvalidSourceType)
	}
	if offset > math.MaxInt64 { // the map configs refuse it
		return modelFails(pmemset.ErrInvalidOffsetValue)
	}
	if length == 0 {
		switch {
		case gen == modelMap && mayGrow && size > 0:
			length = size
		case offset < size:
			length = size - offset
		default:
			return modelFails(unset)
		}
	}
	grows := offset > size || length > size-offset
	switch {
	case grows && !mayGrow:
		return modelFails(tooSmall)
	case grows && (src.readOnly || length > 1<<56 || length > math.MaxInt64-offset):
		return modelFails(pmemset.ErrCannotGrowSourceFile)
	case length%modelPage != 0:
		return modelFails(pmemset.ErrLengthUnaligned)
	}
	out := s.place(gen, length)
	out.length, out.grows = length, grows
	var late pmemset.Code
	switch {
	case offset%modelPage != 0, src.readOnly, src.granularity > s.required:
		late = pmemset.ErrInvalidPmem2Map
	case len(s.parts) > 0 && src.granularity != s.granularity:
		late = pmemset.ErrGranularityMismatch
	}
	if late != 0 && (out.joins || out.fresh) {
		out.codes = append(out.codes, late)
		out.joins, out.fresh = false, false
	}
	return out
}

// place says where the mapping may come to lie.
func (s *modelSet) place(gen modelGeneration, n uint64) modelOutcome {
	apart := modelOutcome{fresh: true, rounded: modelPage}
	switch at, ok := s.space.firstFit(n); {
	case s.space.configured.size > 0 && !ok:
		apart = modelFails(pmemset.ErrCannotFitPartMap)
	case s.space.configured.size > 0:
		apart.at = at
	case n >= 1<<47:
		apart = modelFails(pmemset.ErrCannotAllocateInternalStructure)
	case gen == modelFinal && n >= 2*modelGigantic:
		apart.rounded = modelGigantic
	case gen == modelFinal:
		apart.rounded = modelHuge
	}
	if s.coalescing == pmemset.CoalescingNone || s.previous == nil {
		return apart
	}
	joins := modelOutcome{joins: true}
	end := s.previous.end()
	var must, cannot bool
	var refusal []pmemset.Code
	if s.space.configured.size > 0 {
		must = s.space.free(end, n)
		cannot = !must
		refusal = []pmemset.Code{pmemset.ErrCannotCoalesceParts}
		if apart.codes != nil {
			refusal = apart.codes
		}
	} else {
		_, taken := s.space.occupied(end, n)
		cannot = taken || n >= 1<<47
		must = !cannot && n <= s.previous.region.end-end
		refusal = []pmemset.Code{pmemset.ErrCannotCoalesceParts}
		if n >= 1<<47 {
			refusal = append(refusal, pmemset.ErrCannotAllocateInternalStructure)
		}
	}
	switch full := s.coalescing == pmemset.CoalescingFull; {
	case must:
		return joins
	case cannot && full:
		return modelFails(refusal...)
	case cannot:
		return apart
	case full:
		joins.codes = refusal
		return joins
	}
	apart.joins = true
	return apart
}

// add is a map call that has succeeded: at addr a part map lies that ends with what has
// been mapped.
func (s *modelSet) add(gen modelGeneration, src *modelSource, offset uint64, out modelOutcome, joined bool, addr uint64) *modelPart {
	if out.grows {
		src.file.size = offset + out.length
	}
	s.granularity, s.quiet = src.granularity, gen == modelParts
	if joined {
		p := s.previous
		if r := p.region; r != nil && p.end()+out.length > r.end {
			r.end, r.extended = p.end()+out.length, r.extended || gen == modelFinal
		}
		p.pieces = append(p.pieces, modelPiece{p.end(), out.length, src, offset})
		return p
	}
	p := &modelPart{pieces: []modelPiece{{addr, out.length, src, offset}}}
	if s.space.configured.size == 0 {
		p.region = &modelRegion{start: addr, end: addr + out.length}
		if gen == modelFinal {
			p.region.slack = out.rounded
			p.region.end = addr + p.region.sizeFor(out.length)
		}
	}
	s.insert(p)
	s.previous = p
	return p
}

func (s *modelSet) insert(p *modelPart) {
	i := 0
	for i < len(s.parts) && s.parts[i].addr() < p.addr() {
		i++
	}
	s.parts = slices.Insert(s.parts, i, p)
}

// byAddress is the part map that holds the byte at addr, or nil.
func (s *modelSet) byAddress(addr uint64) *modelPart {
	for _, p := range s.parts {
		if p.addr() <= addr && addr < p.end() {
			return p
		}
	}
	return nil
}

// removePart removes a part map that one reference is held on.
func (s *modelSet) removePart(p *modelPart) ([]pmemset.Event, pmemset.Code) {
	switch {
	case !slices.Contains(s.parts, p):
		return nil, pmemset.ErrPartNotFound
	case p.refs > 1:
		return nil, pmemset.ErrPartMapPossibleUseAfterDrop
	}
	return s.removeWhole(p), 0
}

func (s *modelSet) removeWhole(p *modelPart) (events []pmemset.Event) {
	if !s.quiet {
		d := p.descriptor()
		events = []pmemset.Event{{Type: pmemset.EventPartRemove, Addr: d.Addr, Len: d.Size}}
	}
	i := slices.Index(s.parts, p)
	s.parts = slices.Delete(s.parts, i, i+1)
	if s.previous == p {
		switch {
		case i > 0:
			s.previous = s.parts[i-1]
		case len(s.parts) > 0:
			s.previous = s.parts[0]
		default:
			s.previous = nil
		}
	}
	s.shrink(p.region)
	return events
}

// removeRange removes every piece with a byte in the n bytes at addr.
func (s *modelSet) removeRange(addr, n uint64) ([]pmemset.Event, pmemset.Code) {
	var events []pmemset.Event
	if !s.quiet {
		events = append(events, pmemset.Event{Type: pmemset.EventRemoveRange, Addr: uintptr(addr), Len: n})
	}
	if n == 0 {
		return events, 0
	}
	last := addr + (n - 1)
	if last < addr {
		last = math.MaxUint64
	}
	hit := func(q modelPiece) bool { return q.addr <= last && q.end()-1 >= addr }
	code := pmemset.ErrCannotFindPartMap
	for _, p := range slices.Clone(s.parts) {
		if !slices.ContainsFunc(p.pieces, hit) {
			continue
		}
		if p.refs > 0 {
			return events, pmemset.ErrPartMapPossibleUseAfterDrop
		}
		code = 0
		// What is left are up to two part maps: below and above what is removed.
		var below, above []modelPiece
		for _, q := range p.pieces {
			switch {
			case hit(q):
			case q.addr < addr:
				below = append(below, q)
			default:
				above = append(above, q)
			}
		}
		switch {
		case below == nil && above == nil:
			events = append(events, s.removeWhole(p)...)
		case below == nil:
			p.pieces = above
		default:
			p.pieces = below
			if above != nil {
				s.insert(&modelPart{pieces: above, region: p.region})
			}
		}
		s.shrink(p.region)
	}
	return events, code
}

// shrink takes off a region what its parts don't need any more, but for the slack.
func (s *modelSet) shrink(r *modelRegion) {
	if r == nil {
		return
	}
	var last *modelPart
	for _, p := range s.parts {
		if p.region != r {
			continue
		}
		if last == nil {
			r.start = p.addr()
		}
		last = p
	}
	if last != nil {
		r.end = min(r.end, r.start+r.sizeFor(last.end()-r.start))
	}
}

// needs is the most address space that a set's own regions may take.
func (s *modelSet) needs() (bytes uint64) {
	seen := map[*modelRegion]bool{}
	for _, p := range s.parts {
		if r := p.region; r != nil && !seen[r] {
			seen[r] = true
			bytes += r.end - r.start
			if r.extended { // in steps of that, of which some may be left
				bytes += modelHuge
			}
		}
	}
	return bytes
}
