package trace

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// A recorder makes example logs, the same at each run.
type recorder struct {
	log Log
	g   int64
	at  []Frame
}

func (r *recorder) add(e Event) {
	e.Seq = uint64(len(r.log.Events) + 1)
	e.G = r.g
	e.Callers = r.at
	if e.Object >= 0 {
		if o := r.log.Objects[e.Object]; o.Addr != 0 {
			e.Addr = o.Addr + e.Off - o.MapOff
		}
	}
	r.log.Events = append(r.log.Events, e)
}

// from says who calls from now on.
func (r *recorder) from(fn, file string, line int) {
	r.at = []Frame{{"kv." + fn, "kv/" + file, line}, {"kv.TestCrash", "kv/crash_test.go", 31}}
}

func (r *recorder) data(kind Kind, object int, off uint64, data []byte) {
	r.add(Event{Kind: kind, Object: object, Off: off, Len: uint64(len(data)), Data: data})
}

func (r *recorder) word(off, value uint64) {
	r.data(Store, 0, off, binary.LittleEndian.AppendUint64(nil, value))
}

func (r *recorder) on(kind Kind, object int, off, n uint64) {
	r.add(Event{Kind: kind, Object: object, Off: off, Len: n})
}

func (r *recorder) fence()           { r.add(Event{Kind: Fence, Object: -1}) }
func (r *recorder) mark(text string) { r.add(Event{Kind: Mark, Object: -1, Text: text}) }

func devDax() Object {
	return Object{Name: "/dev/dax0.0", Size: 2 << 20, Unit: 64, Addr: 0x7f4000000000, MapLen: 2 << 20}
}

// missingFlush is a log append whose entry is flushed only in its first line.
func missingFlush() *Log {
	r := &recorder{log: Log{Objects: []Object{devDax()}}, g: 1}
	r.from("Open", "log.go", 22)
	r.on(Map, 0, 0, 2<<20)
	for i := range uint64(3) {
		at, end := 0x1000+i*128, 0x1000+(i+1)*128
		entry := fmt.Appendf(nil, "entry %d: a payload that is longer than one line of the cache is and so needs two flushes", i)
		r.from("(*Log).Append", "log.go", 57)
		r.data(Store, 0, at, entry)
		r.from("(*Log).Append", "log.go", 58)
		if i < 2 {
			r.on(CLWB, 0, at, uint64(len(entry)))
		} else {
			r.on(CLWB, 0, at, 64)
		}
		r.from("(*Log).Append", "log.go", 59)
		r.fence()
		r.from("(*Log).commit", "log.go", 71)
		r.word(0, end)
		r.on(CLWB, 0, 0, 8)
		r.fence()
	}
	r.mark("acknowledged 3 entries")
	r.log.Guilty = []Guilty{{
		Object: 0, Off: 0x1140, Len: 64, Seq: 18, Title: "Store never flushed",
		Text: "The tail, at 0x0, was committed before the second line of entry 2 was durable. kv/log.go:58 flushes 64 of its 89 bytes.",
	}}
	return &r.log
}

// sevenStores are seven independent stores, flushed and fenced together: 128 images.
func sevenStores() *Log {
	r := &recorder{log: Log{Objects: []Object{devDax()}}, g: 1}
	r.mark("seven.BEGIN")
	for i := range uint64(7) {
		r.word(i*64, 0x1111111111111111*(i+1))
	}
	for i := range uint64(7) {
		r.on(CLWB, 0, i*64, 8)
	}
	r.fence()
	r.mark("seven.END")
	return &r.log
}

