package conformance

import (
	"math"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setPartCases are those of pmemset_part_new(3), and of what pmemset_part_map(3) does
// with the part.
func setPartCases() []Case {
	const page = "pmemset_part_new/"
	return []Case{{
		Name: page + "no source",
		Rows: []string{page + "(SIGSEGV)#1", page + "null-on-failure"},
		Run: func(t *T) {
			set := t.Set()
			_, deleted := t.SetFile(64 * kib)
			t.Delete(deleted)
			for _, none := range []SetSource{nil, t.Sets().NilSetSource(), deleted} {
				t.noPart("PMEMSET_E_INVALID_SOURCE_TYPE", set, none, "no source")
			}
			t.CheckParts(set)
		},
	}, {
		Name: page + "source-must-be-valid",
		Rows: []string{
			page + "source-must-be-valid", page + "PMEMSET_E_INVALID_SOURCE_PATH#1", page + "null-on-failure", page + "zero-or-negative",
		},
		Run: setPartOfGoneFile,
	}, {
		Name: page + "creates-part-for-set",
		Rows: []string{page + "creates-part-for-set", page + "object-through-pointer", page + "zero-or-negative"},
		Run:  setPartCreates,
	}, {
		Name: page + "delete",
		Rows: []string{"pmemset_part_delete/frees-and-nulls", "pmemset_part_delete/always-zero"},
		Run:  setPartDelete,
	}, {
		Name: setPartPage + "consumes-part-on-success",
		Rows: []string{setPartPage + "(text)#1", setPartPage + "consumes-part-on-success"},
		Run:  setPartConsumed,
	}}
}

// SetPart is a part of a source, not mapped yet.
func (t *T) SetPart(set Set, src SetSource, offset, length uint64) Part {
	part, err := t.Sets().NewPart(set, src, offset, length)
	t.Must(err, "NewPart(offset %#x, length %#x)", offset, length)
	t.Check(part != nil, "NewPart succeeds and returns no part")
	t.deleteAtEnd(part)
	return part
}

// noPart expects NewPart to fail and to return no part.
func (t *T) noPart(want string, set Set, src SetSource, what string) {
	part, err := t.Sets().NewPart(set, src, 0, 64*kib)
	if part != nil {
		t.deleteAtEnd(part)
	}
	t.Expect(want, err, "NewPart(%s)", what)
	t.Check(t.Sets().Errno(err) > 0, "the errno of the error is %d", t.Sets().Errno(err))
	t.Check(part == nil, "NewPart fails and returns a part all the same")
}

// setPartOfGoneFile: the path of a source is looked at again.
func setPartOfGoneFile(t *T) {
	path, file := t.SetFile(64 * kib)
	other, another := t.SetFile(64 * kib)
	_, temporary := t.TemporarySetSource()
	own := t.FileSource(64 * kib)
	ownSet := t.SetSourceOf(own)
	set := t.Set()
	for _, src := range []SetSource{file, another, temporary, ownSet} {
		t.SetPart(set, src, 0, 64*kib)
	}
	before := t.SetPart(set, file, 0, 64*kib)
	t.suite(t.Machine().Unlink(path), "unlink %s", path)
	t.noPart("PMEMSET_E_INVALID_SOURCE_PATH", set, file, "a source whose file was unlinked")
	t.Must(own.Delete(), "Delete() of libpmem2's source")
	t.noPart("PMEMSET_E_INVALID_PMEM2_SOURCE", set, ownSet, "a source of one of libpmem2's that was deleted")
	t.CheckParts(set)
	// It concerns that file, and parts that aren't made yet.
	t.SetPart(set, another, 0, 64*kib)
	d, err := before.Map()
	t.Must(err, "Map() of a part made before its file was unlinked")
	t.CheckParts(set, d)
	t.CheckFileSize(other, 64*kib, "at the end")
}

// setPartCreates: a part remembers what it is given, and nothing more happens.
func setPartCreates(t *T) {
	src, fd, content := t.patternSetFile(256*kib, 5)
	set, events := t.SetWithEvents()
	another := t.Set()
	values := []uint64{0, 1, 100, t.Page(), mib, 1<<63 - 1, 1 << 63, math.MaxUint64}
	for _, offset := range values {
		for _, length := range values {
			t.SetPart(set, src, offset, length)
		}
	}
	first, second := t.SetPart(set, src, 64*kib, 96*kib), t.SetPart(another, src, 0, 32*kib)
	t.CheckParts(set)
	t.CheckParts(another)
	checkUnmapped(t, fd)
	t.Events(set, events)
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat")
	t.Check(st.Size == 256*kib, "the file has %d bytes", st.Size)

	b, err := second.Map()
	t.Must(err, "Map() of the second part")
	checkPart(t, b, content[:32*kib], "the second part")
	t.CheckParts(another, b)
	t.CheckParts(set)
	a, err := first.Map()
	t.Must(err, "Map() of the first part")
	checkPart(t, a, content[64*kib:160*kib], "the first part")
	t.CheckParts(set, a)
	t.CheckParts(another, b)
}

func setPartDelete(t *T) {
	src, fd, content := t.patternSetFile(64*kib, 5)
	set := t.Set()
	part, kept := t.SetPart(set, src, 0, 64*kib), t.SetPart(set, src, 0, 64*kib)
	t.Delete(part)
	t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
	_, err := part.Map()
	t.Expect("-EINVAL", err, "Map() of the deleted part")
	t.Must(part.Delete(), "Delete() again")
	for range 2 {
		t.Must(t.Sets().NilPart().Delete(), "Delete() of no part")
	}
	t.CheckParts(set)
	checkUnmapped(t, fd)
	// Set, source and the other part are as they were.
	d, err := kept.Map()
	t.Must(err, "Map() of the other part")
	checkPart(t, d, content, "the other part")
	t.Must(kept.Delete(), "Delete() of a part that was mapped")
	t.CheckParts(set, d)
	checkPart(t, d, content, "the other part")
}

// setPartConsumed: a failure leaves the part to be mapped again or deleted, a success
// leaves nothing of it.
func setPartConsumed(t *T) {
	path, src := t.SetFile(64 * kib)
	fd := t.Open(t.FileAt(path), platform.ORdwr)
	set := t.Set()
	part := t.SetPart(set, src, 64*kib, 64*kib)
	for range 3 {
		d, err := part.Map()
		t.Expect("PMEMSET_E_INVALID_PMEM2_MAP", err, "Map() behind the end of the file")
		t.Check(d == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(d))
	}
	t.CheckParts(set)
	t.Truncate(fd, 128*kib)
	d, err := part.Map()
	t.Must(err, "Map() when the file is larger")
	for range 2 {
		again, err := part.Map()
		t.Expect("-EINVAL", err, "Map() of a part that was mapped")
		t.Check(again == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(again))
	}
	t.Must(part.Delete(), "Delete() of a part that was mapped")
	t.CheckParts(set, d)
	_, err = t.Sets().NilPart().Map()
	t.Expect("-EINVAL", err, "Map() of no part")

	// What failed can be deleted too, and then not be mapped.
	bad := t.SetPart(set, src, 0, 100)
	_, err = bad.Map()
	t.Expect("PMEMSET_E_LENGTH_UNALIGNED", err, "Map() of 100 bytes")
	t.Delete(bad)
	_, err = bad.Map()
	t.Expect("-EINVAL", err, "Map() of the deleted part")
	t.CheckParts(set, d)
}
