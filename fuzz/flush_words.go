package fuzz

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
)

var flushOpNames = [...]string{
	model.CallFlush: "flush", model.CallPersist: "persist", model.CallDrain: "drain", model.CallDeepFlush: "deep flush",
}

var kindNames = [...]string{model.Anonymous: "anonymous memory", model.File: "a file", model.DeviceDAX: "device DAX"}

// extents are ranges in words.
func extents(all []model.Extent) string {
	if len(all) == 0 {
		return "nothing"
	}
	var words []string
	for _, e := range all {
		words = append(words, fmt.Sprintf("[%#x, +%#x)", e.Start, e.Size))
	}
	return strings.Join(words, ", ")
}

// words say what is tried.
func (t *flushTry) words() string {
	q := &t.q
	var b strings.Builder
	of := "the map"
	if q.OfSet != 0 {
		of = fmt.Sprintf("set %d, with", q.OfSet)
	}
	if q.Gone {
		of = "a map that is gone, like"
	}
	fmt.Fprintf(&b, "%s of %s by %s %s; maps:", flushOpNames[q.Op], extents([]model.Extent{q.Range}), of, extents([]model.Extent{q.Of.Taken}))
	for _, m := range q.Maps {
		fmt.Fprintf(&b, " %s of %s, %d bytes, %v;", extents([]model.Extent{m.Taken}), kindNames[m.Kind], m.Size, m.Granularity)
	}
	if q.FailingSync != 0 {
		fmt.Fprintf(&b, " msync %d answers %v;", q.FailingSync, q.SyncErrno)
	}
	fmt.Fprintf(&b, " sysfs answers %+v", q.Region)
	return b.String()
}