// twoGoroutines has an event of each kind, on two objects and the page cache.
func twoGoroutines() *Log {
	r := &recorder{log: Log{Objects: []Object{
		devDax(),
		{Name: "/mnt/pmem/index", Size: 64 << 10, Unit: 64, Addr: 0x7f4000400000, MapLen: 4096, MapOff: 8192},
		{Name: "/srv/cache/file", Size: 8192, Unit: 512},
	}, Dropped: 5}, g: 7}
	r.on(Map, 1, 8192, 4096)
	r.from("(*Table).Put", "table.go", 12)
	r.data(Store, 0, 60, []byte("0123456789abcdef")) // two lines
	r.g = 9
	r.from("(*Index).Add", "index.go", 40)
	r.data(StoreNT, 1, 8192, []byte("sixteen bytes NT"))
	r.on(CLFLUSHOPT, 0, 60, 16)
	r.g = 7
	r.fence() // orders nothing of 9's
	r.data(Change, 0, 64, append([]byte("456789abcdef"), make([]byte, 52)...))
	r.on(CLFLUSH, 0, 64, 12)
	r.g = 9
	r.fence()
	r.data(Store, 2, 100, []byte{1, 2, 3})
	r.on(CLWB, 2, 100, 3)
	r.on(Msync, 2, 0, 4096)
	r.data(Store, 2, 600, []byte{4})
	r.on(Fsync, 2, 0, 0)
	r.g = 0
	r.at = nil
	r.data(Change, 0, 128, []byte{8, 7, 6, 5, 4, 3, 2, 1})
	r.add(Event{Kind: Look, Object: -1})
	r.g = 9
	r.on(DCCVAP, 0, 128, 8)
	r.on(NoFlush, 0, 128, 8)
	r.fence()
	r.add(Event{Kind: DeepFlush, Object: -1, Text: "/sys/bus/nd/devices/region0/deep_flush"})
	r.add(Event{Kind: CLWB, Object: -1, Off: 0, Len: 8, NoEffect: true})
	r.add(Event{Kind: Store, Object: 1, Off: 9000, Len: 2, Data: []byte{1, 2}, NoEffect: true})
	r.mark("no marker.BEGIN")
	r.on(Unmap, 1, 8192, 4096)
	r.log.Guilty = []Guilty{
		{Object: 0, Off: 0, Len: 64, Seq: 5, Title: "Ordered only by another goroutine's fence"},
		{Object: -1, Seq: 18, Title: "A fence with nothing to order", Text: "kv/index.go:40"},
	}
	return &r.log
}

var exampleLogs = []struct {
	name string
	log  func() *Log
}{
	{"missing-flush", missingFlush}, {"seven-stores", sevenStores}, {"two-goroutines", twoGoroutines},
}

// randomLog is a log like a machine's, of any events.
func randomLog(rnd *rand.Rand, events int) *Log {
	l := &Log{Dropped: rnd.Uint64N(3)}
	for i := range rnd.IntN(4) {
		o := Object{Name: fmt.Sprintf("/mnt/<%d> é\u2028\"&'", i), Size: 1 << 20, Unit: []uint64{0, 64, 512}[rnd.IntN(3)]}
		if rnd.IntN(2) == 0 {
			o.Addr, o.MapOff, o.MapLen = 1<<32+rnd.Uint64N(1<<9)<<20, rnd.Uint64N(4)<<12, 1<<16
		}
		l.Objects = append(l.Objects, o)
	}
	seq := uint64(0)
	for range events {
		seq += 1 + rnd.Uint64N(3)
		e := Event{Seq: seq, Kind: Kind(1 + rnd.IntN(int(lastKind))), G: rnd.Int64N(5) - 1, Addr: rnd.Uint64(), NoEffect: rnd.IntN(9) == 0, Object: -1}
		if len(l.Objects) > 0 && rnd.IntN(9) > 0 {
			e.Object, e.Off = rnd.IntN(len(l.Objects)), rnd.Uint64N(2048)
			e.Len = rnd.Uint64N(200)
		}
		if e.Kind.IsStore() && e.Len > 0 {
			e.Data = make([]byte, e.Len)
			for i := range e.Data {
				e.Data[i] = byte(rnd.Uint32())
			}
		}
		if rnd.IntN(5) == 0 {
			e.Text = "text\n<\u2029>"
		}
		for range rnd.IntN(3) {
			e.Callers = append(e.Callers, Frame{"f", "<file>.go", rnd.IntN(9)})
		}
		l.Events = append(l.Events, e)
	}
	for range rnd.IntN(3) {
		l.Guilty = append(l.Guilty, Guilty{Object: rnd.IntN(len(l.Objects)+1) - 1, Off: rnd.Uint64N(1024), Len: rnd.Uint64N(200), Seq: rnd.Uint64N(seq + 2), Title: "t", Text: "x"})
	}
	return l
}
