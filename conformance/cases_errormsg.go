package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// errorCases are those of pmem2_errormsg(3) and pmem2_perror(3). The text of an error
// is what err.Error() returns.
func errorCases() []Case {
	const msg, perror = "pmem2_errormsg/", "pmem2_perror/"
	file := []Need{NeedFile, NeedReservation}
	return []Case{
		{
			Name:  msg + "every failure has a text",
			Rows:  []string{msg + "message-after-error"},
			Needs: file,
			Run:   errorsHaveTexts,
		},
		{
			Name:  msg + "device DAX, every failure has a text",
			Rows:  []string{msg + "message-after-error"},
			Needs: []Need{NeedDevDax},
			Run:   deviceErrorsHaveTexts,
		},
		{
			Name:  msg + "texts stay",
			Rows:  []string{msg + "(text)#1", msg + "never-cleared", msg + "later-calls-may-change-it"},
			Needs: file,
			Run:   errorTextsStay,
		},
		{
			Name:  msg + "many goroutines",
			Rows:  []string{msg + "thread-local", msg + "(text)#1"},
			Needs: file,
			Run:   errorsOfGoroutines,
		},
		{
			Name: msg + "no error, no text",
			Rows: []string{msg + "pointer-to-last-message"},
			Run:  errorAndItsText,
		},
		{
			Name:  msg + "text of an errno",
			Rows:  []string{msg + "errno-text-included"},
			Needs: []Need{NeedFaultInjection},
			Run:   errnoTexts,
		},
		{
			Name: perror + "prints",
			Rows: []string{perror + "(none)#1", perror + "writes-to-stderr", perror + "printf-format", perror + "colon-blank-message-newline"},
			Run:  perrorPrints,
		},
	}
}

// failure is a way to make a call fail.
type failure struct {
	name    string
	want    string
	tells   []string // each is in the text: what was wrong, which value
	provoke func(t *T) error
}

