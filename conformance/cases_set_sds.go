package conformance

import (
	"fmt"
	"reflect"
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// undesirable is what mapping a source fails with whose state isn't acceptable.
const undesirable = "PMEMSET_E_UNDESIRABLE_PART_STATE"

const (
	sdsPart  = daxAlign        // what is mapped of an sdsRegion
	junk     = 99              // what a state variable holds before
	otherID  = "8680-00000001" // of a device that isn't there
	allState = pmemset.PartStateIndeterminate | pmemset.PartStateOK | pmemset.PartStateOKButAlreadyOpen |
		pmemset.PartStateOKButInterrupted | pmemset.PartStateCorrupted
)

// sdsRegion is a DAX file or a device DAX, with what its NVDIMMs say.
type sdsRegion struct {
	t  *T
	o  Object
	id string
}

// onSDSRegion calls f with a DAX file and with a device DAX, each on a knownRegion of
// its own.
func onSDSRegion(t *T, f func(r *sdsRegion)) {
	f(sdsFile(t, knownRegion))
	o, _, src := t.DeviceOn(knownRegion)
	t.Note("source", "a device DAX")
	f(&sdsRegion{t, o, deviceID(t, src)})
}

// sdsFile is a DAX file on a region of that kind.
func sdsFile(t *T, r emu.Region) *sdsRegion {
	t.Force("")
	o, _, src := t.DAXFileOn(4*sdsPart, r)
	t.Note("source", "a DAX file")
	return &sdsRegion{t, o, deviceID(t, src)}
}

// deviceID is the identifier of the device under a source of libpmem2.
func deviceID(t *T, src Source) string {
	n, err := src.ReadDeviceID(nil)
	t.mustQuietly(err, "ReadDeviceID(no buffer)")
	id := make([]byte, n)
	_, err = src.ReadDeviceID(id)
	t.mustQuietly(err, "ReadDeviceID()")
	return string(id)
}

// sdsOf is an SDS with that content.
func sdsOf(id string, usc uint64, refs int32) (s pmemset.SDS) {
	copy(s.ID[:], id)
	s.USC, s.RefCount = usc, refs
	return s
}

func sdsText(s pmemset.SDS) string {
	n := 0
	for n < len(s.ID) && s.ID[n] != 0 {
		n++
	}
	return fmt.Sprintf("{id %q, usc %d, ref %d}", s.ID[:n], s.USC, s.RefCount)
}

// sds is one that was stored when the region's device was in use.
func (r *sdsRegion) sds(usc uint64, refs int32) pmemset.SDS { return sdsOf(r.id, usc, refs) }

// plain is a new source of the region's file or device, without an SDS.
func (r *sdsRegion) plain() SetSource { return r.t.SetSource(r.o.Path()) }

// source is a new source with an SDS.
func (r *sdsRegion) source(s pmemset.SDS, state *pmemset.PartState) SetSource {
	src := r.plain()
	r.t.Must(src.SetSDS(s, state), "SetSDS(%s)", sdsText(s))
	return src
}

// accepts expects mapping to find a state and to succeed. state may be nil.
func (r *sdsRegion) accepts(set Set, src SetSource, state *pmemset.PartState, want pmemset.PartState) pmemset.PartDescriptor {
	if state != nil {
		*state = junk
	}
	d := r.t.SetMap(Release112, set, src, 0, sdsPart)
	r.checkState(state, want)
	return d
}

// refuses expects mapping to find a state and to fail because of it.
func (r *sdsRegion) refuses(set Set, src SetSource, state *pmemset.PartState, want pmemset.PartState) {
	if state != nil {
		*state = junk
	}
	r.t.NoSetMap(undesirable, Release112, set, src, 0, sdsPart)
	r.checkState(state, want)
}

func (r *sdsRegion) checkState(state *pmemset.PartState, want pmemset.PartState) {
	if state != nil {
		r.t.Note("state", "%d, %v", uint64(*state), *state)
		r.t.Check(*state == want, "the state is %d (%v), want %d (%v)", uint64(*state), *state, uint64(want), want)
	}
}

// setOf is a set that accepts these states, and what it tells.
func (r *sdsRegion) setOf(states pmemset.PartState) (Set, *SetEvents) {
	cfg := r.t.SetConfig()
	r.t.Must(cfg.SetAcceptableStates(states), "SetAcceptableStates(%v)", states)
	return r.t.SetWithEvents(cfg)
}

// lastSDS is what a program would have stored: what the last SDS_UPDATE brought. No
// other event is left then.
func lastSDS(t *T, r *SetEvents) (s pmemset.SDS) {
	found := false
	for _, e := range r.Take() {
		if e.SDS != nil {
			s, found = *e.SDS, true
		}
	}
	t.Check(found, "there was no SDS_UPDATE")
	t.Note("stored", "%s", sdsText(s))
	return s
}

// setSDSCases are those of pmemset_source_set_sds(3).
func setSDSCases() []Case {
	const page = "pmemset_source_set_sds/"
	return []Case{{
		Name: page + "already set",
		Rows: []string{page + "PMEMSET_E_SDS_ALREADY_SET#1", page + "zero-on-success", page + "initialise-macro"},
		Run: func(t *T) {
			_, file := t.SetFile(64 * kib)
			_, temporary := t.TemporarySetSource()
			for _, src := range []SetSource{file, temporary, t.SetSourceOf(t.FileSource(64 * kib))} {
				var state pmemset.PartState = junk
				t.Must(src.SetSDS(pmemset.SDS{}, &state), "SetSDS(a fresh one)")
				for _, s := range []pmemset.SDS{{}, sdsOf(otherID, 1, 0)} {
					t.Expect("PMEMSET_E_SDS_ALREADY_SET", src.SetSDS(s, nil), "SetSDS(%s) again", sdsText(s))
				}
				t.Check(state == junk, "SetSDS writes the state %d", state)
			}
		},
	}, {
		Name:  page + "the first one stays",
		Rows:  []string{page + "PMEMSET_E_SDS_ALREADY_SET#1", page + "stores-sds"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				var first, second pmemset.PartState = junk, junk
				src := r.source(r.sds(knownUSC, 1), &first)
				t.Expect("PMEMSET_E_SDS_ALREADY_SET", src.SetSDS(pmemset.SDS{}, &second), "SetSDS() again")
				r.refuses(t.Set(), src, &first, pmemset.PartStateOKButInterrupted)
				t.Check(second == junk, "the second variable has the state %d", second)
			})
		},
	}, {
		Name: page + "constants and fields",
		Rows: []string{page + "(text)#1", page + "state-constants", page + "id-length-512", page + "initialise-macro"},
		Run:  sdsConstants,
	}, {
		Name:  page + "id-length-512",
		Rows:  []string{page + "id-length-512"},
		Needs: []Need{NeedDIMM},
		Run:   sdsLongID,
	}, {
		Name: page + "stores-sds",
		Rows: []string{page + "stores-sds"},
		Run:  sdsIsCopied,
	}, {
		Name:  page + "a fresh SDS",
		Rows:  []string{page + "initialise-macro"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				var state pmemset.PartState
				set, events := r.setOf(pmemset.PartStateOK)
				r.accepts(set, r.source(pmemset.SDS{}, &state), &state, pmemset.PartStateOK)
				got := lastSDS(t, events)
				t.Check(got == r.sds(knownUSC, 1), "the first SDS is %s, want the device's %s", sdsText(got), sdsText(r.sds(knownUSC, 1)))
			})
		},
	}, {
		Name: page + "later-sds-from-event",
		Rows: []string{page + "later-sds-from-event"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				stored := pmemset.SDS{}
				for range 3 { // runs of a program, each of which ends well
					var state pmemset.PartState
					src := r.source(stored, &state)
					set, events := t.SetWithEvents()
					d := r.accepts(set, src, &state, pmemset.PartStateOK)
					events.Name("A", d.Addr)
					got := t.Events(set, events, "PART_ADD A 2M", "SDS_UPDATE usc 12 ref 1")
					t.Check(got[1].Source == src, "SDS_UPDATE comes with another source than that which was mapped")
					t.Check(*got[1].SDS == r.sds(knownUSC, 1), "SDS_UPDATE brings %s", sdsText(*got[1].SDS))
					t.Delete(set)
					stored = lastSDS(t, events)
					t.Check(stored == r.sds(knownUSC, 0), "after a clean end the SDS is %s", sdsText(stored))
					t.Delete(src)
				}
			})
		},
	}, {
		Name: page + "state-returned-at-map",
		Rows: []string{page + "state-returned-at-map", page + "every-mapping-of-source-supported"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				var state pmemset.PartState = junk
				src := r.source(pmemset.SDS{}, &state)
				t.Check(state == junk, "SetSDS writes the state %d", state)
				one, other := t.Set(), t.Set()
				r.accepts(one, src, &state, 2)
				for range 2 { // whichever set it is mapped into
					r.accepts(one, src, &state, 4)
					r.accepts(other, src, &state, 4)
				}
				t.Delete(one)
				r.accepts(other, src, &state, 4)
				t.Delete(other)
				r.accepts(t.Set(), src, &state, 2)
				r.accepts(t.Set(), r.source(pmemset.SDS{}, nil), nil, 0)
			})
		},
	}, {
		Name: page + "needs-smart-hardware",
		Rows: []string{page + "needs-smart-hardware"},
		Run:  sdsUnsupported,
	}, {
		Name:  page + "needs-smart-hardware, NVDIMMs without counts",
		Rows:  []string{page + "needs-smart-hardware"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			for _, region := range []emu.Region{
				{Legacy: true},
				{DIMMs: []emu.DIMM{{NoDirtyShutdown: true}}},
				{DIMMs: []emu.DIMM{{DirtyShutdowns: 5}, {NoDirtyShutdown: true}}},
				{DIMMs: []emu.DIMM{{NoID: true}}},
			} {
				o, _, _ := t.DAXFileOn(sdsPart, region)
				t.Note("NVDIMMs", "%+v", region)
				sdsNotSupported(t, t.SetSource(o.Path()))
			}
		},
	}}
}

