package fuzz

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"pmemlab/emu/trace"
)

// validTrace is the text of a trace with everything in it.
func validTrace() []byte {
	log := trace.Log{
		Objects: []trace.Object{
			{Name: "/dev/dax0.0", Size: 4 << 20, Unit: 64, Addr: 0x7f0000000000, MapLen: 4 << 20},
			{Name: "/mnt/pmem1/file", Size: 10000, Unit: 512, Addr: 0x7f0000800000, MapLen: 8192, MapOff: 4096},
		},
		Events: []trace.Event{
			{Seq: 1, Kind: trace.Store, G: 7, Addr: 0x7f0000000040, Len: 4, Off: 64, Data: []byte{1, 2, 3, 4}, Callers: []trace.Frame{{File: "a.go", Line: 3}}},
			{Seq: 2, Kind: trace.CLWB, G: 7, Addr: 0x7f0000000040, Len: 64, Off: 64},
			{Seq: 2, Kind: trace.Fence, G: 7, Object: -1},
			{Seq: 5, Kind: trace.Fsync, Object: 1, Len: 8192, Text: "é"},
		},
		Dropped: 3,
		Guilty:  []trace.Guilty{{Object: 0, Off: 64, Len: 64, Seq: 2, Title: "lost", Text: "a line"}},
	}
	var b bytes.Buffer
	if err := log.WriteJSON(&b); err != nil {
		panic(err) // it is valid
	}
	return b.Bytes()
}

// readTrace reads a text, and holds that what was read is the same when it is written and
// read again, and can be told in every other form.
func readTrace(text []byte) (*trace.Log, error) {
	log, err := trace.ReadJSON(bytes.NewReader(text))
	if err != nil {
		if log != nil || !strings.HasPrefix(err.Error(), "trace: line ") {
			return nil, fmt.Errorf("got %v and %w, want an error with a line alone", log, err)
		}
		return nil, nil
	}
	var b bytes.Buffer
	if err := log.WriteJSON(&b); err != nil {
		return nil, fmt.Errorf("what was read can't be written: %w", err)
	}
	again, err := trace.ReadJSON(bytes.NewReader(b.Bytes()))
	if err != nil || !reflect.DeepEqual(again, log) {
		return nil, fmt.Errorf("%w: got %+v, %w, want %+v", errDiffers, again, err, log)
	}
	log.Windows()
	b.Reset()
	_ = log.WritePmemcheck(&b) // not everything has a form there
	if len(text)%64 == 0 {     // which takes long
		b.Reset()
		if err := log.WriteHTML(&b, "t"); err != nil {
			return nil, fmt.Errorf("page: %w", err)
		}
	}
	return log, nil
}

// runTrace edits a trace anywhere.
func (i *filesInstance) runTrace(input []byte) (bool, error) {
	b := i.edited(i.trace, input)
	log, err := readTrace(b)
	if err == nil && log != nil {
		// Every line is one value, and nothing else.
		for line := range bytes.Lines(b) {
			if !json.Valid(line) {
				err = fmt.Errorf("the line %q is accepted", line)
			}
		}
	}
	if err != nil {
		err = fmt.Errorf("%q: %w", b, err)
	}
	return log != nil, err
}

// traceHead is the first line of a trace in an input.
type traceHead struct {
	Version, Objects, Unit, Guilty byte
	Size, Off, Length              Number
}

// Layout is how it lies in bytes.
func (h *traceHead) Layout(c *Codec) {
	for _, p := range []*byte{&h.Version, &h.Objects, &h.Unit, &h.Guilty} {
		c.Byte(p)
	}
	for _, p := range []*Number{&h.Size, &h.Off, &h.Length} {
		c.Number(p)
	}
}

// traceEvent is another line.
type traceEvent struct {
	Kind, Seq, Object, Data byte
	Off, Length             Number
}

// Layout is how it lies in bytes.
func (e *traceEvent) Layout(c *Codec) {
	for _, p := range []*byte{&e.Kind, &e.Seq, &e.Object, &e.Data} {
		c.Byte(p)
	}
	c.Number(&e.Off)
	c.Number(&e.Length)
}

