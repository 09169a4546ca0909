package sequences

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// execution is a program under way on a machine.
type execution struct {
	machine      platform.Platform
	windows      map[string][]byte // of each device by its place, to look and clear
	fds          map[*object]int
	sources      [sourceSlots]*pmem2.Source
	maps         [mapSlots]*pmem2.Map
	reservations [reservationSlots]*pmem2.VMReservation
	// olderMaps and olderReservations were in a slot before others. Maps are deleted first: a
	// reservation that holds one can't be.
	olderMaps         []*pmem2.Map
	olderReservations []*pmem2.VMReservation
	adopted           []adopted
}

// adopted is memory that the program has mapped itself.
type adopted struct {
	addr   uintptr
	length uint64
}

// run takes the steps, writes each with its outcome, and cleans up.
func (e *execution) run(objects []*object, steps []step, w io.Writer) error {
	var b strings.Builder
	for _, s := range steps {
		tell(&b, s.words, e.guard(func() string { return s.do(e) }))
	}
	for i, m := range e.maps {
		if m != nil && m.Address() != 0 {
			tell(&b, fmt.Sprintf("end m%d", i), answer(m.Delete()))
		}
	}
	for _, m := range e.olderMaps {
		tell(&b, "end older map", answer(m.Delete()))
	}
	for _, r := range e.olderReservations {
		tell(&b, "end older reservation", answer(r.Delete()))
	}
	for i, r := range e.reservations {
		if r != nil && r.Size() != 0 {
			tell(&b, fmt.Sprintf("end r%d", i), answer(r.Delete()))
		}
	}
	for _, a := range e.adopted {
		tell(&b, "end adopted", answer(e.machine.Munmap(a.addr, a.length)))
	}
	for _, o := range objects {
		tell(&b, "content "+o.name, e.content(o))
		if fd, open := e.fds[o]; open {
			if err := e.machine.Close(fd); err != nil {
				tell(&b, "end "+o.name, answer(err))
			}
		}
		if !o.device {
			tell(&b, "unlink "+o.name, answer(e.machine.Unlink(filePath(o))))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func tell(b *strings.Builder, words, outcome string) {
	b.WriteString("  ")
	b.WriteString(words)
	b.WriteString(arrow)
	b.WriteString(outcome)
	b.WriteByte('\n')
}

// arrow is between an operation and its outcome.
const arrow = " -> "

// answer is "ok", the name of a code or an errno.
func answer(err error) string {
	var code pmem2.Code
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &code):
		return code.Symbol()
	case errors.As(err, &errno):
		// A plan names its errno: "(EIO (Call 0))".
		name, _, _ := strings.Cut(fault.FailCall(errno, 0).String(), " ")
		return strings.TrimPrefix(name, "(")
	}
	return "error " + err.Error()
}

// guard takes a step, and turns a fault into an outcome that tells the map and where in it.
func (e *execution) guard(do func() string) (outcome string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			outcome = "fault " + e.locate(r.Addr())
		case runtime.Error:
			outcome = "panic " + r.Error()
		default:
			outcome = fmt.Sprint("panic ", r)
		}
	}()
	return do()
}

func (e *execution) locate(addr uintptr) string {
	for i, m := range e.maps {
		if m != nil && m.Address() != 0 && addr >= m.Address() && uint64(addr-m.Address()) < m.Size() {
			return fmt.Sprintf("at %d in m%d", addr-m.Address(), i)
		}
	}
	return "elsewhere"
}

// content is what an object holds in the end, of the pages that the program may have
// changed. A device is zero again afterwards.
func (e *execution) content(o *object) string {
	pages := make([]uint64, 0, len(o.touched))
	for p := range o.touched {
		pages = append(pages, p)
	}
	slices.Sort(pages)
	var b strings.Builder
	if o.device {
		b.WriteString("ok")
		for _, p := range pages {
			bytes := e.windows[o.place.Name][p*page:][:page]
			fmt.Fprintf(&b, " %d:%s", p, sum(bytes))
			clear(bytes)
		}
		return b.String()
	}
	fd, err := e.machine.Open(filePath(o), platform.ORdonly|platform.OCloexec, 0)
	if err != nil {
		return answer(err)
	}
	st, err := e.machine.Fstat(fd)
	fmt.Fprintf(&b, "%s size %d", answer(err), st.Size)
	var bytes [page]byte
	for _, p := range pages {
		n, err := e.machine.Pread(fd, bytes[:], int64(p*page))
		if err != nil {
			fmt.Fprintf(&b, " %d:%s", p, answer(err))
		} else if n > 0 {
			fmt.Fprintf(&b, " %d:%s", p, sum(bytes[:n]))
		}
	}
	if err := e.machine.Close(fd); err != nil {
		fmt.Fprintf(&b, " close %s", answer(err))
	}
	return b.String()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is a checksum, 0 if all is zero.
func sum(b []byte) string {
	for _, c := range b {
		if c != 0 {
			return fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli))
		}
	}
	return "0"
}

// data is n bytes made from a value.
func data(value, n uint64) []byte {
	b := make([]byte, (n+7)&^7)
	for i := 0; i < len(b); i += 8 {
		value = value*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], value)
	}
	return b[:n]
}

func filePath(o *object) string { return o.place.Mount + "/sequences-" + o.name }

// part is a part of a map, empty if it isn't there.
func (e *execution) part(slot int, offset, length uint64) []byte {
	b := e.maps[slot].Bytes()
	if offset > uint64(len(b)) || length > uint64(len(b))-offset {
		return nil
	}
	return b[offset:][:length:length]
}

// outside is the outcome of what was to be done with a part of a map that isn't there.
const outside = "not-mapped"