func sdsConstants(t *T) {
	for i, state := range []pmemset.PartState{
		pmemset.PartStateIndeterminate, pmemset.PartStateOK, pmemset.PartStateOKButAlreadyOpen,
		pmemset.PartStateOKButInterrupted, pmemset.PartStateCorrupted,
	} {
		t.Note("state", "%v is %d", state, uint64(state))
		t.Check(state == 1<<i, "state %v is %d, want %d", state, uint64(state), 1<<i)
	}
	var fresh pmemset.SDS
	t.Check(len(fresh.ID) == 513, "the identifier has room for %d bytes, want 512 and a zero", len(fresh.ID))
	// A program stores the struct as it is: the layout is that of C.
	layout := reflect.TypeFor[pmemset.SDS]()
	for name, want := range map[string]uintptr{"ID": 0, "USC": 520, "RefCount": 528} {
		f, ok := layout.FieldByName(name)
		t.Check(ok && f.Offset == want, "field %s is at offset %d, want %d", name, f.Offset, want)
	}
	t.Check(layout.Size() == 536, "the struct has %d bytes, want 536", layout.Size())
	t.Check(fresh == sdsOf("", 0, 0), "a fresh SDS is %s", sdsText(fresh))
	_, src := t.SetFile(64 * kib)
	t.Must(src.SetSDS(fresh, nil), "SetSDS(a fresh one)")
}

