package conformance

import (
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// setErrorCases are those of pmemset_errormsg(3) and pmemset_perror(3). The text of an
// error is what err.Error() returns.
func setErrorCases() []Case {
	const msg, perror = "pmemset_errormsg/", "pmemset_perror/"
	file := []Need{NeedFile, NeedReservation}
	return []Case{{
		Name:  msg + "every failure has a text",
		Rows:  []string{msg + "message-after-error", msg + "(none)#1"},
		Needs: file,
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				texts := map[string]string{}
				for _, f := range setFailures(g) {
					text := f.fail(t).Error()
					t.Check(texts[text] == "", "%s and %s have the same text: %q", f.name, texts[text], text)
					texts[text] = f.name
				}
			})
		},
	}, {
		Name:  msg + "what libpmem2 says",
		Rows:  []string{msg + "message-after-error"},
		Needs: []Need{NeedFaultInjection},
		Run:   setErrorHasCause,
	}, {
		Name:  msg + "state of a source",
		Rows:  []string{msg + "message-after-error"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				f := failure{"mapping a corrupted source", undesirable, []string{"state", "CORRUPTED", "OK|OK_BUT_ALREADY_OPEN"}, func(t *T) error {
					_, err := t.Set().Map(r.source(r.sds(3, 1), nil), nil)
					return err
				}}
				_ = f.fail(t)
			})
		},
	}, {
		Name:  msg + "texts stay",
		Rows:  []string{msg + "never-cleared", msg + "later-calls-may-change-it", msg + "(none)#1"},
		Needs: file,
		Run:   setErrorTextsStay,
	}, {
		Name:  msg + "many goroutines",
		Rows:  []string{msg + "thread-local"},
		Needs: file,
		Run:   setErrorsOfGoroutines,
	}, {
		Name:  msg + "no error, no text",
		Rows:  []string{msg + "pointer-to-last-message"},
		Needs: file,
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				_, src := t.SetFile(64 * kib)
				set := t.Set()
				t.SetMap(g, set, src, 0, 64*kib) // before any error
				for _, length := range []uint64{100, 5000, 12345} {
					_, err := g.Map(t, set, src, 0, length)
					t.Expect("PMEMSET_E_LENGTH_UNALIGNED", err, "%s", mapCall(g, 0, length))
					t.Check(strings.Contains(err.Error(), strconv.FormatUint(length, 10)), "the text of the last failure is %q", err)
					t.SetMap(g, set, src, 0, 64*kib) // after one
				}
			})
		},
	}, {
		Name: msg + "text of an errno",
		Rows: []string{msg + "errno-text-included"},
		Run:  setErrnoTexts,
	}, {
		Name: perror + "prints",
		Rows: []string{perror + "(none)#1", perror + "writes-to-stderr", perror + "printf-format", perror + "colon-blank-message-newline"},
		Run:  setPerrorPrints,
	}}
}

