package trace

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// WritePmemcheck writes the log in the form of pmemcheck's store log, one line, for PMDK's
// pmreorder:
//
//	START|REGISTER_FILE;path;base;size;offset|STORE;addr;value;size|FLUSH;addr;size|FENCE|…|STOP
//
// Numbers are hexadecimal with 0x; a value is the little-endian number that the bytes are.
// What the events become:
//
//   - Store: a STORE for each aligned word of 8 bytes, shorter at the ends. Change: the
//     same, without the words of which the log knows that they were so before.
//   - StoreNT: STOREs, then a FLUSH of their lines. Into the page cache it's a Store.
//   - CLWB, CLFLUSHOPT, DCCVAP: a FLUSH of the lines.
//   - CLFLUSH: a FLUSH of the lines and a FENCE, as pmemcheck has it by default; pmreorder
//     tests nothing before a FENCE.
//   - Fence: FENCE. There are no goroutines in the form: a FENCE completes the FLUSHes
//     of all, so that what only another goroutine's fence orders looks right.
//   - Msync, Fsync: a FLUSH of the pages, or of the file, and a FENCE.
//   - Mark: a marker if its text is a name with the ending .BEGIN or .END and the pairs nest;
//     pmreorder stops at any other.
//   - Left out: NoFlush, DeepFlush, Map, Unmap, Look, all other marks, flushes of the page
//     cache, events with NoEffect or without an object, and who called.
//
// An object that was mapped or stored to is registered whole, with offset 0, since
// pmreorder ignores the offset: its base is where its first byte would be by its first
// mapping, or, if it never was mapped, an address that nothing else has, from 1<<44
// up; so too if that isn't a multiple of the page size or the objects would overlap.
// pmreorder opens the file by the object's name and wants it to be there, with the
// content from before the first event and a size that is a multiple of 4096. What was
// stored before the first event of a log with Dropped is missing.
//
// The error is that of w, or it says which event or object is like no machine's, has a
// path that the form can't hold (one that is empty or no UTF-8, or has a '|', a ';', a
// line end, or START or STOP in it) or is too large for the address space.
func (l *Log) WritePmemcheck(w io.Writer) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	p := pmemcheckWriter{log: l, out: bufio.NewWriterSize(w, 64<<10), known: make([]map[uint64]word, len(l.Objects))}
	if err := p.place(); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	_, _ = p.out.WriteString("START") // errors stay until Flush
	for i, o := range l.Objects {
		if p.sizes[i] > 0 {
			_, _ = fmt.Fprintf(p.out, "|REGISTER_FILE;%s;%#x;%#x;0x0", o.Name, p.bases[i], p.sizes[i])
		}
	}
	for i := range l.Events {
		p.event(&l.Events[i])
	}
	_, _ = p.out.WriteString("|STOP\n")
	return p.out.Flush()
}

// A word is 8 aligned bytes of an object, as far as the log has said them.
type word struct {
	data [wordSize]byte
	has  uint8 // a bit for each byte
}

type pmemcheckWriter struct {
	log   *Log
	out   *bufio.Writer
	bases []uint64
	sizes []uint64 // 0: the object isn't registered
	// known is the content of objects, by offset.
	known []map[uint64]word
	marks []string // the names of markers that are begun
}

const (
	freeAddresses = 1 << 44
	endOfAddress  = 1 << 62
	freeAlignment = 2 << 20
)

// place decides which objects are registered and where.
func (p *pmemcheckWriter) place() error {
	p.bases, p.sizes = make([]uint64, len(p.log.Objects)), make([]uint64, len(p.log.Objects))
	for i := range p.log.Events {
		if e := &p.log.Events[i]; p.tells(e) && e.Kind != Fsync {
			s := p.log.reach(e)
			if p.sizes[e.Object] = max(p.sizes[e.Object], s.to); p.sizes[e.Object] > endOfAddress {
				return fmt.Errorf("event %d: offset %#x is beyond the largest address", i, e.Off)
			}
		}
	}
	var taken []span
	free := func(base, size uint64) bool {
		return base > 0 && base%pageSize == 0 && base < endOfAddress && size <= endOfAddress-base &&
			!slices.ContainsFunc(taken, func(t span) bool { return base < t.to && t.from < base+size })
	}
	for i, o := range p.log.Objects {
		if o.Addr == 0 && p.sizes[i] == 0 {
			continue
		}
		if p.sizes[i] = max(p.sizes[i], o.Size); p.sizes[i] == 0 {
			continue
		}
		if err := checkPath(o.Name); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
		base := o.Addr - o.MapOff
		if o.Addr < o.MapOff || o.Addr == 0 || !free(base, p.sizes[i]) {
			base = freeAddresses
			for !free(base, p.sizes[i]) {
				// Behind the next one that is in the way.
				next := uint64(endOfAddress)
				for _, t := range taken {
					if t.to > base {
						next = min(next, t.to)
					}
				}
				if base = (next + freeAlignment - 1) &^ (freeAlignment - 1); base >= endOfAddress {
					return fmt.Errorf("object %d: %d bytes find no addresses", i, p.sizes[i])
				}
			}
		}
		p.bases[i] = base
		taken = append(taken, span{base, base + p.sizes[i]})
	}
	return nil
}

