package conformance

import (
	"strings"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

const (
	knownID       = "8680-56341200" + "8089-a2-1837-000019c4" // of knownRegion
	interrupted   = pmemset.PartStateOKButInterrupted
	corrupted     = pmemset.PartStateCorrupted
	indeterminate = pmemset.PartStateIndeterminate
)

// sdsSource is a source of an object with a shutdown data state, and the variable that
// mapping stores the part state in.
func (t *T) sdsSource(o Object, sds pmemset.SDS) (SetSource, *pmemset.PartState) {
	src := t.SetSource(o.Path())
	state := new(pmemset.PartState(junk))
	t.Must(src.SetSDS(sds, state), "SetSDS(usc %d, ref %d)", sds.USC, sds.RefCount)
	return src, state
}

// acceptingConfig takes any granularity and sources of those states.
func (t *T) acceptingConfig(states pmemset.PartState) SetConfig {
	cfg := t.SetConfig()
	t.Must(cfg.SetAcceptableStates(states), "SetAcceptableStates(%#x)", uint64(states))
	return cfg
}

// checkState expects the variable of a source to hold a state.
func checkState(t *T, state *pmemset.PartState, want pmemset.PartState) {
	t.Note("the part state", "%d", *state)
	t.Check(*state == want, "the part state is %d, want %d", *state, want)
}

// onKnownStorage calls f with a DAX file and with a device DAX on DIMMs, and a length
// that can be mapped of each.
func onKnownStorage(t *T, f func(o Object, length uint64)) {
	o, _, _ := t.DAXFileOn(64*kib, knownRegion)
	f(o, 64*kib)
	o, _, _ = t.DeviceOn(knownRegion)
	f(o, daxAlign)
}

// setMapShutdownCases checks what mapping does with a shutdown data state.
func setMapShutdownCases() []Case {
	return []Case{
		setMapCase("no shutdown data", setMapNoShutdownData, newMap, "PMEMSET_E_SDS_NOSUPP#1"),
		setMapCase("no shutdown data of DIMMs", setMapNoDIMMData, newMap, "PMEMSET_E_SDS_NOSUPP#1").needing(NeedDIMM),
		setMapCase("long device id", setMapLongDeviceID, newMap, "PMEMSET_E_SDS_DEVICE_ID_LEN_TOO_BIG#1"),
		setMapCase("undesirable state", setMapUndesirable, newMap, "PMEMSET_E_UNDESIRABLE_PART_STATE#1"),
		setMapCase("sds-evaluated-and-compared", setMapComparesState, newMap, "sds-evaluated-and-compared"),
	}
}

func setMapNoShutdownData(t *T, g Generation) {
	o := t.made(t.Env.OrdinaryFile(64 * kib))
	set, events := t.SetWithEvents(t.acceptingConfig(allState))
	for _, sds := range []pmemset.SDS{{}, sdsOf("", 0, 1), sdsOf(knownID, knownUSC, 1)} {
		src, state := t.sdsSource(o, sds)
		t.NoSetMap("PMEMSET_E_SDS_NOSUPP", g, set, src, 0, 64*kib)
		t.NoSetMap("PMEMSET_E_SDS_NOSUPP", g, set, src, 0, 128*kib)
		checkState(t, state, junk)
		t.CheckFileSize(o.Path(), 64*kib, "after the failures")
	}
	own := t.SetSourceOf(t.Source(t.Open(o, platform.ORdwr)))
	t.Must(own.SetSDS(pmemset.SDS{}, nil), "SetSDS() without a variable for the state")
	t.NoSetMap("PMEMSET_E_SDS_NOSUPP", g, set, own, 0, 64*kib)
	t.CheckParts(set)
	t.Events(set, events)
	// The file itself can be mapped.
	t.SetMap(g, set, t.SetSource(o.Path()), 0, 64*kib)
}

func setMapNoDIMMData(t *T, g Generation) {
	for _, r := range []emu.Region{
		{Legacy: true},
		{DIMMs: []emu.DIMM{{DirtyShutdowns: 5}, {NoDirtyShutdown: true}}},
		{DIMMs: []emu.DIMM{{NoID: true}, {}}},
	} {
		o, _, _ := t.DAXFileOn(64*kib, r)
		src, state := t.sdsSource(o, pmemset.SDS{})
		set := t.Set()
		t.NoSetMap("PMEMSET_E_SDS_NOSUPP", g, set, src, 0, 64*kib)
		checkState(t, state, junk)
	}
}

// setMapLongDeviceID has DIMMs with identifiers of 512 bytes together, and of 513.
func setMapLongDeviceID(t *T, g Generation) {
	const long, short = "8089-a2-1837-000019c4", "8680-56341200" // 21 and 13 bytes
	of := func(longs, shorts int) (ids []string) {
		for range longs {
			ids = append(ids, long)
		}
		for range shorts {
			ids = append(ids, short)
		}
		return ids
	}
	for _, c := range []struct {
		ids []string
		fit bool
	}{{of(12, 20), true}, {of(17, 12), false}, {of(32, 0), false}} {
		onRegion(t, dimmIDs(c.ids...), func(o Object, _ Source, what string) {
			id := strings.Join(c.ids, "")
			t.Note("device", "%s with an identifier of %d bytes", what, len(id))
			length := t.Page()
			if what != "a DAX file" {
				length = daxAlign
			}
			src, state := t.sdsSource(o, pmemset.SDS{})
			set, events := t.SetWithEvents()
			if !c.fit {
				t.NoSetMap("PMEMSET_E_SDS_DEVICE_ID_LEN_TOO_BIG", g, set, src, 0, length)
				checkState(t, state, junk)
				t.Events(set, events)
				return
			}
			t.SetMap(g, set, src, 0, length)
			checkState(t, state, pmemset.PartStateOK)
			told := events.Take()
			t.Check(len(told) == 2 && told[1].SDS != nil && *told[1].SDS == sdsOf(id, 0, 1), "the events are %+v", told)
		})
	}
}

// undesirables are what a program may have stored of knownRegion, and the state that
// follows, if that isn't OK.
var undesirables = []struct {
	sds  pmemset.SDS
	want pmemset.PartState
}{
	{sdsOf(knownID, knownUSC, 1), interrupted},
	{sdsOf(knownID, knownUSC, 7), interrupted},
	{sdsOf(knownID, knownUSC-1, 1), corrupted},
	{sdsOf(knownID, knownUSC+1, 1), corrupted},
	{sdsOf(knownID, 0, 2), corrupted},
	{sdsOf("8680-56341200", knownUSC, 1), indeterminate},
	{sdsOf(knownID+"0", knownUSC, 1), indeterminate},
	{sdsOf("", 0, 1), indeterminate},
	{sdsOf("8680-56341201", knownUSC-1, 1), indeterminate},
}

func setMapUndesirable(t *T, g Generation) {
	onKnownStorage(t, func(o Object, length uint64) {
		set, events := t.SetWithEvents()
		for _, c := range undesirables {
			src, state := t.sdsSource(o, c.sds)
			for range 2 { // a refusal changes nothing
				*state = junk
				t.NoSetMap(undesirable, g, set, src, 0, length)
				checkState(t, state, c.want)
			}
			src = t.SetSource(o.Path())
			t.Must(src.SetSDS(c.sds, nil), "SetSDS() without a variable for the state")
			t.NoSetMap(undesirable, g, set, src, 0, length)
		}
		t.CheckParts(set)
		t.Events(set, events)
	})
}

// setMapComparesState: the set says which states are acceptable, and the comparison
// comes before everything else.
func setMapComparesState(t *T, g Generation) {
	onKnownStorage(t, func(o Object, length uint64) {
		for _, c := range undesirables {
			src, state := t.sdsSource(o, c.sds)
			refusing, events := t.SetWithEvents(t.acceptingConfig(allState &^ c.want))
			t.NoSetMap(undesirable, g, refusing, src, 0, length)
			t.Events(refusing, events)
			*state = junk
			accepting, events := t.SetWithEvents(t.acceptingConfig(c.want))
			d := t.SetMap(g, accepting, src, 0, length)
			checkState(t, state, c.want)
			told := events.Take()
			after := c.sds
			after.RefCount++
			t.Check(len(told) == 2 && told[0].Type == pmemset.EventPartAdd && told[0].Addr == d.Addr &&
				told[1].SDS != nil && *told[1].SDS == after, "the events are %+v", told)
			t.Delete(accepting)
		}
		// Fresh data are OK, which not every set accepts.
		for _, states := range []pmemset.PartState{0, allState &^ pmemset.PartStateOK} {
			src, state := t.sdsSource(o, pmemset.SDS{})
			t.NoSetMap(undesirable, g, t.Set(t.acceptingConfig(states)), src, 0, length)
			checkState(t, state, pmemset.PartStateOK)
		}
		src, state := t.sdsSource(o, pmemset.SDS{})
		set := t.Set()
		d := t.SetMap(g, set, src, 0, length)
		checkState(t, state, pmemset.PartStateOK)
		t.SetMap(g, set, src, 0, length)
		checkState(t, state, pmemset.PartStateOKButAlreadyOpen)
		t.Must(set.RemoveRange(d.Addr, 1), "RemoveRange()")
	})
	// Neither the file's size nor what else is wrong is looked at before.
	o, _, _ := t.DAXFileOn(64*kib, knownRegion)
	src, state := t.sdsSource(o, sdsOf(knownID, knownUSC, 1))
	set, events := t.SetWithEvents()
	for _, r := range []struct{ offset, length uint64 }{{0, 128 * kib}, {100, 100}, {64 * kib, 0}, {1 << 62, 1 << 62}} {
		*state = junk
		t.NoSetMap(undesirable, g, set, src, r.offset, r.length)
		checkState(t, state, interrupted)
	}
	t.CheckFileSize(o.Path(), 64*kib, "after the failures")
	t.Events(set, events)
}