// failures are one for each code that ordinary files are enough for.
func failures(t *T) []failure {
	newMap := func(s mapSpec, size uint64) func(t *T) error {
		return func(t *T) error {
			_, err := t.Lib.NewMap(s.config(t), t.FileSource(size))
			return err
		}
	}
	config := func(set func(c PMem2Config) error) func(t *T) error {
		return func(t *T) error { return set(t.NewConfig()) }
	}
	second := func(_ any, err error) error { return err }
	all := []failure{
		{"NewMap without a granularity", "PMEM2_E_GRANULARITY_NOT_SET", []string{"granularity"}, func(t *T) error {
			return second(t.Lib.NewMap(t.NewConfig(), t.FileSource(4096)))
		}},
		{"NewMap of too much", "PMEM2_E_MAP_RANGE", []string{"1048576", "65536"}, newMap(mapSpec{length: 1 << 20}, 1<<16)},
		{"NewMap at an odd offset", "PMEM2_E_OFFSET_UNALIGNED", []string{"offset", "12345"}, newMap(mapSpec{offset: 12345}, 1<<20)},
		{"NewMap of an odd length", "PMEM2_E_LENGTH_UNALIGNED", []string{"length", "54321"}, newMap(mapSpec{length: 54321}, 1<<20)},
		{"NewMap of an empty file", "PMEM2_E_SOURCE_EMPTY", []string{"source"}, newMap(mapSpec{}, 0)},
		{"NewMap that wants BYTE", "PMEM2_E_GRANULARITY_NOT_SUPPORTED", []string{"granularity", "PAGE", "BYTE"},
			newMap(mapSpec{require: new(pmem2.GranularityByte)}, 1<<16)},
		{"NewMap of a file that is open for reading", "PMEM2_E_NO_ACCESS", []string{"access"}, func(t *T) error {
			src := t.Source(t.Open(t.made(t.Env.File(4096)), platform.ORdonly))
			return second(t.Lib.NewMap(t.Config(), src))
		}},
		{"NewMap where a map is", "PMEM2_E_MAPPING_EXISTS", []string{"taken"}, func(t *T) error {
			s, src := mapSpec{in: t.Reservation(0, 4*t.Page())}, t.FileSource(t.Page())
			t.MapAs(s, src)
			return second(t.Lib.NewMap(s.config(t), src))
		}},
		{"NewMap without a config", "-EINVAL", []string{"config"}, func(t *T) error {
			return second(t.Lib.NewMap(t.Lib.NilConfig(), t.FileSource(4096)))
		}},
		{"SetOffset", "PMEM2_E_OFFSET_OUT_OF_RANGE", []string{"offset", "9223372036854775808"},
			config(func(c PMem2Config) error { return c.SetOffset(1 << 63) })},
		{"SetProtection", "PMEM2_E_INVALID_PROT_FLAG", []string{"0x80"}, config(func(c PMem2Config) error { return c.SetProtection(0x80) })},
		{"SetSharing", "PMEM2_E_INVALID_SHARING_VALUE", []string{"777"}, config(func(c PMem2Config) error { return c.SetSharing(777) })},
		{"SetRequiredStoreGranularity", "PMEM2_E_GRANULARITY_NOT_SUPPORTED", []string{"ranularity", "777"},
			config(func(c PMem2Config) error { return c.SetRequiredStoreGranularity(777) })},
		{"SourceFromFD below 0", "PMEM2_E_INVALID_FILE_HANDLE", []string{"descriptor", "-7"}, func(t *T) error {
			return second(t.Lib.SourceFromFD(-7))
		}},
		{"SourceFromFD of a directory", "PMEM2_E_INVALID_FILE_TYPE", []string{"directory"}, func(t *T) error {
			return second(t.Lib.SourceFromFD(t.Open(t.made(t.Env.Directory()), platform.ORdonly)))
		}},
		{"FD of memory", "PMEM2_E_FILE_DESCRIPTOR_NOT_SET", []string{"descriptor"}, func(t *T) error {
			return second(t.AnonSource(4096).FD())
		}},
		{"ReadDeviceID of memory", "PMEM2_E_NOSUPP", []string{"anonymous"}, func(t *T) error {
			return second(t.AnonSource(4096).ReadDeviceID(nil))
		}},
		{"MapFromExisting over a map", "PMEM2_E_MAPPING_EXISTS", []string{"map"}, func(t *T) error {
			src := t.FileSource(t.Page())
			m := t.MapAs(mapSpec{}, src)
			return second(t.Lib.MapFromExisting(src, m.Address(), m.Size(), pmem2.GranularityPage))
		}},
		{"Delete again", "PMEM2_E_MAPPING_NOT_FOUND", []string{"deleted"}, func(t *T) error {
			m := t.MapAs(mapSpec{}, t.FileSource(t.Page()))
			t.Delete(m)
			return m.Delete()
		}},
		{"DeepFlushRange past the end", "PMEM2_E_DEEP_FLUSH_RANGE", []string{"131072"}, func(t *T) error {
			m := t.MapAs(mapSpec{}, t.FileSource(t.Page()))
			return m.DeepFlushRange(m.Address(), 1<<17)
		}},
		{"NewVMReservation of an odd size", "PMEM2_E_LENGTH_UNALIGNED", []string{"4097"}, func(t *T) error {
			return second(t.Lib.NewVMReservation(0, 4097))
		}},
		{"Delete of a reservation with a map", "PMEM2_E_VM_RESERVATION_NOT_EMPTY", []string{"reservation"}, func(t *T) error {
			r := t.Reservation(0, 4*t.Page())
			t.MapAs(mapSpec{in: r}, t.FileSource(t.Page()))
			return r.Delete()
		}},
		{"MapFindFirst of an empty reservation", "PMEM2_E_MAPPING_NOT_FOUND", []string{"map"}, func(t *T) error {
			return second(t.Reservation(0, 4*t.Page()).MapFindFirst())
		}},
		{"Memcpy with flags that exclude each other", "-EINVAL", []string{"0x6"}, func(t *T) error {
			m := t.MapAs(mapSpec{}, t.FileSource(t.Page()))
			return m.Memcpy(m.Bytes()[:8], make([]byte, 8), pmem2.MemNonTemporal|pmem2.MemTemporal)
		}},
	}
	if t.foreign() { // C's copies return no error
		all = all[:len(all)-1]
	}
	return all
}

// fail makes a failure happen and expects its text to fit.
func (f failure) fail(t *T) error {
	err := f.provoke(t)
	t.Expect(f.want, err, "%s", f.name)
	text := err.Error()
	t.Note("errormsg", "%s", text)
	t.Check(strings.TrimSpace(text) == text && text != "" && !strings.Contains(text, "\n"), "%s: the text is %q", f.name, text)
	if t.foreign() {
		return err // how it says so is its own
	}
	for _, word := range f.tells {
		t.Check(strings.Contains(text, word), "%s: the text is %q, which doesn't tell %q", f.name, text, word)
	}
	return err
}

func errorsHaveTexts(t *T) {
	t.Force("")
	texts := map[string]string{}
	for _, f := range failures(t) {
		text := f.fail(t).Error()
		t.Check(texts[text] == "", "%s and %s have the same text: %q", f.name, texts[text], text)
		texts[text] = f.name
	}
}

