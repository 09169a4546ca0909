package pmemset_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// outcome compares an error with its name: "0", "CANNOT_FIND_PART_MAP", "ENOENT",
// "PMEM2_E_…". If it is none of these libraries', its text counts.
func (s *scene) outcome(what string, err error, want string) {
	s.Helper()
	if got := sceneOutcome(err); got != want {
		s.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}

func sceneOutcome(err error) string {
	var code pmemset.Code
	var lower pmem2.Code
	var errno syscall.Errno
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &code):
		return strings.TrimPrefix(code.Symbol(), "PMEMSET_E_")
	case errors.As(err, &lower):
		return lower.Symbol()
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// events compares what the sets have sent since the last time with texts such as
// "PART_ADD A 96K"; see sceneEvent.
func (s *scene) events(want ...string) {
	s.Helper()
	got := s.sent()
	wanted := make([]string, len(want))
	for i, w := range want {
		wanted[i] = s.resolve(w)
	}
	if !slices.Equal(got, wanted) {
		s.Errorf("events: got [%s], want [%s]", s.readable(got...), strings.Join(want, ", "))
	}
}

// sent takes what the sets have sent since the last time.
func (s *scene) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, len(s.log))
	for i := range s.log {
		all[i] = sceneEvent(&s.log[i])
	}
	s.log = nil
	return all
}

func (s *scene) eventCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// sceneEvent is the text of an event: COPY and MOVE with destination, source, length
// and flags; SET with destination, length, value and flags; FLUSH, REMOVE_RANGE,
// PART_ADD and PART_REMOVE with address and length; SDS_UPDATE with identifier, unsafe
// shutdown count and reference count; BADBLOCK with offset and length.
func sceneEvent(e *pmemset.Event) string {
	switch e.Type {
	case pmemset.EventCopy, pmemset.EventMove:
		return fmt.Sprintf("%v %#x %#x %d %d", e.Type, e.Dst, e.Src, e.Len, e.Flags)
	case pmemset.EventSet:
		return fmt.Sprintf("%v %#x %d %d %d", e.Type, e.Dst, e.Len, e.Value, e.Flags)
	case pmemset.EventFlush, pmemset.EventRemoveRange, pmemset.EventPartAdd, pmemset.EventPartRemove:
		return fmt.Sprintf("%v %#x %d", e.Type, e.Addr, e.Len)
	case pmemset.EventSDSUpdate:
		id, _, _ := strings.Cut(string(e.SDS.ID[:]), "\x00")
		return fmt.Sprintf("%v %s %d %d", e.Type, id, e.SDS.USC, e.SDS.RefCount)
	case pmemset.EventBadBlock:
		return fmt.Sprintf("%v %d %d", e.Type, e.BadBlock.Offset, e.BadBlock.Length)
	}
	return e.Type.String()
}

func scenePlace(addr uintptr, size uint64) string { return fmt.Sprintf("%#x %d", addr, size) }

// resolve writes the words of a text out: "A+64K" as an address, "64K" as a number.
func (s *scene) resolve(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		name, rest := w, ""
		if at := strings.IndexAny(w, "+-"); at > 0 {
			name, rest = w[:at], w[at+1:]
		}
		base, known := s.bases[name]
		n, sized := sceneBytes(rest)
		switch {
		case known && rest == "":
			words[i] = fmt.Sprintf("%#x", base)
		case known && sized && w[len(name)] == '+':
			words[i] = fmt.Sprintf("%#x", base+uintptr(n))
		case known && sized:
			words[i] = fmt.Sprintf("%#x", base-uintptr(n))
		default:
			if n, ok := sceneBytes(w); ok {
				words[i] = strconv.FormatUint(n, 10)
			}
		}
	}
	return strings.Join(words, " ")
}

// sceneBytes reads "64K", "2M", "1G" or "100".
func sceneBytes(w string) (uint64, bool) {
	unit := uint64(1)
	if w != "" {
		if i := strings.IndexByte("KMG", w[len(w)-1]); i >= 0 {
			unit, w = 1<<(10*(i+1)), w[:len(w)-1]
		}
	}
	n, err := strconv.ParseUint(w, 10, 64)
	return n * unit, err == nil
}

// readable is resolve backwards, for messages.
func (s *scene) readable(texts ...string) string {
	out := make([]string, len(texts))
	for i, text := range texts {
		words := strings.Fields(text)
		for j, w := range words {
			if hex, ok := strings.CutPrefix(w, "0x"); ok {
				if a, err := strconv.ParseUint(hex, 16, 64); err == nil {
					words[j] = s.relative(uintptr(a))
				}
			} else if n, err := strconv.ParseUint(w, 10, 64); err == nil {
				words[j] = sceneSize(n)
			}
		}
		out[i] = strings.Join(words, " ")
	}
	return strings.Join(out, ", ")
}

// relative is an address as seen from the nearest base.
func (s *scene) relative(addr uintptr) string {
	best, distance := "", uint64(64*sceneM)
	for name, base := range s.bases {
		d, sign := uint64(addr-base), "+"
		if addr < base {
			d, sign = uint64(base-addr), "-"
		}
		if d < distance {
			best, distance = name+sign+sceneSize(d), d
		}
	}
	if best == "" {
		return fmt.Sprintf("%#x", addr)
	}
	return strings.TrimSuffix(best, "+0")
}

// sceneSize writes a number of bytes as the scenarios do: 98304 is "96K".
func sceneSize(n uint64) string {
	switch {
	case n > 0 && n%sceneK == 0:
		return fmt.Sprintf("%dK", n/sceneK)
	default:
		return strconv.FormatUint(n, 10)
	}
}
