package sequences

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// step is one operation: in words, and as what is done. Its outcome starts with "ok" or
// with what kind of failure it was.
type step struct {
	words string // the first is the kind of operation
	do    func(*execution) string
}

const (
	page   = 4 << 10
	window = 8 << 20 // of a device, from its start: what sequences touch

	mapSlots, sourceSlots, reservationSlots = 5, 3, 2
)

// generator makes a program from its seed alone. It keeps track of what the operations so
// far lead to where they go well, so that most later ones are about something.
type generator struct {
	rand         *rand.Rand
	objects      []*object
	sources      [sourceSlots]source
	maps         [mapSlots]mapping
	reservations [reservationSlots]reservation
	theme        bool // the program is about reservations
	steps        []step
}

// object is the device or file that a program works on.
type object struct {
	place   plan.Place
	name    string // "A"
	device  bool
	align   uint64 // of offsets and lengths
	size    uint64 // of a file as it is by now
	fd      int    // of the sources made: a slot, one for each object
	mode    int    // that it was opened with
	touched map[uint64]bool
}

func (o *object) isDevice() bool { return o != nil && o.device }

// reach is where the bytes end that a program may touch.
func (o *object) reach() uint64 {
	if o.device {
		return min(o.size, window)
	}
	return o.size
}

func (o *object) touch(offset, length uint64) {
	for p := offset / page; p <= (offset+length-1)/page; p++ {
		o.touched[p] = true
	}
}

type source struct {
	object *object // nil: anonymous
	size   uint64  // of anonymous memory
	live   bool
}

func (s source) bytes() uint64 {
	if s.object != nil {
		return s.object.size
	}
	return s.size
}

func (s source) align() uint64 {
	if s.object != nil {
		return s.object.align
	}
	return page
}

// mappable says whether some map of it should be possible.
func (s source) mappable() bool {
	return s.live && s.bytes() > 0 && (s.object == nil || s.object.mode != platform.OPath)
}

type mapping struct {
	live           bool
	plan           mapPlan
	object         *object // nil: anonymous
	offset, length uint64
	prot           pmem2.Prot
	private        bool
}

// reach is how many bytes from the start can be touched.
func (m mapping) reach() uint64 {
	if m.object == nil {
		return m.length
	}
	end := m.object.reach()
	if m.offset >= end {
		return 0
	}
	return min(m.length, end-m.offset)
}

type reservation struct {
	live  bool
	fixed bool // at an address of its own, with nothing behind it
	size  uint64
}