func deviceErrorsHaveTexts(t *T) {
	_, _, src := t.Device()
	m := t.MapAs(mapSpec{}, src)
	for _, f := range []failure{
		{"NewMap of a private device DAX", "PMEM2_E_SRC_DEVDAX_PRIVATE", []string{"DAX"}, func(t *T) error {
			_, err := t.Lib.NewMap(mapSpec{sharing: pmem2.Private}.config(t), src)
			return err
		}},
		{"ReadDeviceID into too little", "PMEM2_E_BUFFER_TOO_SMALL", []string{"1"}, func(*T) error {
			_, err := src.ReadDeviceID(make([]byte, 1))
			return err
		}},
		{"DeepFlushRange past the end", "PMEM2_E_DEEP_FLUSH_RANGE", []string{"1"}, func(*T) error {
			return m.DeepFlushRange(m.Address(), m.Size()+1)
		}},
		{"PreadMCSafe past the end", "PMEM2_E_LENGTH_OUT_OF_RANGE", []string{"2"}, func(t *T) error {
			size, err := src.Size()
			t.Must(err, "Size()")
			return src.PreadMCSafe(make([]byte, 2), size-1)
		}},
	} {
		if _, err := src.ReadDeviceID(nil); f.want == "PMEM2_E_BUFFER_TOO_SMALL" && t.Lib.Outcome(err) == "PMEM2_E_NOSUPP" {
			t.Note(f.name, "the device has no identifier")
			continue
		}
		_ = f.fail(t)
	}
}

func errorTextsStay(t *T) {
	t.Force("")
	type kept struct {
		name, text string
		err        error
	}
	var all []kept
	unchanged := func(after string) {
		for _, k := range all {
			t.Check(k.err.Error() == k.text, "after %s the text of %s is %q; it was %q", after, k.name, k.err.Error(), k.text)
		}
	}
	for _, f := range failures(t) {
		err := f.fail(t)
		unchanged(f.name)
		all = append(all, kept{f.name, strings.Clone(err.Error()), err})
		m := t.MapAs(mapSpec{}, t.FileSource(t.Page())) // succeeds
		t.Must(m.Persist(m.Bytes()), "Persist(the map)")
		t.Delete(m)
		unchanged("calls that succeed")
	}
	// What a text tells is what was so when the call failed, also if nobody looks at it
	// before something else is.
	fd := t.FileFD(1 << 16)
	c, src := t.Config(), t.Source(fd)
	t.Must(c.SetLength(1<<20), "SetLength(1 MiB)")
	_, tooMuch := t.Lib.NewMap(c, src)
	t.Must(c.SetLength(1<<12), "SetLength(4 KiB)")
	t.Truncate(fd, 1<<13)
	m := t.Map(c, src)
	outside := m.DeepFlushRange(m.Address(), 1<<17)
	addr := fmt.Sprintf("%#x", m.Address())
	t.Delete(m)
	t.Delete(c)
	t.Check(tooMuch != nil && outside != nil, "two failures are none: %v, %v", tooMuch, outside)
	t.Check(t.foreign() || strings.Contains(tooMuch.Error(), "1048576") && strings.Contains(tooMuch.Error(), "65536"),
		"the text of a failure with other values is now %q", tooMuch)
	t.Check(t.foreign() || strings.Contains(outside.Error(), "131072") && strings.Contains(outside.Error(), addr) && strings.Contains(outside.Error(), "4096"),
		"the text of a failure of a map that has gone is %q", outside)

	// A second failure of a kind tells of itself.
	c = t.NewConfig()
	first, again := c.SetProtection(0x10), c.SetProtection(0x20)
	saysFirst := strings.Contains(first.Error(), "0x10") || strings.Contains(first.Error(), "16")
	saysSecond := strings.Contains(again.Error(), "0x20") || strings.Contains(again.Error(), "32")
	t.Check(saysFirst && saysSecond && first.Error() != again.Error(),
		"two failures tell %q and %q", first, again)
}