// setFailures are one for each code that ordinary files are enough for.
func setFailures(g Generation) []failure {
	mapping := func(name, want string, tells []string, size, offset, length uint64) failure {
		return failure{name, want, tells, func(t *T) error {
			path, _ := t.SetFile(size)
			_, err := g.Map(t, t.Set(), t.XSetSource(path, g.Fixed()), offset, length)
			return err
		}}
	}
	second := func(_ any, err error) error { return err }
	all := []failure{
		{"NewSet without a granularity", "PMEMSET_E_GRANULARITY_NOT_SET", []string{"granularity"}, func(t *T) error {
			return second(t.Sets().NewSet(t.NewSetConfig()))
		}},
		{"SetRequiredStoreGranularity", "PMEMSET_E_GRANULARITY_NOT_SUPPORTED", []string{"ranularity", "777"}, func(t *T) error {
			return t.NewSetConfig().SetRequiredStoreGranularity(777)
		}},
		{"SetAcceptableStates", "PMEMSET_E_INVALID_PART_STATES", []string{"0x42"}, func(t *T) error {
			return t.NewSetConfig().SetAcceptableStates(0x42)
		}},
		{"SetContiguousPartCoalescing", "PMEMSET_E_INVALID_COALESCING_VALUE", []string{"777"}, func(t *T) error {
			return t.Set().SetContiguousPartCoalescing(777)
		}},
		{"StoreGranularity of an empty set", "PMEMSET_E_NO_PART_MAPPED", []string{"part"}, func(t *T) error {
			return second(t.Set().StoreGranularity())
		}},
		{"PartMapByAddress", "PMEMSET_E_CANNOT_FIND_PART_MAP", []string{"0x999"}, func(t *T) error {
			return second(t.Set().PartMapByAddress(0x999))
		}},
		{"RemoveRange of nothing", "PMEMSET_E_CANNOT_FIND_PART_MAP", []string{"0x1000", "8191"}, func(t *T) error {
			return t.Set().RemoveRange(4096, 8191)
		}},
		{"RemovePartMap of another set's", "PMEMSET_E_PART_NOT_FOUND", []string{"another set"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			owner := t.Set()
			d := t.SetMap(g, owner, src, 0, 64*kib)
			return t.Set().RemovePartMap(t.at(owner, d.Addr))
		}},
		{"RemovePartMap with two references", useAfterDrop, []string{"2 references"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			set := t.Set()
			d := t.SetMap(g, set, src, 0, 64*kib)
			t.at(set, d.Addr)
			return set.RemovePartMap(t.at(set, d.Addr))
		}},
		{"SetOffset", "PMEMSET_E_OFFSET_OUT_OF_RANGE", []string{"offset", "9223372036854775808"}, func(t *T) error {
			return t.MapConfig(t.Set(), 0, 0).SetOffset(1 << 63)
		}},
		{"SetSDS again", "PMEMSET_E_SDS_ALREADY_SET", []string{"shutdown data"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			t.Must(src.SetSDS(pmemset.SDS{}, nil), "SetSDS()")
			return src.SetSDS(pmemset.SDS{}, nil)
		}},
		{"XSourceFromFile with unknown flags", "PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS", []string{"0x80"}, func(t *T) error {
			return second(t.Sets().XSourceFromFile(t.FreshPath(), 0x80))
		}},
		{"SourceFromFile of no file", "PMEMSET_E_INVALID_SOURCE_PATH", []string{"/new"}, func(t *T) error {
			return second(t.Sets().SourceFromFile(t.FreshPath()))
		}},
		{"SourceFromTemporary in no directory", "PMEMSET_E_INVALID_SOURCE_PATH", []string{"/new/none"}, func(t *T) error {
			return second(t.Sets().SourceFromTemporary(t.FreshPath() + "/none"))
		}},
		{"SourceFromPMem2 of memory", "PMEMSET_E_INVALID_PMEM2_SOURCE", []string{"source"}, func(t *T) error {
			return second(t.Sets().SourceFromPMem2(t.AnonSource(4096)))
		}},
		{"PreadMCSafe past the end", "PMEMSET_E_LENGTH_OUT_OF_RANGE", []string{"65536"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			return src.PreadMCSafe(make([]byte, 2), 64*kib-1)
		}},
		mapping("mapping of an odd length", "PMEMSET_E_LENGTH_UNALIGNED", []string{"length", "54321"}, mib, 0, 54321),
		mapping("mapping at an odd offset", "PMEMSET_E_INVALID_PMEM2_MAP", []string{"offset", "12345"}, mib, 12345, 64*kib),
		{"mapping that can't be coalesced", "PMEMSET_E_CANNOT_COALESCE_PARTS", []string{"previous", "65536"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			r := t.Reservation(0, mib)
			set := t.Set(t.SetConfigIn(r))
			t.Coalesce(set, pmemset.CoalescingFull)
			t.SetMap(g, set, src, 0, 64*kib)
			t.MapAs(mapSpec{in: r, at: 64 * kib}, t.FileSource(64*kib))
			return second(g.Map(t, set, src, 0, 64*kib))
		}},
		{"mapping where there is no room", "PMEMSET_E_CANNOT_FIT_PART_MAP", []string{"reservation", "131072", "196608"}, func(t *T) error {
			_, src := t.SetFile(192 * kib)
			return second(g.Map(t, t.Set(t.SetConfigIn(t.Reservation(0, 128*kib))), src, 0, 192*kib))
		}},
		{"mapping of another granularity", "PMEMSET_E_GRANULARITY_MISMATCH", []string{"granularity", "PAGE", "CACHE_LINE"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			set := t.Set()
			t.Force("PAGE")
			t.SetMap(g, set, src, 0, 64*kib)
			t.Force("CACHE_LINE")
			defer t.Force("")
			return second(g.Map(t, set, src, 0, 64*kib))
		}},
	}
	if g == PartsAPI {
		return append(all, failure{
			"mapping at an offset of 2^63", "PMEMSET_E_INVALID_OFFSET_VALUE", []string{"offset", "9223372036854775808"},
			func(t *T) error {
				_, src := t.SetFile(64 * kib)
				return second(g.Map(t, t.Set(), src, 1<<63, 64*kib))
			},
		}, mapping("mapping past the end", "PMEMSET_E_INVALID_PMEM2_MAP", []string{"65536", "131072"}, 64*kib, 0, 128*kib))
	}
	all = append(all, failure{"mapping of no source", "PMEMSET_E_INVALID_SOURCE_TYPE", []string{"source"}, func(t *T) error {
		return second(g.Map(t, t.Set(), t.Sets().NilSetSource(), 0, 0))
	}})
	if g == MapAPI {
		return append(all, mapping("mapping past the end", "PMEMSET_E_INVALID_PMEM2_MAP", []string{"65536", "131072"}, 64*kib, 0, 128*kib))
	}
	return append(all,
		mapping("mapping past the end", "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL", []string{"65536", "131072"}, 64*kib, 0, 128*kib),
		mapping("mapping of an empty file", "PMEMSET_E_MAP_LENGTH_UNSET", []string{"length"}, 0, 0, 0),
		failure{"mapping that can't grow the file", "PMEMSET_E_CANNOT_GROW_SOURCE_FILE", []string{"65536", "18446744073709547520"}, func(t *T) error {
			_, src := t.SetFile(64 * kib)
			return second(g.Map(t, t.Set(), src, 0, math.MaxUint64-4095))
		}})
}