// traceEnd is how far a range in an object may reach.
const traceEnd = 1 << 63

// runEvents makes a trace, and knows whether it is one.
func (i *filesInstance) runEvents(input []byte) (bool, error) {
	var h traceHead
	input = Decode(input, &h)
	around := Around{Page: 4096, Align: 64, Size: traceEnd}
	size := h.Size.In(around)
	unit := [8]uint64{0, 64, 512, 64, 64, 64, 512, 4096}[h.Unit%8]
	objects := int(h.Objects % 4)
	version := 1
	if h.Version >= 250 {
		version = int(h.Version - 250)
	}
	valid := version == 1 && (objects == 0 || size <= traceEnd && unit != 4096)
	b := append(i.text[:0], `{"version":`...)
	b = append(strconv.AppendInt(b, int64(version), 10), `,"objects":[`...)
	for k := range objects {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendUint(append(b, `{"name":"a","size":`...), size, 10), `,"unit":`...)
		b = append(strconv.AppendUint(b, unit, 10), '}')
	}
	b = append(b, ']')
	if h.Guilty%4 == 0 {
		object := int(h.Guilty>>2)%6 - 2
		off := h.Off.In(around)
		around.Other = off
		n := h.Length.In(around)
		valid = valid && object >= -1 && object < objects && off <= traceEnd && n <= traceEnd-off
		b = append(strconv.AppendInt(append(b, `,"guilty":[{"object":`...), int64(object), 10), `,"off":`...)
		b = append(strconv.AppendUint(append(strconv.AppendUint(b, off, 10), `,"len":`...), n, 10), `,"title":""}]`...)
	}
	b = append(b, "}\n"...)
	seq, last := uint64(1<<63), uint64(0)
	for n := 0; len(input) > 0 && n < 6; n++ {
		var e traceEvent
		input = Decode(input, &e)
		if e.Seq != 0 { // mostly one more, or as many, seldom fewer
			seq += uint64(e.Seq%8) - uint64(e.Seq/250)*8
		}
		valid = valid && (n == 0 || seq >= last)
		last = seq
		kind := trace.Kind(int(e.Kind)%len(traceKinds) + 1)
		name := traceKinds[kind-1]
		valid = valid && name != ""
		object := int(e.Object)%(objects+2) - 1
		if e.Object >= 240 {
			object = objects
		}
		off := e.Off.In(around)
		around.Other = off
		length := e.Length.In(around)
		data := 0
		if kind.IsStore() && name != "" {
			length %= 100
			data = int(length)
			if e.Data >= 240 {
				data++
			}
		} else if e.Data >= 250 {
			data = 1
		}
		valid = valid && (data == 0 || kind.IsStore()) && (!kind.IsStore() || name == "" || uint64(data) == length)
		valid = valid && object < objects && off <= traceEnd && length <= traceEnd-off
		b = append(strconv.AppendUint(append(b, `{"seq":`...), seq, 10), `,"kind":"`...)
		b = append(append(b, name...), '"')
		if object >= 0 {
			b = strconv.AppendInt(append(b, `,"object":`...), int64(object), 10)
		}
		b = strconv.AppendUint(append(b, `,"off":`...), off, 10)
		b = strconv.AppendUint(append(b, `,"len":`...), length, 10)
		if data > 0 {
			b = append(b, `,"data":"`...)
			b = append(hex.AppendEncode(b, bytes.Repeat([]byte{e.Data}, data)), '"')
		}
		b = append(b, "}\n"...)
	}
	i.text = b
	log, err := readTrace(b)
	if err == nil && (log != nil) != valid {
		err = fmt.Errorf("got a trace: %t, want one: %t", log != nil, valid)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", b, err)
	}
	return log != nil, err
}

// traceKinds are the names of the kinds of events, by number from 1 on; that of one behind
// the last is "".
var traceKinds = func() (names []string) {
	for k := trace.Kind(1); k <= trace.Mark; k++ {
		names = append(names, k.String())
	}
	return append(names, "")
}()
