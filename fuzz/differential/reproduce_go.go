//go:build libpmem2

package main

import (
	"bytes"
	"fmt"
	"go/format"
	"strings"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// preludeGo is what the programs in Go begin with.
const preludeGo = `package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
)

// file makes a file of n bytes on tmpfs, open as flags say.
func file(n int64, flags int, appendOnly bool) int {
	f, err := os.OpenFile("/dev/shm", unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Truncate(n)
	}
	fd := -1
	if err == nil {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flags, 0)
	}
	if err == nil && appendOnly {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0x20)
	}
	if err != nil {
		panic(err)
	}
	return fd
}

func tell(what string, err error) { fmt.Printf("%s: %v\n", what, err) }

func tellMap(m *pmem2.Map) {
	if m != nil {
		fmt.Printf("  map at %#x, %#x bytes, granularity %v\n", m.Address(), m.Size(), m.StoreGranularity())
	}
}

func tellReservation(r *pmem2.VMReservation) {
	if r != nil {
		fmt.Printf("  reservation at %#x, %#x bytes\n", r.Address(), r.Size())
	}
}

`

// inGo is the program in Go. The text is a comment at its beginning.
func (p program) inGo(text string) (string, error) {
	var b bytes.Buffer
	sources, maps, reservations := p.slots()
	b.WriteString("//go:build ignore\n\n")
	for _, line := range strings.Split(text+"\n\ngo run this.go, where the module is", "\n") {
		b.WriteString(strings.TrimSpace("// "+line) + "\n")
	}
	b.WriteString("\n" + preludeGo)
	fmt.Fprintf(&b, "func main() {\n\tvar s [%d]*pmem2.Source\n\tvar m [%d]*pmem2.Map\n\tvar r [%d]*pmem2.VMReservation\n\tvar n uint64\n\tvar err error\n", sources, maps, reservations)
	b.WriteString("\t_, _, _, _, _ = s, m, r, n, err\n")
	for _, c := range p.ended() {
		for _, line := range strings.Split(strings.TrimSpace(c.inGo()), "\n") {
			b.WriteString("\t" + line + "\n")
		}
	}
	b.WriteString("}\n")
	formatted, err := format.Source(b.Bytes())
	return string(formatted), err
}

var openNamesGo = [...]string{model.ReadWrite: "unix.O_RDWR", model.ReadOnly: "unix.O_RDONLY", model.WriteOnly: "unix.O_WRONLY", model.PathOnly: "unix.O_PATH"}

// inGo is the call in Go.
func (c *call) inGo() string {
	slot := c.slot
	told := func(result, name, format string, args ...any) string {
		return fmt.Sprintf("%s = %s\ntell(%q, err)\n", result, fmt.Sprintf(format, args...), name)
	}
	guarded := func(object string, slot int, body string) string {
		return fmt.Sprintf("if %s[%d] != nil {\n\t%s\n}", object, slot, strings.ReplaceAll(strings.TrimSpace(body), "\n", "\n\t"))
	}
	find := func(name, args string) string {
		return guarded("r", slot, fmt.Sprintf("found, err := r[%d].%s(%s)\ntell(%q, err)\ntellMap(found)", slot, name, args, name))
	}
	tellReservation := fmt.Sprintf("tellReservation(r[%d])", slot)
	switch c.op {
	case opSource:
		q := c.request.Source
		result := fmt.Sprintf("s[%d], err", slot)
		if q.Kind == model.Anonymous {
			return told(result, "SourceFromAnon", "pmem2.SourceFromAnon(%#x)", q.Size)
		}
		return told(result, "SourceFromFD", "pmem2.SourceFromFD(file(%#x, %s, %t))", q.Size, openNamesGo[q.Access], q.AppendOnly)
	case opSize:
		return guarded("s", slot, told("n, err", "Size", "s[%d].Size()", slot))
	case opAlignment:
		return guarded("s", slot, told("n, err", "Alignment", "s[%d].Alignment()", slot))
	case opMap:
		return c.mapInGo()
	case opExisting:
		return guarded("s", c.source, told(fmt.Sprintf("m[%d], err", slot), "MapFromExisting", "pmem2.MapFromExisting(s[%d], %#x, %#x, %d)", c.source, c.addr, c.length, c.fine)+
			fmt.Sprintf("tellMap(m[%d])", slot))
	case opUnmap:
		return guarded("m", slot, told("err", "Delete", "m[%d].Delete()", slot))
	case opReserve:
		return told(fmt.Sprintf("r[%d], err", slot), "NewVMReservation", "pmem2.NewVMReservation(%#x, %#x)", c.addr, c.length) + tellReservation
	case opExtend:
		return guarded("r", slot, told("err", "Extend", "r[%d].Extend(%#x)", slot, c.length)+tellReservation)
	case opShrink:
		return guarded("r", slot, told("err", "Shrink", "r[%d].Shrink(%#x, %#x)", slot, c.offset, c.length)+tellReservation)
	case opUnreserve:
		return guarded("r", slot, told("err", "Delete", "r[%d].Delete()", slot))
	case opFind:
		return find("MapFind", fmt.Sprintf("%#x, %#x", c.offset, c.length))
	case opFindFirst:
		return find("MapFindFirst", "")
	case opFindLast:
		return find("MapFindLast", "")
	case opFindNext:
		return find("MapFindNext", fmt.Sprintf("m[%d]", c.from))
	case opFindPrev:
		return find("MapFindPrev", fmt.Sprintf("m[%d]", c.from))
	case opKept:
		return "for _, m := range m {\n\tif m != nil {\n\t\ttell(\"Delete\", m.Delete())\n\t}\n}\nfor _, r := range r {\n\tif r != nil {\n\t\ttell(\"Delete\", r.Delete())\n\t}\n}"
	}
	return c.memoryInGo(guarded)
}

func (c *call) mapInGo() string {
	var b strings.Builder
	q := &c.request
	guard := fmt.Sprintf("s[%d] != nil", c.source)
	if c.in != none {
		guard += fmt.Sprintf(" && r[%d] != nil", c.in)
	}
	fmt.Fprintf(&b, "if %s {\n\tcfg := pmem2.NewConfig()\n", guard)
	set := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "\t_ = cfg.Set%s(%s)\n", what, fmt.Sprintf(format, args...))
	}
	if q.GranularitySet {
		set("RequiredStoreGranularity", "%d", q.Granularity)
	}
	if q.Offset != 0 {
		set("Offset", "%#x", q.Offset)
	}
	if q.Length != 0 {
		set("Length", "%#x", q.Length)
	}
	if q.Sharing == pmem2.Private {
		set("Sharing", "pmem2.Private")
	}
	if q.Prot != pmem2.ProtRead|pmem2.ProtWrite {
		set("Protection", "%#x", uint32(q.Prot))
	}
	if c.in != none {
		set("VMReservation", "r[%d], %#x", c.in, q.Reservation.Offset)
	}
	fmt.Fprintf(&b, "\tm[%d], err = pmem2.NewMap(cfg, s[%d])\n\ttell(\"NewMap\", err)\n\ttellMap(m[%d])\n}", c.slot, c.source, c.slot)
	return b.String()
}

// memoryInGo is a call of a method on the memory of a map.
func (c *call) memoryInGo(guarded func(object string, slot int, body string) string) string {
	m := fmt.Sprintf("m[%d]", c.slot)
	part := func(at uint64) string { return fmt.Sprintf("%s.Bytes()[%#x:%#x]", m, at, at+c.length) }
	var name, args string
	switch c.op {
	case opCopy:
		name, args = "Memmove", fmt.Sprintf("%s, %s, %#x", part(c.offset), part(c.with), uint32(c.flags))
	case opSet:
		name, args = "Memset", fmt.Sprintf("%s, %d, %#x", part(c.offset), c.value, uint32(c.flags))
	case opPersist:
		name, args = "Persist", part(c.offset)
	case opFlush:
		name, args = "Flush", part(c.offset)
	case opDeepFlush:
		name, args = "DeepFlushRange", fmt.Sprintf("uintptr(uint64(%s.Address())+uint64(%#x)), %#x", m, c.offset, c.length)
	default:
		return ""
	}
	return guarded("m", c.slot, fmt.Sprintf("tell(%q, %s.%s(%s))", name, m, name, args))
}
