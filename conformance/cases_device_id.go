package conformance

import (
	"fmt"
	"strings"
	"syscall"

	"pmemlab/emu"
)

// dimmIDs are as many DIMMs as there are identifiers.
func dimmIDs(ids ...string) emu.Region {
	var r emu.Region
	for _, id := range ids {
		r.DIMMs = append(r.DIMMs, emu.DIMM{ID: id})
	}
	return r
}

// onRegion calls f with a DAX file and with a device DAX, each on a region of that kind.
func onRegion(t *T, r emu.Region, f func(o Object, src Source, what string)) {
	o, _, src := t.DAXFileOn(t.Page(), r)
	f(o, src, "a DAX file")
	o, _, src = t.DeviceOn(r)
	f(o, src, "a device DAX")
}

// deviceIDCases checks pmem2_source_device_id(3).
func deviceIDCases() []Case {
	const page = "pmem2_source_device_id/"
	return []Case{{
		Name: page + "buffer-too-small",
		Rows: []string{page + "PMEM2_E_BUFFER_TOO_SMALL#1", page + "unmodified-on-failure"},
		Run: func(t *T) {
			const one, two = "8680-56341200", "8680-0a0b0c0d"
			onRegion(t, dimmIDs(one, two), func(_ Object, src Source, what string) {
				// Room for nothing, for less than the first, just that, and all but a byte.
				for _, size := range []int{0, 1, len(one) - 1, len(one), len(one) + 1, len(one) + len(two) - 1} {
					noDeviceIDInto(t, "PMEM2_E_BUFFER_TOO_SMALL", src, size, what)
				}
				checkDeviceID(t, src, one+two, what)
			})
		},
	}, {
		Name: page + "unmodified-on-failure",
		Rows: []string{page + "unmodified-on-failure"},
		Run: func(t *T) {
			r := dimmIDs("8680-00000001", "", "8680-00000003")
			r.DIMMs[1].NoID = true
			onRegion(t, r, func(_ Object, src Source, what string) {
				noDeviceID(t, "PMEM2_E_NOSUPP", src, what+" on three DIMMs, the second without an identifier")
			})
		},
	}, {
		Name:  page + "unmodified-when-sysfs-fails",
		Rows:  []string{page + "unmodified-on-failure"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, src Source, what string) {
				failSysfs(t, t.Storage(o).DIMMs[1]+"/nfit/id", syscall.EIO)
				noDeviceID(t, "-EIO", src, what+" on two DIMMs, the second unreadable")
			})
		},
	}, {
		Name:  page + "no-identifier",
		Rows:  []string{page + "PMEM2_E_NOSUPP#1"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			for _, r := range []emu.Region{
				{DIMMs: []emu.DIMM{{NoID: true}}},
				{DIMMs: []emu.DIMM{{}, {NoID: true}}},
				{DIMMs: []emu.DIMM{{NoID: true}, {}}},
				{Legacy: true}, // no DIMM at all
			} {
				onRegion(t, r, func(_ Object, src Source, what string) {
					noDeviceID(t, "PMEM2_E_NOSUPP", src, fmt.Sprintf("%s on %+v", what, r))
				})
			}
		},
	}, {
		Name: page + "anonymous",
		Rows: []string{page + "PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			for _, size := range []uint64{0, t.Page()} {
				noDeviceID(t, "PMEM2_E_NOSUPP", t.AnonSource(size), "anonymous memory")
			}
		},
	}, {
		Name: page + "fstat-fails",
		Rows: []string{page + "-errno#1"},
		Run: func(t *T) {
			// The first fstat is that of SourceFromFD.
			t.Lib = t.Inject("(EIO (And (Op fstat) (FromIndex 1)))")
			noDeviceID(t, "-EIO", t.Source(t.FileFD(t.Page())), "a file whose fstat fails")
		},
	}, {
		Name: page + "identifies-all-nvdimms",
		Rows: []string{page + "identifies-all-nvdimms", page + "zero-on-success"},
		Run: func(t *T) {
			for _, ids := range [][]string{
				{"8680-56341200"},
				{"8680-56341200", "8089-a2-1837-000019c4"},
				{"ffff-ff-ffff-ffffffff", "0000-00000000", "8680-56341200"}, // as the mappings are, not sorted
				{"8680-56341200", "8680-56341200"},                          // as faulty firmware has it
			} {
				onRegion(t, dimmIDs(ids...), func(_ Object, src Source, what string) {
					checkDeviceID(t, src, strings.Join(ids, ""), fmt.Sprintf("%s on %q", what, ids))
				})
			}
		},
	}, {
		Name:  page + "order-of-mappings",
		Rows:  []string{page + "identifies-all-nvdimms"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onRegion(t, dimmIDs("8680-00000001", "8680-00000002"), func(o Object, src Source, what string) {
				dir := t.Storage(o).Region
				checkDeviceID(t, src, "8680-000000018680-00000002", what)
				var texts [2]string
				for i := range texts {
					text, err := t.Machine().ReadAttr(fmt.Sprintf("%s/mapping%d", dir, i))
					t.suite(err, "read mapping%d", i)
					texts[i] = text
				}
				setSysfsPath(t, dir+"/mapping0", texts[1])
				setSysfsPath(t, dir+"/mapping1", texts[0])
				checkDeviceID(t, src, "8680-000000028680-00000001", what+" with its mappings the other way round")
				// The identifier is that of the DIMM, read each time.
				setSysfsPath(t, t.Storage(o).DIMMs[0]+"/nfit/id", "8680-0000000a\n")
				checkDeviceID(t, src, "8680-000000028680-0000000a", what+" with another DIMM in the slot")
			})
		},
	}, {
		Name: page + "null-buffer-gives-length",
		Rows: []string{page + "null-buffer-gives-length", page + "zero-on-success"},
		Run: func(t *T) {
			t.Note("types", "a length in Go counts no NUL at the end")
			onKnownRegion(t, func(_ Object, _ int, src Source, what string) {
				n, err := src.ReadDeviceID(nil)
				t.Must(err, "ReadDeviceID(no buffer) of %s", what)
				want := len(knownRegion.DIMMs[0].ID + knownRegion.DIMMs[1].ID)
				t.Check(n == want, "the length is %d, want %d", n, want)
				// It suffices, and a byte less doesn't.
				got, err := src.ReadDeviceID(make([]byte, n))
				t.Must(err, "ReadDeviceID(buffer of %d bytes)", n)
				t.Check(got == n, "the length is %d with a buffer, %d without", got, n)
				noDeviceIDInto(t, "PMEM2_E_BUFFER_TOO_SMALL", src, n-1, what)
			})
		},
	}, {
		Name: page + "more-devices-longer-id",
		Rows: []string{page + "more-devices-longer-id"},
		Run: func(t *T) {
			for _, make := range []func(r emu.Region) Source{
				func(r emu.Region) Source { _, _, src := t.DAXFileOn(t.Page(), r); return src },
				func(r emu.Region) Source { _, _, src := t.DeviceOn(r); return src },
			} {
				last := 0
				for _, dimms := range []int{1, 2, 3, 4, 31, 32} {
					var ids []string
					for i := range dimms {
						ids = append(ids, fmt.Sprintf("8089-a2-1837-%08x", i))
					}
					src := make(dimmIDs(ids...))
					n, err := src.ReadDeviceID(nil)
					t.Must(err, "ReadDeviceID(no buffer) on %d DIMMs", dimms)
					t.Note("length", "%d bytes on %d DIMMs", n, dimms)
					t.Check(n > last, "%d DIMMs have an identifier of %d bytes, fewer have %d", dimms, n, last)
					last = n
					checkDeviceID(t, src, strings.Join(ids, ""), fmt.Sprintf("a source on %d DIMMs", dimms))
				}
			}
		},
	}, {
		Name: page + "buffer-mode-stores-id",
		Rows: []string{page + "buffer-mode-stores-id", page + "(text)#1"},
		Run: func(t *T) {
			onKnownRegion(t, func(_ Object, _ int, src Source, what string) {
				want := knownRegion.DIMMs[0].ID + knownRegion.DIMMs[1].ID
				n, err := src.ReadDeviceID(nil)
				t.Must(err, "ReadDeviceID(no buffer) of %s", what)
				for _, fill := range []string{"\x00", "junk", want, "8680-\x00", "\xff"} {
					buf := []byte(strings.Repeat(fill, n))[:n]
					_, err := src.ReadDeviceID(buf)
					t.Must(err, "ReadDeviceID(buffer full of %q) of %s", fill, what)
					t.Check(string(buf) == want, "a buffer full of %q then holds %q, want %q", fill, buf, want)
				}
				checkDeviceID(t, src, want, what)
			})
		},
	}}
}