// program is what the sequence of a seed does on those of the places that it picks.
func program(seed uint64, places []plan.Place) (objects []*object, steps []step) {
	g := &generator{rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
	g.addObject("A", places[seed%uint64(len(places))])
	if g.chance(25) {
		if other := places[g.below(len(places))]; other.Name != g.objects[0].place.Name || other.Kind != plan.DevDax {
			g.addObject("B", other)
		}
	}
	for i := range g.objects {
		g.source(i, g.objects[i])
	}
	if g.theme = g.chance(40); g.theme {
		g.reserve()
		g.newMap()
	}
	g.newMap()
	for range 4 + g.below(7) {
		g.operation()
	}
	return g.objects, g.steps
}

func (g *generator) below(n int) int         { return g.rand.IntN(n) }
func (g *generator) chance(percent int) bool { return g.rand.IntN(100) < percent }

func pick[T any](g *generator, of ...T) T { return of[g.rand.IntN(len(of))] }

func (g *generator) step(do func(*execution) string, format string, args ...any) {
	g.steps = append(g.steps, step{fmt.Sprintf(format, args...), do})
}

// addObject makes a file of a size that is mostly whole pages, or takes the device.
func (g *generator) addObject(name string, place plan.Place) {
	o := &object{
		place: place, name: name, device: place.Kind == plan.DevDax, align: page,
		fd: len(g.objects), touched: map[uint64]bool{},
	}
	g.objects = append(g.objects, o)
	if o.device {
		o.size, o.align = place.Bytes, place.Alignment()
	} else {
		o.size = page * (2 + g.rand.Uint64N(30))
		if g.chance(12) {
			o.size = pick[uint64](g, 0, 1, page-1, page, page+1, 2<<20+page, 4<<20, 1<<30)
		}
		allocate := o.size > 0 && o.size <= 4<<20 && g.chance(50)
		how := "truncated"
		if allocate {
			how = "allocated"
		}
		size := o.size
		g.step(func(e *execution) string { return e.create(o, size, allocate) }, "create %s on %s: %d bytes, %s", name, place.Name, size, how)
	}
	o.mode = platform.ORdwr
	if g.chance(20) {
		o.mode = pick(g, platform.ORdonly, platform.ORdonly, platform.ORdonly, platform.ORdonly, platform.OWronly, platform.OPath, platform.ORdwr|platform.OAppend)
	}
	mode := o.mode
	g.step(func(e *execution) string { return e.open(o, mode) }, "open %s on %s %s", name, place.Name, openModes[mode])
}

var openModes = map[int]string{
	platform.ORdwr: "O_RDWR", platform.ORdonly: "O_RDONLY", platform.OWronly: "O_WRONLY", platform.OPath: "O_PATH",
	platform.ORdwr | platform.OAppend: "O_RDWR|O_APPEND",
}

// source makes a source of an object, or of anonymous memory for nil.
func (g *generator) source(slot int, o *object) {
	if o == nil {
		size := page * (1 + g.rand.Uint64N(16))
		if g.chance(20) {
			size = pick[uint64](g, 0, 1, page+1, 1<<58, 1<<63, math.MaxUint64)
		}
		g.sources[slot] = source{size: size, live: true}
		g.step(func(e *execution) string { return e.sourceFromAnon(slot, size) }, "source s%d: anonymous, %d bytes", slot, size)
		return
	}
	g.sources[slot] = source{object: o, live: o.mode != platform.OWronly}
	g.step(func(e *execution) string { return e.sourceFromFD(slot, o) }, "source s%d: %s", slot, o.name)
}

// operation adds one. Without a map most of the others would be about nothing.
func (g *generator) operation() {
	switch {
	case !slices.ContainsFunc(g.sources[:], source.mappable) && g.chance(50):
		g.source(sourceSlots-1, nil)
	case !slices.ContainsFunc(g.maps[:], func(m mapping) bool { return m.live }) && g.chance(80):
		g.newMap()
	case g.theme && g.chance(30):
		g.choose(aboutReservations)
	default:
		g.choose(operations)
	}
}

// choice is what a program can go on with, and how often it does.
type choice struct {
	weight int
	add    func(*generator)
}

var operations = []choice{
	{18, (*generator).newMap}, {5, (*generator).remap}, {4, (*generator).adopt}, {3, (*generator).existing},
	{5, (*generator).deleteMap}, {9, (*generator).flush}, {4, (*generator).deepFlush}, {14, (*generator).copyOrSet},
	{10, (*generator).store}, {8, (*generator).read}, {5, (*generator).poke}, {5, (*generator).direct},
	{4, (*generator).safe}, {4, (*generator).resize}, {1, (*generator).again}, {1, (*generator).reserve},
	{1, (*generator).resizeReservation}, {1, (*generator).find}, {1, (*generator).deleteReservation}, {2, (*generator).compareMaps},
}

var aboutReservations = []choice{
	{2, (*generator).reserve}, {4, (*generator).resizeReservation}, {4, (*generator).find}, {1, (*generator).deleteReservation},
}

func (g *generator) choose(among []choice) {
	total := 0
	for _, c := range among {
		total += c.weight
	}
	at := g.below(total)
	for _, c := range among {
		if at -= c.weight; at < 0 {
			c.add(g)
			return
		}
	}
}

// again makes another source, anonymous mostly, or one anew.
func (g *generator) again() {
	if g.chance(70) {
		g.source(sourceSlots-1, nil)
		return
	}
	i := g.below(len(g.objects))
	g.source(i, g.objects[i])
}

// liveMap is a slot that a map should be in, mostly.
func (g *generator) liveMap() int {
	if g.chance(4) {
		return g.below(mapSlots)
	}
	return g.slot(mapSlots, func(i int) bool { return g.maps[i].live })
}

// slot is one that suits, or any.
func (g *generator) slot(n int, suits func(int) bool) int {
	first := g.below(n)
	for i := range n {
		if at := (first + i) % n; suits(at) {
			return at
		}
	}
	return first
}

// part is a range of the first n bytes, short mostly.
func (g *generator) part(n uint64) (offset, length uint64) {
	if n == 0 {
		return 0, 0
	}
	most := pick[uint64](g, 64, 300, 300, page, 2*page)
	length = 1 + g.rand.Uint64N(min(most, n))
	offset = g.rand.Uint64N(n - length + 1)
	if n > 64*page && g.chance(80) { // where most else is
		offset = g.rand.Uint64N(min(n-length, 16*page) + 1)
	}
	return offset, length
}

// readable and writable say what x86 lets a program do: what it can store it can load.
func (m mapping) readable() bool { return m.prot&(pmem2.ProtRead|pmem2.ProtWrite) != 0 }
func (m mapping) writable() bool { return m.prot&pmem2.ProtWrite != 0 }