// errorsOfGoroutines lets goroutines, on threads of their own, fail with values of
// their own at the same time.
func errorsOfGoroutines(t *T) {
	before := t.NewConfig().SetProtection(0x40)
	text := before.Error()
	const goroutines, times = 16, 200
	wrong, last := make([]string, goroutines), make([]error, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			runtime.LockOSThread() // and end with the thread
			cfg, err := t.Lib.NewConfig()
			if err != nil {
				wrong[i] = err.Error()
				return
			}
			value := uint32(i + 1)
			var first string
			for range times {
				err := cfg.SetProtection(pmem2.Prot(value))
				if err == nil {
					wrong[i] = "no error"
					return
				}
				last[i] = err
				if first == "" {
					first = err.Error()
				}
				if err.Error() != first || !strings.Contains(first, fmt.Sprintf("%#x", value)) && !strings.Contains(first, strconv.Itoa(int(value))) {
					wrong[i] = err.Error()
				}
			}
		})
	}
	wg.Wait()
	for i, w := range wrong {
		t.Check(w == "", "goroutine %d set a protection of %#x and was told %q", i, i+1, w)
		for _, other := range last[:i] { // also when all have failed
			t.Check(last[i].Error() != other.Error(), "goroutine %d set a protection of %#x and is told %q, as another one is", i, i+1, other)
		}
	}
	t.Check(before.Error() == text, "after failures elsewhere the text is %q; it was %q", before.Error(), text)
	t.Note("SetProtection in 16 goroutines", "each is told of its own value; the error made before still says: %s", before)
}

func errorAndItsText(t *T) {
	c := t.NewConfig()
	t.Must(c.SetOffset(0), "SetOffset(0), before any error")
	err := c.SetOffset(math.MaxUint64)
	t.Expect("PMEM2_E_OFFSET_OUT_OF_RANGE", err, "SetOffset(2^64-1)")
	t.Check(t.foreign() || strings.Contains(err.Error(), "18446744073709551615"), "the text is %q", err)
	t.Must(c.SetOffset(4096), "SetOffset(4096), after an error")
}

// errnoTexts expects the text of the operating system in that of an error.
func errnoTexts(t *T) {
	for _, e := range []struct {
		name  string
		errno syscall.Errno
	}{{"EPERM", syscall.EPERM}, {"EAGAIN", syscall.EAGAIN}, {"ENOMEM", syscall.ENOMEM}, {"ENODEV", syscall.ENODEV}} {
		src, err := t.Inject("(" + e.name + " (And (Op mmap) (FileBacked)))").SourceFromFD(t.FileFD(t.Page()))
		t.Must(err, "SourceFromFD()")
		_, err = t.Lib.NewMap(t.Config(), src)
		t.Expect("-"+e.name, err, "NewMap()")
		t.Note("errormsg", "%s", err)
		t.Check(strings.Contains(strings.ToLower(err.Error()), e.errno.Error()), "the text %q doesn't hold %q", err, e.errno.Error())
		t.Check(errors.Is(err, e.errno), "%v isn't %v", err, e.errno)
	}
}

const childPerror = "perror"

// perrorCalls are formats with their arguments, and what they make.
var perrorCalls = []struct {
	format string
	args   []any
	prefix string
}{
	{"abc %d %s", []any{5, "z"}, "abc 5 z"},
	{"plain", nil, "plain"},
	{"%s%%: %#x", []any{"100", 255}, "100%: 0xff"},
	{"", nil, ""},
	{"colons: and blanks ", nil, "colons: and blanks "},
}

// perrorInChild prints each of perrorCalls for two errors and for none, and returns
// their texts.
func perrorInChild(t *T, _ json.RawMessage) any {
	c := t.NewConfig()
	texts := []string{}
	for _, fail := range []func() error{ // each right before it is told: C's message is the last one
		func() error { return c.SetOffset(math.MaxUint64) }, func() error { return c.SetProtection(0x20) }, nil,
	} {
		var err error
		if fail != nil {
			err = fail()
			texts = append(texts, err.Error())
		}
		for _, p := range perrorCalls {
			t.Lib.Perror(err, p.format, p.args...)
		}
	}
	return texts
}

func perrorPrints(t *T) {
	var texts []string
	end := t.Child(childRun{Function: childPerror, Value: &texts})
	t.Check(end.Stdout == "", "on standard output there is %q", end.Stdout)
	lines := strings.SplitAfter(end.Stderr, "\n")
	n := len(perrorCalls)
	t.Check(len(lines) == 3*n+1 && lines[3*n] == "", "%d calls print %q", 3*n, lines)
	for i, text := range texts {
		for k, p := range perrorCalls {
			want := p.prefix + ": " + text + "\n"
			t.Check(lines[i*n+k] == want, "format %q prints %q, want %q", p.format, lines[i*n+k], want)
			t.Note("perror", "%s", strings.TrimSuffix(lines[i*n+k], "\n"))
		}
	}
	t.Check(!slices.Contains(texts, ""), "an error has no text")
	for k, p := range perrorCalls { // without an error there is still a line
		t.Check(strings.HasPrefix(lines[2*n+k], p.prefix+": "), "without an error format %q prints %q", p.format, lines[2*n+k])
	}
}