func checkPath(name string) error {
	for _, bad := range []string{"|", ";", "\n", "\r", "START", "STOP"} {
		if strings.Contains(name, bad) {
			return fmt.Errorf("path %q holds %q, which the form takes for its own", name, bad)
		}
	}
	if name == "" || !utf8.ValidString(name) {
		return fmt.Errorf("path %q is empty or isn't UTF-8", name)
	}
	return nil
}

// tells reports whether e has entries with addresses.
func (p *pmemcheckWriter) tells(e *Event) bool {
	if e.NoEffect || e.Object < 0 || e.Len == 0 && e.Kind != Fsync {
		return false
	}
	if e.Kind.IsFlush() {
		return e.Kind != NoFlush && p.log.Objects[e.Object].unit() == lineSize
	}
	return e.Kind.IsStore() || e.Kind == Msync || e.Kind == Fsync
}

func (p *pmemcheckWriter) event(e *Event) {
	switch {
	case e.NoEffect:
	case e.Kind == Fence:
		p.fence()
	case e.Kind == Mark:
		p.mark(e.Text)
	case !p.tells(e):
	case e.Kind.IsStore():
		p.store(e)
		if e.Kind == StoreNT && p.log.Objects[e.Object].unit() == lineSize {
			p.flush(e)
		}
	default:
		p.flush(e)
		if e.Kind == CLFLUSH || e.Kind == Msync || e.Kind == Fsync {
			p.fence()
		}
	}
}

func (p *pmemcheckWriter) fence() { _, _ = p.out.WriteString("|FENCE") }

func (p *pmemcheckWriter) flush(e *Event) {
	size := p.sizes[e.Object]
	if s := p.log.reach(e); s.from < size {
		s.to = min(s.to, size)
		_, _ = fmt.Fprintf(p.out, "|FLUSH;%#x;%#x", p.bases[e.Object]+s.from, s.to-s.from)
	}
}

func (p *pmemcheckWriter) store(e *Event) {
	known := p.known[e.Object]
	if known == nil {
		known = map[uint64]word{}
		p.known[e.Object] = known
	}
	for off, rest := e.Off, e.Data; len(rest) > 0; {
		at := off % wordSize
		piece := rest[:min(wordSize-at, uint64(len(rest)))]
		before := known[off-at]
		after := before
		copy(after.data[at:], piece)
		after.has |= (1<<len(piece) - 1) << at
		if e.Kind != Change || after != before {
			var value [wordSize]byte
			copy(value[:], piece)
			_, _ = fmt.Fprintf(p.out, "|STORE;%#x;%#x;%#x", p.bases[e.Object]+off, binary.LittleEndian.Uint64(value[:]), len(piece))
		}
		known[off-at] = after
		off, rest = off+uint64(len(piece)), rest[len(piece):]
	}
}

var markerForm = regexp.MustCompile(`^([A-Za-z0-9_-]+)\.(BEGIN|END)$`)

func (p *pmemcheckWriter) mark(text string) {
	m := markerForm.FindStringSubmatch(text)
	if m == nil || strings.Contains(m[1], "START") || strings.Contains(m[1], "STOP") {
		return
	}
	if m[2] == "BEGIN" {
		p.marks = append(p.marks, m[1])
	} else {
		last := len(p.marks) - 1
		if last < 0 || p.marks[last] != m[1] {
			return
		}
		p.marks = p.marks[:last]
	}
	_, _ = p.out.WriteString("|" + text)
}