// sdsLongID has devices whose NVDIMMs have identifiers of 13 and of 21 bytes.
func sdsLongID(t *T) {
	const short, long = "8680-56341200", "8089-a2-1837-000019c4"
	for _, c := range []struct{ shorts, longs int }{{20, 12}, {12, 17}, {0, 32}} {
		n := len(short)*c.shorts + len(long)*c.longs
		var region emu.Region
		for i := range c.shorts + c.longs {
			id := short
			if i < c.longs {
				id = long
			}
			region.DIMMs = append(region.DIMMs, emu.DIMM{ID: id, DirtyShutdowns: 1})
		}
		r := sdsFile(t, region)
		if len(r.id) != n {
			t.Brokenf("the identifier of the device has %d bytes, want %d", len(r.id), n)
		}
		var state pmemset.PartState
		src := r.source(pmemset.SDS{}, &state)
		set, events := t.SetWithEvents()
		if n <= 512 {
			r.accepts(set, src, &state, pmemset.PartStateOK)
			got := lastSDS(t, events)
			t.Check(string(got.ID[:n]) == r.id && got.ID[n] == 0, "the identifier of %d bytes became %q", n, got.ID)
			// All of it counts, the last byte too.
			stored := got
			stored.ID[n-1]++
			r.refuses(t.Set(), r.source(stored, &state), &state, pmemset.PartStateIndeterminate)
			continue
		}
		state = junk
		t.NoSetMap("PMEMSET_E_SDS_DEVICE_ID_LEN_TOO_BIG", Release112, set, src, 0, sdsPart)
		t.Check(state == junk, "the state of an identifier of %d bytes is %d", n, state)
		t.Events(set, events)
	}
}