// setErrorHasCause has libpmem2 fail below: what it says is told, in words.
func setErrorHasCause(t *T) {
	t.EachGeneration(func(g Generation) {
		for _, e := range []struct {
			name  string
			errno syscall.Errno
		}{{"EPERM", syscall.EPERM}, {"EAGAIN", syscall.EAGAIN}, {"ENODEV", syscall.ENODEV}} {
			path, _ := t.SetFile(64 * kib)
			src, err := t.Inject("(" + e.name + " (And (Op mmap) (FileBacked)))").Sets().SourceFromFile(path)
			src = t.gotSetSource(src, err, "SourceFromFile()")
			_, err = g.Map(t, t.Set(), src, 0, 64*kib)
			t.Expect("PMEMSET_E_INVALID_PMEM2_MAP", err, "%s", mapCall(g, 0, 64*kib))
			t.Note("errormsg", "%s", err)
			t.Check(strings.Contains(err.Error(), e.errno.Error()), "the text %q doesn't hold %q", err, e.errno.Error())
			t.Check(errors.Is(err, e.errno), "%v isn't %v", err, e.errno)
		}
		_, src := t.SetFile(64 * kib)
		t.Force("PAGE")
		defer t.Force("")
		cfg := t.NewSetConfig()
		t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
		_, err := g.Map(t, t.Set(cfg), src, 0, 64*kib)
		t.Expect("PMEMSET_E_INVALID_PMEM2_MAP", err, "%s", mapCall(g, 0, 64*kib))
		t.Note("errormsg", "%s", err)
		t.Check(strings.Contains(err.Error(), pmem2.ErrGranularityNotSupported.Error()), "the text %q doesn't hold %q", err, pmem2.ErrGranularityNotSupported.Error())
	})
}

func setErrorTextsStay(t *T) {
	type kept struct {
		name, text string
		err        error
	}
	t.EachGeneration(func(g Generation) {
		var all []kept
		unchanged := func(after string) {
			for _, k := range all {
				t.Check(k.err.Error() == k.text, "after %s the text of %s is %q; it was %q", after, k.name, k.err.Error(), k.text)
			}
		}
		for _, f := range setFailures(g) {
			err := f.fail(t)
			unchanged(f.name)
			all = append(all, kept{f.name, strings.Clone(err.Error()), err})
			_, src := t.SetFile(64 * kib)
			set := t.Set()
			d := t.SetMap(g, set, src, 0, 64*kib) // succeeds
			t.Must(set.Persist(d.Bytes()), "Persist(the part)")
			t.Delete(set)
			unchanged("calls that succeed")
		}
		// What a text tells is what was so when the call failed, also if nobody looks at
		// it before something else is.
		r := t.Reservation(0, 128*kib)
		_, src := t.SetFile(192 * kib)
		set := t.Set(t.SetConfigIn(r))
		_, tooMuch := g.Map(t, set, src, 0, 192*kib)
		d := t.SetMap(g, set, src, 0, 64*kib)
		m := t.at(set, d.Addr)
		held := set.RemoveRange(d.Addr, 1)
		m.Drop()
		t.Delete(set)
		t.Must(r.Extend(mib), "Extend() of the reservation")
		t.Check(strings.Contains(tooMuch.Error(), "131072") && strings.Contains(tooMuch.Error(), "196608"), "the text of a failure with other values is now %q", tooMuch)
		t.Check(strings.Contains(held.Error(), "1 reference") && strings.Contains(held.Error(), "65536"), "the text of a failure about a part map that has gone is %q", held)

		// A second failure of a kind tells of itself.
		first, again := set.RemoveRange(4096, 11), t.Set().RemoveRange(8192, 12)
		t.Check(first.Error() != again.Error() && strings.Contains(again.Error(), "0x2000") && !strings.Contains(again.Error(), "0x1000"),
			"two failures tell %q and %q", first, again)
	})
}

