package conformance

import (
	"fmt"
	"strconv"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// shutdownRecord is what a program keeps beside its data to find out about unsafe
// shutdowns, as libpmem2_unsafe_shutdown(7) has it. It is stored with the data: moving
// the file moves the record.
type shutdownRecord struct {
	deviceID string
	usc      uint64
	inUse    bool // set while the data is being worked on
}

// The verdicts on a record at the next start.
const (
	startsClean     = "clean"       // nothing has happened to the data
	startsUnsafe    = "unsafe"      // an unsafe shutdown while it was in use
	startsElsewhere = "moved"       // the counts are those of another device
	startsUnknowing = "unsupported" // the platform doesn't tell
)

// take asks the source for what a record holds; supported is false where the platform
// doesn't tell. Any other failure ends the case.
func (r *shutdownRecord) take(t *T, src Source) (supported bool) {
	n, err := src.ReadDeviceID(nil)
	if t.Lib.Outcome(err) == "PMEM2_E_NOSUPP" {
		t.Expect("PMEM2_E_NOSUPP", err, "ReadDeviceID(no buffer)")
		_, err := src.DeviceUSC()
		t.Expect("PMEM2_E_NOSUPP", err, "DeviceUSC()")
		return false
	}
	t.Must(err, "ReadDeviceID(no buffer)")
	id := make([]byte, n)
	_, err = src.ReadDeviceID(id)
	t.Must(err, "ReadDeviceID(buffer of %d bytes)", n)
	usc, err := src.DeviceUSC()
	t.Must(err, "DeviceUSC()")
	t.Note("the device", "id %q, count %d", id, usc)
	r.deviceID, r.usc = string(id), usc
	return true
}

// start compares the record with the source, as a program does before it looks at its
// data, and brings it up to date.
func (r *shutdownRecord) start(t *T, src Source) (verdict string) {
	now := *r
	switch {
	case !now.take(t, src):
		verdict = startsUnknowing
	case now.deviceID != r.deviceID:
		verdict = startsElsewhere
	case now.usc != r.usc && r.inUse:
		verdict = startsUnsafe
	default:
		verdict = startsClean
	}
	t.Note("start", "%s (the record: %+v)", verdict, *r)
	now.inUse = true
	*r = now
	return verdict
}

// starts expects a verdict.
func (r *shutdownRecord) starts(t *T, src Source, want string) {
	got := r.start(t, src)
	t.Check(got == want, "the start is %s, want %s", got, want)
}

// stop is an orderly end of the work.
func (r *shutdownRecord) stop() { r.inUse = false }

// raise makes the count of a DIMM rise by n, as a failed flush on power failure does.
func raise(t *T, dimm string, n int64) {
	attr := dimm + "/nfit/dirty_shutdown"
	text, err := t.Machine().ReadAttr(attr)
	t.suite(err, "read %s", attr)
	var count int64
	_, err = fmt.Sscan(text, &count)
	t.suite(err, "%s says %q", attr, text)
	setSysfsPath(t, attr, strconv.FormatInt(count+n, 10)+"\n")
}

// copyTo copies a file, byte by byte: how a file is moved to another file system.
func copyTo(t *T, from, to int, n uint64) { t.WriteFile(to, 0, t.ReadFile(from, 0, n)) }

// unsafeShutdownCases checks libpmem2_unsafe_shutdown(7).
func unsafeShutdownCases() []Case {
	const page = "libpmem2_unsafe_shutdown/"
	return []Case{{
		Name:  page + "usc-increases",
		Rows:  []string{page + "usc-increases-when-that-fails"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				want := uint64(knownUSC)
				dimms := t.Storage(o).DIMMs
				checkDeviceUSC(t, src, want, what)
				checkDeviceUSC(t, src, want, what) // asking is no shutdown
				m := t.MapAs(mapSpec{}, src)
				copy(m.Bytes(), "work")
				t.Must(m.Persist(m.Bytes()[:4]), "Persist(4 bytes)")
				t.Delete(m)
				checkDeviceUSC(t, src, want, what) // nor is work
				for i, dimm := range []string{dimms[0], dimms[1], dimms[1], dimms[0]} {
					raise(t, dimm, 1)
					want++
					checkDeviceUSC(t, src, want, fmt.Sprintf("%s after unsafe shutdown %d", what, i+1))
				}
				raise(t, dimms[0], 1) // both at once, in one power failure
				raise(t, dimms[1], 1)
				checkDeviceUSC(t, src, want+2, what)
			})
		},
	}, {
		Name:  page + "change-of-usc-detects",
		Rows:  []string{page + "change-of-usc-detects"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, _ string) {
				var r shutdownRecord
				r.starts(t, src, startsElsewhere) // a new record knows no device
				r.stop()
				for range 2 { // shutdowns that went well
					r.starts(t, src, startsClean)
					r.stop()
				}
				for _, dimm := range t.Storage(o).DIMMs {
					r.starts(t, src, startsClean)
					raise(t, dimm, 1) // in the middle of the work
					r.starts(t, src, startsUnsafe)
					r.stop()
				}
				// The power fails in the middle, and the hardware survives it.
				r.starts(t, src, startsClean)
				r.starts(t, src, startsClean)
			})
		},
	}, {
		Name:  page + "moving-file",
		Rows:  []string{page + "moving-file-gives-false-positive", page + "device-id-detects-move"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			size := t.Page()
			_, here, src := t.DAXFileOn(size, emu.Region{DIMMs: []emu.DIMM{{ID: "8680-00000001", DirtyShutdowns: 5}}})
			content := pattern(size, 1)
			t.WriteFile(here, 0, content)
			var r shutdownRecord
			r.take(t, src)
			r.inUse = true

			o, there, moved := t.DAXFileOn(size, emu.Region{DIMMs: []emu.DIMM{{ID: "8680-00000002", DirtyShutdowns: 9}}})
			copyTo(t, here, there, size)
			t.Note("the file", "copied to another file system, on other DIMMs")
			checkFile(t, there, 0, content, "the file that was moved")
			byCountAlone, err := moved.DeviceUSC()
			t.Must(err, "DeviceUSC() of the moved file")
			t.Check(byCountAlone != r.usc, "the count is %d before and behind the move", r.usc)
			t.Note("by the count alone", "%d is no longer %d: an unsafe shutdown that there was none of", byCountAlone, r.usc)
			r.starts(t, moved, startsElsewhere)
			t.Check(r.usc == 9 && r.deviceID == "8680-00000002", "the record isn't that of the new device: %+v", r)
			r.starts(t, moved, startsClean)
			raise(t, t.Storage(o).DIMMs[0], 1)
			r.starts(t, moved, startsUnsafe)
		},
	}, {
		Name:  page + "moving-file-hides-nothing",
		Rows:  []string{page + "device-id-detects-move"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			// The same count on both sides: only the identifier tells.
			count := emu.DIMM{ID: "8680-00000001", DirtyShutdowns: 5}
			_, _, here := t.DAXFileOn(t.Page(), emu.Region{DIMMs: []emu.DIMM{count, {ID: "8680-0000000a", DirtyShutdowns: 2}}})
			var r shutdownRecord
			r.take(t, here)
			r.inUse = true
			for _, dimms := range [][]emu.DIMM{
				{{ID: "8680-00000002", DirtyShutdowns: 7}},                                           // another DIMM
				{{ID: "8680-00000001", DirtyShutdowns: 7}},                                           // fewer
				{{ID: "8680-0000000a", DirtyShutdowns: 2}, {ID: "8680-00000001", DirtyShutdowns: 5}}, // the other way round
			} {
				_, _, there := t.DAXFileOn(t.Page(), emu.Region{DIMMs: dimms})
				record := r
				record.starts(t, there, startsElsewhere)
			}
			record := r
			record.starts(t, here, startsClean)
			// Two files of one file system, and a device DAX on the same DIMMs.
			_, _, device := t.DeviceOn(emu.Region{DIMMs: []emu.DIMM{count, {ID: "8680-0000000a", DirtyShutdowns: 2}}})
			record = r
			record.starts(t, device, startsClean)
		},
	}, {
		Name:  page + "unused-file",
		Rows:  []string{page + "unused-file-gives-false-positive"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, _ string) {
				dimms := t.Storage(o).DIMMs
				var r shutdownRecord
				r.starts(t, src, startsElsewhere)
				r.stop()
				raise(t, dimms[0], 3) // while nobody uses the file
				byCountAlone, err := src.DeviceUSC()
				t.Must(err, "DeviceUSC()")
				t.Check(byCountAlone != r.usc, "the count hasn't changed")
				t.Note("by the count alone", "%d is no longer %d: an unsafe shutdown that did no harm", byCountAlone, r.usc)
				r.starts(t, src, startsClean)
				t.Check(r.usc == knownUSC+3, "the record has the count %d, want the new one", r.usc)
				raise(t, dimms[1], 1) // now it is in use
				r.starts(t, src, startsUnsafe)
			})
		},
	}, {
		Name: page + "nosupp-must-be-tolerated",
		Rows: []string{page + "nosupp-must-be-tolerated"},
		Run: func(t *T) {
			size := 2 * t.Page()
			fd := t.OrdinaryFD(size)
			src := t.Source(fd)
			var r shutdownRecord
			for range 2 {
				r.starts(t, src, startsUnknowing)
			}
			// All else works.
			checkSize(t, src, size, "the file")
			m := t.MapAs(mapSpec{}, src)
			copy(m.Bytes(), "work")
			t.Must(m.Persist(m.Bytes()[:4]), "Persist(4 bytes)")
			flushDeep(t, m, m.Address(), 4)
			checkFile(t, fd, 0, []byte("work"), "the file")
			checkNoNext(t, t.BadBlocks(src))
			p := make([]byte, 4)
			t.Must(src.PreadMCSafe(p, 0), "PreadMCSafe(4 bytes at 0)")
			checkBytes(t, p, []byte("work"), "what was read")
		},
	}, {
		Name:  page + "firmware without counts",
		Rows:  []string{page + "nosupp-must-be-tolerated"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			for _, r := range []emu.Region{
				{DIMMs: []emu.DIMM{{NoDirtyShutdown: true, NoID: true}}}, {Legacy: true},
			} {
				o := t.made(t.Env.DAXFileOn(t.Page(), r))
				src := t.Source(t.Open(o, platform.ORdwr))
				var record shutdownRecord
				record.starts(t, src, startsUnknowing)
				m := t.MapAs(mapSpec{require: new(pmem2.GranularityCacheLine)}, src)
				copy(m.Bytes(), "work")
				t.Must(m.Persist(m.Bytes()[:4]), "Persist(4 bytes)")
			}
		},
	}}
}