// sdsIsCopied changes the program's SDS, and those that the events bring, everywhere.
func sdsIsCopied(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		var state pmemset.PartState
		own := r.sds(knownUSC-1, 0)
		src := r.source(own, &state)
		own.ID, own.USC, own.RefCount = [513]byte{'x'}, 77, 5
		set, events := t.SetWithEvents()
		cfg := t.SetConfig()
		var seen []string
		t.Must(cfg.SetEventCallback(func(e SetEvent) error {
			if e.SDS != nil {
				seen = append(seen, sdsText(*e.SDS))
				*e.SDS = sdsOf("junk", 1, 9)
			}
			return nil
		}), "SetEventCallback()")
		scribbling := t.Set(cfg)
		r.accepts(set, src, &state, pmemset.PartStateOK)
		r.accepts(scribbling, src, &state, pmemset.PartStateOKButAlreadyOpen)
		t.Check(own == sdsOf("x", 77, 5), "the program's own SDS has become %s", sdsText(own))
		r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		t.Delete(scribbling)
		t.Delete(set)
		want := []string{sdsText(r.sds(knownUSC, 2)), sdsText(r.sds(knownUSC, 2))}
		t.Check(reflect.DeepEqual(seen, want), "the callback was told %q, want %q", seen, want)
		got := lastSDS(t, events)
		t.Check(got == r.sds(knownUSC, 0), "in the end the SDS is %s", sdsText(got))

		// What is stored counts, field by field.
		for _, c := range []struct {
			stored pmemset.SDS
			want   pmemset.PartState
		}{
			{r.sds(knownUSC, 0), pmemset.PartStateOK},
			{r.sds(knownUSC, 1), pmemset.PartStateOKButInterrupted},
			{r.sds(knownUSC+1, 1), pmemset.PartStateCorrupted},
			{sdsOf(otherID, knownUSC, 1), pmemset.PartStateIndeterminate},
		} {
			set, _ := r.setOf(c.want)
			r.accepts(set, r.source(c.stored, &state), &state, c.want)
		}
	})
}

// sdsNotSupported expects mapping a source with an SDS to fail, and without one not to.
func sdsNotSupported(t *T, src SetSource) {
	var state pmemset.PartState = junk
	cfg := t.SetConfig()
	t.Must(cfg.SetAcceptableStates(allState), "SetAcceptableStates(all)")
	set, events := t.SetWithEvents(cfg)
	t.SetMap(Release112, set, src, 0, t.Page())
	events.Take()
	t.Must(src.SetSDS(pmemset.SDS{}, &state), "SetSDS()") // whether it works is found out later
	t.NoSetMap("PMEMSET_E_SDS_NOSUPP", Release112, set, src, 0, t.Page())
	t.Check(state == junk, "the state is %d although there is none", state)
	t.Events(set, events)
	t.Delete(set)
	t.Events(set, events)
}

// sdsUnsupported maps sources of storage that is no persistent memory.
func sdsUnsupported(t *T) {
	file := t.made(t.Env.OrdinaryFile(64 * kib))
	sdsNotSupported(t, t.SetSource(file.Path()))
	fd := t.Open(file, platform.ORdwr)
	sdsNotSupported(t, t.SetSourceOf(t.Source(fd)))
}

// unreadable calls f while an attribute of a DIMM can't be read, for each DIMM.
func (r *sdsRegion) unreadable(attr string, f func()) {
	for _, dimm := range r.t.Storage(r.o).DIMMs {
		failSysfs(r.t, dimm+attr, syscall.EIO)
		f()
		repairSysfs(r.t, dimm+attr)
	}
}