// setErrorsOfGoroutines lets goroutines, on threads of their own, fail with values of
// their own at the same time, and on one set.
func setErrorsOfGoroutines(t *T) {
	const goroutines, times = 16, 100
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		set := t.Set()
		t.SetMap(g, set, src, 0, 64*kib)
		_, before := set.PartMapByAddress(0x40)
		text := before.Error()
		wrong, last := make([]string, goroutines), make([]error, goroutines)
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				runtime.LockOSThread() // and end with the thread
				addr := uintptr(0x1000 + i)
				first := ""
				for range times {
					_, err := set.PartMapByAddress(addr)
					if err == nil {
						wrong[i] = "no error"
						return
					}
					last[i] = err
					if first == "" {
						first = err.Error()
					}
					if err.Error() != first || !strings.Contains(first, "0x"+strconv.FormatUint(uint64(addr), 16)) {
						wrong[i] = err.Error()
					}
				}
			})
		}
		wg.Wait()
		for i, w := range wrong {
			t.Check(w == "", "goroutine %d looked for %#x and was told %q", i, 0x1000+i, w)
			for _, other := range last[:i] { // also when all have failed
				t.Check(last[i].Error() != other.Error(), "goroutine %d looked for %#x and is told %q, as another one is", i, 0x1000+i, other)
			}
		}
		t.Check(before.Error() == text, "after failures elsewhere the text is %q; it was %q", before.Error(), text)
		t.Note("PartMapByAddress in 16 goroutines", "each is told of its own value; the error made before still says: %s", before)
	})
}

// setErrnoTexts expects the text of the operating system in that of an error.
func setErrnoTexts(t *T) {
	t.EachGeneration(func(g Generation) {
		directory := t.made(t.Env.Directory()).Path()
		below, _ := t.SetFile(64 * kib)
		for _, e := range []struct {
			call  string
			want  string
			errno syscall.Errno
			f     func() (SetSource, error)
		}{
			{"XSourceFromFile(no file)", "-ENOENT", syscall.ENOENT, func() (SetSource, error) {
				return t.Sets().XSourceFromFile(directory+"/none", g.Fixed()|g.Growing())
			}},
			{"SourceFromFile(a directory)", "-EISDIR", syscall.EISDIR, func() (SetSource, error) {
				return t.Sets().SourceFromFile(directory)
			}},
			{"SourceFromFile(below a file)", "-ENOTDIR", syscall.ENOTDIR, func() (SetSource, error) {
				return t.Sets().SourceFromFile(below + "/x")
			}},
		} {
			src, err := e.f()
			t.gotNoSetSource(e.want, src, err, e.call)
			t.Note("errormsg", "%s", err)
			t.Check(strings.HasSuffix(err.Error(), e.errno.Error()), "the text %q doesn't end with %q", err, e.errno.Error())
			t.Check(errors.Is(err, e.errno), "%v isn't %v", err, e.errno)
		}
	})
}

const childSetPerror = "perror of a set"

// setPerrorInChild prints each of perrorCalls for two errors, in each generation, and
// returns their texts.
func setPerrorInChild(t *T, _ json.RawMessage) any {
	var texts []string
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		set := t.Set()
		_, odd := g.Map(t, set, src, 0, 54321)
		_, nothing := set.PartMapByAddress(0x999)
		for _, err := range []error{odd, nothing} {
			texts = append(texts, err.Error())
			for _, p := range perrorCalls {
				t.Sets().Perror(err, p.format, p.args...)
			}
		}
	})
	return texts
}

func setPerrorPrints(t *T) {
	var texts []string
	end := t.Child(childRun{Function: childSetPerror, Value: &texts})
	t.Check(end.Stdout == "", "on standard output there is %q", end.Stdout)
	lines := strings.SplitAfter(end.Stderr, "\n")
	n := len(perrorCalls)
	t.Check(len(texts) == 6 && !slices.Contains(texts, ""), "the texts are %q", texts)
	t.Check(len(lines) == len(texts)*n+1 && lines[len(texts)*n] == "", "%d calls print %q", len(texts)*n, lines)
	for i, text := range texts {
		for k, p := range perrorCalls {
			want := p.prefix + ": " + text + "\n"
			t.Check(lines[i*n+k] == want, "format %q prints %q, want %q", p.format, lines[i*n+k], want)
			t.Note("perror", "%s", strings.TrimSuffix(lines[i*n+k], "\n"))
		}
	}
}
